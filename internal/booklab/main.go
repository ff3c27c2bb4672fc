// Booklab shows the booking example: it starts a PostgreSQL cluster, ZooKeeper,
// two sidecars, three instances of the service and its load balancer, says
// where the page is, and ends everything when it is ended. It is the program
// behind make demo.
//
// Without a terminal it tells a short story instead, and its exit status says
// whether every promise was kept.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pgroute/pgroute/internal/booklab/lab"
)

const help = `booklab starts the booking example: a temporary PostgreSQL cluster (a primary and
two replicas), ZooKeeper, two pgroute sidecars, three instances of the service,
and its load balancer. It prints where to look, and leaves nothing behind.

  --seconds N   end by itself after N seconds
  --stay        stay until Ctrl-C; the default in a terminal
  --story       tell the story; the default without a terminal, which then ends
  --port N      where the page is (default: 8080, or a free port if that is taken)
  --bin DIR     where the programs pgroute and booking are (default: beside this
                one, else they are built)
`

// preferred is the page's port unless another one is asked for.
const preferred = 8080

type options struct {
	seconds, port int
	stay, story   bool
	bin           string
}

func main() {
	err := run(os.Args[1:], os.Stdout)
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "booklab:", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "booklab:", err)
		os.Exit(1)
	}
}

// usageError is a wrong flag.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

func run(args []string, out *os.File) error {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(out, help)
		return nil
	}
	if err != nil {
		return &usageError{err}
	}
	// SIGPIPE too: everything must end when nobody reads any more.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	return show(ctx, newScreen(out), o)
}

func parse(args []string) (*options, error) {
	var o options
	fs := flag.NewFlagSet("booklab", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.IntVar(&o.seconds, "seconds", 0, "")
	fs.IntVar(&o.port, "port", 0, "")
	fs.BoolVar(&o.stay, "stay", false, "")
	fs.BoolVar(&o.story, "story", false, "")
	fs.StringVar(&o.bin, "bin", "", "")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case fs.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case o.seconds < 0:
		return nil, fmt.Errorf("--seconds: %d is less than 0", o.seconds)
	case o.port < 0 || o.port > 65535:
		return nil, fmt.Errorf("--port: %d is not between 0 and 65535", o.port)
	}
	return &o, nil
}

// show starts everything, does what the options ask for, and ends everything,
// whatever happened. That it was interrupted is no error.
func show(ctx context.Context, scr *screen, o *options) error {
	terminal := scr.live && isTerminal(os.Stdin)
	began := time.Now()
	pgroute, booking := programs(o.bin)
	scr.line("Starting PostgreSQL (a primary, two replicas), ZooKeeper, sidecars and the booking service…")
	l, err := lab.Start(ctx, lab.Options{Pgroute: pgroute, Booking: booking, Port: o.port, PreferPort: preferred, Progress: scr.progress})
	if err != nil {
		return endedBy(ctx, err)
	}
	scr.end()
	invite(scr, l, time.Since(began))
	if o.story || !terminal {
		err = tell(ctx, scr, l)
	}
	if err == nil && (terminal && !o.story || o.stay || o.seconds > 0) {
		err = watch(ctx, scr, l, time.Duration(o.seconds)*time.Second)
	}
	scr.end()
	if err != nil && ctx.Err() == nil {
		l.ShowLogs(scr.line)
	}
	scr.line("%s", scr.dim("Ending everything…"))
	return errors.Join(endedBy(ctx, err), l.Close())
}

// endedBy drops an error that only says that the user wanted the end.
func endedBy(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// programs finds the two programs in a folder, that of this program if none is
// given. What is not there is built.
func programs(dir string) (pgroute, booking string) {
	if dir == "" {
		self, err := os.Executable()
		if err != nil {
			return "", ""
		}
		dir = filepath.Dir(self)
	}
	find := func(name string) string {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			return ""
		}
		return path
	}
	return find("pgroute"), find("booking")
}
