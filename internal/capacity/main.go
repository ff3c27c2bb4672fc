package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "capacity:", err)
		stop()
		os.Exit(1)
	}
}

// run does what the command line asks for, in the module's folder.
func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("capacity", flag.ContinueOnError)
	root := flags.String("root", ".", "the `folder` of the module")
	seconds := flags.Int("seconds", 10, "how long each measurement runs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	m, err := readMeasured(measuredJSON)
	if err != nil {
		return err
	}
	switch {
	case flags.NArg() == 0:
	case flags.Arg(0) != "measure" || *seconds < 1:
		return errors.New("usage: capacity [-root DIR] [-seconds N] [measure [NAME…]]")
	default:
		found, err := measure(ctx, flags.Args()[1:], *seconds)
		if err != nil {
			return err
		}
		for _, one := range found {
			fmt.Printf("%-16s %12.2f %-6s %s\n", one.Name, one.Value, one.Unit, one.What)
			m.set(one)
		}
		if err := writeMeasured(*root, m); err != nil {
			return err
		}
	}
	return writeDocs(*root, m)
}

func writeMeasured(root string, m Measured) error {
	data, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return err
	}
	path := filepath.Join(root, "internal", "capacity", "measured.json")
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
