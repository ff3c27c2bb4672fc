package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/pgroute/pgroute/internal/verify"
)

const verifyHelp = `pgroute verify lets clients work on a database through one or several connection
strings, records every answer, and checks that what the levels of consistency
promise was kept. It exits with 0 if nothing was found, and with 1 if something
was, or if it could not be done.

  pgroute verify postgres://app:…@127.0.0.1:6432/app
  pgroute verify DSN DSN --for 5m --clients 32 --json report.json

Each DSN names one proxy; it may also name a server, which is judged alike (a
primary and a replica without pgroute between show what stale reads look like).
A DSN behind which a balancer chooses among proxies will not do for reads at
session: proxies do not share floors. Everything happens in a schema of its own,
which is created and dropped; one that exists and was not made by pgroute verify
is refused. It is a real load: begin with a low --rate on servers that others use.

  --for DURATION
        how long the clients work; 0: until Ctrl-C (default 30s)
  --clients N
        how many clients work at a time (default 16)
  --rate N
        at most so many operations per second in all; 0: as many as they can
        (default 500). Each keeps about half a kilobyte of memory until the end
  --reconnect-every N
        a client leaves its connection for a new one after so many operations on
        average (default 2000)
  --workloads LIST
        register: single values are written, compared and set, and read;
        append: lists are appended to and read;
        bank: money is moved between accounts, which are read in one snapshot;
        booking: seats are booked, each once
        (default register,append,bank,booking)
  --levels LIST
        the levels that reads are done at, of eventual, bounded, session, strong
        and primary (default session,strong,primary,bounded)
  --staleness DURATION
        the max_staleness that reads at bounded ask for (default 1s)
  --timeout DURATION
        how long one operation may take; longer than failover_wait (default 1m)
  --may-lose
        failovers are asynchronous and may lose acknowledged writes: each that is
        missing must have been told to its writer, by PR002 or PR003
  --unguarded
        the proxies run with monotonic: off, or no replica can tell what it shows:
        a connection's read on the primary may hide what it saw on a replica, if
        that was not acknowledged yet, and is only counted
  --seed N
        decides who does what (default: a random one, which is printed)
  --schema NAME
        the schema to create (default pgroute_verify)
  --json FILE
        also write the report as JSON; - is standard output, instead of the text
  --quiet
        do not say what is being done

What is checked: the writes with the reads at strong, and with those at primary,
are linearizable; reads at session, strong and primary show the writes of their
session (with scope connection, with scope application, and with a token from
another connection or proxy), never go back, and show the causes of what they
show; reads at bounded are not staler than the bound; no acknowledged write is
missing, no write is done twice, no failed one is there; no update is lost, no
seat is sold twice, and the sum of all accounts is the same in every snapshot.

The checks for reads at session assume monotonic: connection, the default, or
monotonic: session.
`

// verifyFlags are those of pgroute verify.
type verifyFlags struct {
	options           verify.Options
	workloads, levels string
	json              string
	quiet             bool
}

// runVerify is pgroute verify.
func runVerify(args []string, std stdio) error {
	f, err := parseVerify(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(std.out, verifyHelp)
		return err
	case err != nil:
		return err
	}
	if !f.quiet {
		f.options.Logf = func(format string, args ...any) { fmt.Fprintf(std.err, "pgroute: "+format+"\n", args...) }
	}
	if err := f.options.Validate(); err != nil {
		return usagef("verify: %s", err)
	}
	// The first signal ends the work, and the checks follow; another one ends all.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	r, err := verify.Run(ctx, f.options)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if err := f.write(r, std.out); err != nil {
		return err
	}
	if !r.OK() {
		return errReported
	}
	return nil
}

// parseVerify reads the arguments, in which flags and connection strings may
// stand in any order.
func parseVerify(args []string) (*verifyFlags, error) {
	f := &verifyFlags{}
	o := &f.options
	fs := flag.NewFlagSet("verify", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.DurationVar(&o.For, "for", 30*time.Second, "")
	fs.IntVar(&o.Clients, "clients", 16, "")
	fs.IntVar(&o.Rate, "rate", 500, "")
	fs.IntVar(&o.ReconnectEvery, "reconnect-every", 2000, "")
	fs.StringVar(&f.workloads, "workloads", "", "")
	fs.StringVar(&f.levels, "levels", "", "")
	fs.DurationVar(&o.Staleness, "staleness", time.Second, "")
	fs.DurationVar(&o.Timeout, "timeout", time.Minute, "")
	fs.BoolVar(&o.MayLose, "may-lose", false, "")
	fs.BoolVar(&o.Unguarded, "unguarded", false, "")
	fs.Uint64Var(&o.Seed, "seed", 0, "")
	fs.StringVar(&o.Schema, "schema", "", "")
	fs.StringVar(&f.json, "json", "", "")
	fs.BoolVar(&f.quiet, "quiet", false, "")
	for {
		if err := parseFlags(fs, args); err != nil {
			return nil, err
		}
		if fs.NArg() == 0 {
			break
		}
		o.Targets = append(o.Targets, verify.Target{DSN: fs.Arg(0)})
		args = fs.Args()[1:]
	}
	o.Workloads, o.Levels = words(f.workloads), words(f.levels)
	return f, nil
}

// words splits a list at its commas.
func words(list string) []string {
	if list == "" {
		return nil
	}
	all := strings.Split(list, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

// write writes the report where it is wanted.
func (f *verifyFlags) write(r *verify.Report, out io.Writer) (err error) {
	if f.json == "-" {
		return r.WriteJSON(out)
	}
	if err := r.WriteText(out); err != nil || f.json == "" {
		return err
	}
	file, err := os.Create(f.json)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return errors.Join(r.WriteJSON(file), file.Close())
}
