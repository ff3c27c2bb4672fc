// Command booking is a booking service that runs in many instances over one
// PostgreSQL cluster, as an example of how to use pgroute.
//
//	booking init     create the schema and the seats
//	booking serve    run one instance
//	booking balance  run a load balancer before all instances
//
// See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/pgroute/pgroute/examples/booking/internal/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	var bad *usageError
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.As(err, &bad):
		fmt.Fprintln(os.Stderr, "booking:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "booking:", err)
		os.Exit(1)
	}
}

// usageError says that the command line is wrong.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

const commands = "init, serve, balance"

// run runs a command until it is done or ctx is.
func run(ctx context.Context, args []string, out, errs io.Writer) error {
	if len(args) == 0 {
		return usage("which command? One of %s", commands)
	}
	log := slog.New(slog.NewTextHandler(errs, nil))
	switch args[0] {
	case "init":
		return runInit(ctx, args[1:], out, errs)
	case "serve":
		return runServe(ctx, args[1:], out, errs, log)
	case "balance":
		return runBalance(ctx, args[1:], out, errs, log)
	case "help", "-h", "-help", "--help":
		fmt.Fprintf(out, "usage: booking COMMAND; the commands are %s. booking COMMAND --help lists the flags.\n", commands)
		return nil
	}
	return usage("unknown command %q: it is one of %s", args[0], commands)
}

// parse reads flags; required ones must not be empty.
func parse(flags *flag.FlagSet, args []string, errs io.Writer, required ...string) error {
	flags.SetOutput(errs)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return &usageError{err.Error()}
	}
	if flags.NArg() > 0 {
		return usage("unexpected argument %q", flags.Arg(0))
	}
	for _, name := range required {
		if flags.Lookup(name).Value.String() == "" {
			return usage("%s needs --%s", flags.Name(), name)
		}
	}
	return nil
}

func runInit(ctx context.Context, args []string, out, errs io.Writer) error {
	flags := flag.NewFlagSet("booking init", flag.ContinueOnError)
	dsn := flags.String("dsn", "", "where the database is: the primary or a sidecar")
	var size store.Size
	flags.IntVar(&size.Rooms, "rooms", 2, "`number` of rooms")
	flags.IntVar(&size.Rows, "rows", 8, "`number` of rows in a new room")
	flags.IntVar(&size.Columns, "columns", 12, "`number` of seats in a row")
	flags.IntVar(&size.Slots, "slots", 6, "`number` of time slots, three on each day from tomorrow on")
	if err := parse(flags, args, errs, "dsn"); err != nil {
		return err
	}
	if err := size.Validate(); err != nil {
		return &usageError{err.Error()}
	}
	if err := store.Init(ctx, *dsn, size); err != nil {
		return err
	}
	fmt.Fprintln(out, "booking: the schema, the rooms and the slots are there")
	return nil
}

// drain is how long requests may take to end after SIGTERM.
const drain = 20 * time.Second

// serveHTTP serves until ctx is done, and then lets the requests that run end.
// leave is called first: it takes this process out of the registry and waits,
// and ends what would never end by itself.
func serveHTTP(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger, leave func()) error {
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		// Streams of events extend it for themselves.
		WriteTimeout:   time.Minute,
		MaxHeaderBytes: 32 << 10,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	// Ends with Shutdown or Close below, and is waited for.
	go func() { ended <- srv.Serve(listener) }()
	select {
	case err := <-ended:
		leave()
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	log.Info("draining")
	leave()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err := srv.Shutdown(last)
	if err != nil {
		err = errors.Join(fmt.Errorf("some requests did not end within %s: %w", drain, err), srv.Close())
	}
	<-ended
	return err
}

// listen opens the address where a command serves.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	if !strings.Contains(addr, ":") {
		return nil, usage("--listen %q is not HOST:PORT", addr)
	}
	return (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
}
