package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// run does what the command line asks for. It returns an error when something
// could not be measured; a goal that was missed is a result, not an error.
func run(ctx context.Context, args []string) error {
	opts, err := parseOptions(args)
	if err != nil {
		return err
	}
	lab, err := newLab(ctx, opts)
	if err != nil {
		return err
	}
	defer lab.close()
	rep := newReport(lab)
	rep.printHead(os.Stdout)
	if opts.speed {
		if err := lab.measureSpeed(ctx, rep); err != nil {
			return err
		}
	}
	if opts.mem {
		if err := lab.measureIdle(ctx, rep); err != nil {
			return err
		}
	}
	if opts.stream {
		if err := lab.measureStreams(ctx, rep); err != nil {
			return err
		}
	}
	rep.judge()
	rep.printGoals(os.Stdout)
	if err := rep.write(opts.json); err != nil {
		return err
	}
	fmt.Printf("\nwritten to %s\n", opts.json)
	return rep.failures()
}
