package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const demoHelp = `pgroute demo starts a temporary PostgreSQL cluster (a primary, two replicas, one
of them late on purpose), ZooKeeper if it is installed, and a proxy, and tells in
the terminal what the proxy does. It leaves nothing behind.

  --seconds N   how long the load runs (default 4)
  --stay        stay after the story until Ctrl-C; the default in a terminal
  --no-stay     end after the story in a terminal too
  --port N      where the proxy listens (default: a free port)
`

// demoOptions are the flags of pgroute demo.
type demoOptions struct {
	seconds, port int
	stay, noStay  bool
}

// runDemo is pgroute demo.
func runDemo(args []string, std stdio) error {
	var o demoOptions
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.IntVar(&o.seconds, "seconds", 4, "")
	fs.IntVar(&o.port, "port", 0, "")
	fs.BoolVar(&o.stay, "stay", false, "")
	fs.BoolVar(&o.noStay, "no-stay", false, "")
	err := parseFlags(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(std.out, demoHelp)
		return err
	case err != nil:
		return err
	case fs.NArg() > 0:
		return usagef("demo: unexpected argument %q", fs.Arg(0))
	case o.seconds < 0 || o.seconds > 3600:
		return usagef("--seconds: %d is not between 0 and 3600", o.seconds)
	case o.port < 0 || o.port > 65535:
		return usagef("--port: %d is not between 0 and 65535", o.port)
	}
	scr := newScreen(std.out)
	o.stay = o.stay || scr.live && isTerminal(os.Stdin) && !o.noStay
	// SIGPIPE too: the servers must end when nobody reads the story any more.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	return demo(ctx, scr, std.err, &o)
}

// demo runs the whole demonstration and takes everything down again, whatever
// happened. That it was interrupted is not an error.
func demo(ctx context.Context, scr *screen, log io.Writer, o *demoOptions) error {
	began := time.Now()
	st, err := newStage(ctx, scr, log, o)
	if err == nil {
		scr.line("%s", scr.dim(fmt.Sprintf("All is up after %.1f s.", time.Since(began).Seconds())))
		err = tell(ctx, st, o)
	}
	interrupted := ctx.Err() != nil
	scr.end()
	if o.stay || interrupted {
		scr.line("%s", scr.dim("Taking everything down…"))
	}
	err = errors.Join(endedBy(ctx, err), st.close())
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}

// tell tells the story and stays if that is wanted.
func tell(ctx context.Context, st *stage, o *demoOptions) error {
	if err := st.story(ctx, time.Duration(o.seconds)*time.Second); err != nil {
		return err
	}
	st.invite(o.stay)
	if !o.stay {
		return nil
	}
	return st.watch(ctx)
}

// endedBy drops an error that only says that the user wanted the end.
func endedBy(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
