package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The values that the list flags take, in the order of the report.
var (
	allTargets   = []string{direct, pgrouteSession, pgroutePrimary, pgbouncer}
	allProtocols = []string{"simple", "extended", "prepared"}
	allWorkloads = []string{selectOnly, tpcb}
)

const (
	direct         = "direct"
	pgrouteSession = "pgroute-session"
	pgroutePrimary = "pgroute-primary"
	pgbouncer      = "pgbouncer"

	selectOnly = "select"
	tpcb       = "tpcb"
)

// options is the command line.
type options struct {
	seconds, rounds, scale, pool int
	clients                      []int
	targets, protocols           []string
	workloads                    []string

	speed, mem, stream bool

	idle   int           // clients of the idle measurement
	settle time.Duration // how long they stay idle before the second reading
	rate   int           // of the slow reader, MiB/s
	size   int           // of the streams, MiB

	json, pgroute, pgbouncer string
}

func parseOptions(args []string) (*options, error) {
	o := &options{}
	var clients, targets, protocols, workloads string
	var quick, mem, stream bool
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.seconds, "seconds", 5, "length of a round")
	f.IntVar(&o.rounds, "rounds", 5, "rounds of each target")
	f.IntVar(&o.scale, "scale", 10, "pgbench's scale")
	f.IntVar(&o.pool, "pool", 20, "server connections for each proxy, node, user and database")
	f.StringVar(&clients, "clients", "1,16,64", "numbers of clients")
	f.StringVar(&targets, "targets", strings.Join(allTargets, ","), "what to measure")
	f.StringVar(&protocols, "protocols", strings.Join(allProtocols, ","), "pgbench's query modes")
	f.StringVar(&workloads, "workloads", strings.Join(allWorkloads, ","), "select (pgbench -S), tpcb")
	f.BoolVar(&quick, "quick", false, "two minutes: 2 rounds of 2 s, select-only, simple and prepared, 1 and 16 clients (flags given win)")
	f.BoolVar(&mem, "mem", false, "only the memory of idle clients")
	f.BoolVar(&stream, "stream", false, "only the memory under large streams")
	f.IntVar(&o.idle, "idle", 5000, "clients of the idle measurement")
	f.DurationVar(&o.settle, "settle", 10*time.Second, "how long idle clients stay before the second reading")
	f.IntVar(&o.rate, "rate", 64, "MiB/s of the slow reader")
	f.IntVar(&o.size, "size", 1024, "MiB of a stream")
	f.StringVar(&o.json, "json", "build/bench.json", "where to write the numbers")
	f.StringVar(&o.pgroute, "pgroute", "", "a pgroute to use instead of building ./cmd/pgroute")
	f.StringVar(&o.pgbouncer, "pgbouncer", "newest", "newest (fetch Debian 13's if the installed one is below 1.21), installed, or a path")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if quick {
		given := map[string]bool{}
		f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
		for name, set := range map[string]func(){
			"seconds":   func() { o.seconds = 2 },
			"rounds":    func() { o.rounds = 2 },
			"clients":   func() { clients = "1,16" },
			"protocols": func() { protocols = "simple,prepared" },
			"workloads": func() { workloads = selectOnly },
		} {
			if !given[name] {
				set()
			}
		}
	}
	o.mem, o.stream = mem, stream
	o.speed = !mem && !stream
	if o.speed && !quick {
		o.mem, o.stream = true, true
	}
	return o, o.fill(clients, targets, protocols, workloads)
}

// fill parses the lists and checks everything.
func (o *options) fill(clients, targets, protocols, workloads string) error {
	var err error
	for word := range strings.SplitSeq(clients, ",") {
		n, aerr := strconv.Atoi(word)
		if aerr != nil || n < 1 {
			return fmt.Errorf("--clients: %q is no number of clients", word)
		}
		o.clients = append(o.clients, n)
	}
	if o.targets, err = subset("targets", targets, allTargets); err != nil {
		return err
	}
	if o.protocols, err = subset("protocols", protocols, allProtocols); err != nil {
		return err
	}
	if o.workloads, err = subset("workloads", workloads, allWorkloads); err != nil {
		return err
	}
	if min(o.seconds, o.rounds, o.scale, o.pool, o.idle, o.rate, o.size) < 1 || o.settle < 0 {
		return errors.New("a number is too small")
	}
	return nil
}

// subset splits a list, each word of which must be in all.
func subset(name, list string, all []string) ([]string, error) {
	words := strings.Split(list, ",")
	for _, word := range words {
		if !slices.Contains(all, word) {
			return nil, fmt.Errorf("--%s: %q is not one of %s", name, word, strings.Join(all, ", "))
		}
	}
	return words, nil
}

func (o *options) has(target string) bool { return slices.Contains(o.targets, target) }
