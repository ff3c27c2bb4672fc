package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

// A target is one of the things compared.
type target struct {
	name    string
	servers map[string]*endpoint // by protocol
}

// An endpoint is where pgbench connects to.
type endpoint struct {
	label string // for the report
	host  string
	port  int
	proxy *program // nil when there is none
}

// warmUp is one second at most clients, so that no round pays for filling
// caches and pools.
const warmUp = 1

// measureSpeed runs all rounds of all loads.
func (l *lab) measureSpeed(ctx context.Context, rep *report) (err error) {
	c, err := l.cluster(ctx, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	primary := c.Primary()
	if _, err := pgbench(ctx, primary.Host, primary.Port, "-i", "-q", "-s", fmt.Sprint(l.opts.scale)); err != nil {
		return err
	}
	if err := c.WaitCaughtUp(ctx); err != nil {
		return err
	}
	targets, stop, err := l.startTargets(ctx, c)
	defer stop()
	if err != nil {
		return err
	}
	var loads []load
	for _, workload := range l.opts.workloads {
		for _, protocol := range l.opts.protocols {
			for _, clients := range l.opts.clients {
				loads = append(loads, load{Workload: workload, Protocol: protocol, Clients: clients})
			}
		}
	}
	work := time.Duration(len(loads)*l.opts.rounds*l.opts.seconds*len(targets)) * time.Second
	fmt.Fprintf(os.Stderr, "bench: %d loads × %d rounds × %d targets of %d s: at least %v\n",
		len(loads), l.opts.rounds, len(targets), l.opts.seconds, work)
	for _, t := range targets {
		for _, protocol := range l.opts.protocols {
			e := t.servers[protocol]
			w := load{Workload: selectOnly, Protocol: protocol, Clients: maxOf(l.opts.clients)}
			if _, err := runPgbench(ctx, l.dir, e.host, e.port, warmUp, w); err != nil {
				return fmt.Errorf("warm up %s: %w", t.name, err)
			}
		}
	}
	for _, ld := range loads {
		s := newSheet(ld, targets)
		for range l.opts.rounds {
			if err := l.oneRound(ctx, c, targets, s); err != nil {
				return err
			}
		}
		s.sum()
		s.print(os.Stdout)
		rep.Speed = append(rep.Speed, s)
	}
	return rep.notePeaks(targets)
}

// oneRound runs each target once, in random order.
func (l *lab) oneRound(ctx context.Context, c *cluster.Cluster, targets []*target, s *sheet) error {
	for _, i := range rand.Perm(len(targets)) {
		if s.Workload == tpcb {
			// As pgbench does without -n, but not through the target.
			err := c.Primary().Exec(ctx, "VACUUM pgbench_branches", "VACUUM pgbench_tellers", "TRUNCATE pgbench_history")
			if err != nil {
				return err
			}
			if err := c.WaitCaughtUp(ctx); err != nil {
				return err
			}
		}
		r, err := l.oneRun(ctx, targets[i].servers[s.Protocol], s.load)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			r = round{Failure: err.Error()}
		}
		s.Targets[i].Rounds = append(s.Targets[i].Rounds, r)
	}
	return nil
}

// oneRun runs pgbench once, with the proxy's processor time around it.
func (l *lab) oneRun(ctx context.Context, e *endpoint, ld load) (round, error) {
	if e.proxy == nil {
		return runPgbench(ctx, l.dir, e.host, e.port, l.opts.seconds, ld)
	}
	before, err := cpuTime(e.proxy.pid())
	if err != nil {
		return round{}, err
	}
	r, err := runPgbench(ctx, l.dir, e.host, e.port, l.opts.seconds, ld)
	if err != nil {
		return round{}, err
	}
	after, err := cpuTime(e.proxy.pid())
	if err != nil {
		return round{}, err
	}
	r.CPU = float64((after - before).Nanoseconds()) / 1000 / float64(r.Transactions)
	return r, nil
}

// startTargets starts the proxies. stop ends those that were started, also
// when there was an error.
func (l *lab) startTargets(ctx context.Context, c *cluster.Cluster) (targets []*target, stop func(), err error) {
	var running []*program
	stop = func() {
		for _, p := range running {
			p.stop()
		}
	}
	start := func(p *program, err error) (*endpoint, error) {
		if err != nil {
			return nil, err
		}
		running = append(running, p)
		host, port, err := splitAddr(p.addr)
		return &endpoint{host: host, port: port, proxy: p}, err
	}
	for _, name := range l.opts.targets {
		t := &target{name: name, servers: make(map[string]*endpoint)}
		var e, prepared *endpoint
		switch name {
		case direct:
			e = &endpoint{label: "straight to the primary", host: c.Primary().Host, port: c.Primary().Port}
		case pgrouteSession:
			if e, err = start(l.startPgroute(ctx, c, "session", "trust")); err == nil {
				e.label = "reads to two replicas"
			}
		case pgroutePrimary:
			if e, err = start(l.startPgroute(ctx, c, "primary", "trust")); err == nil {
				e.label = "all to the primary"
			}
		case pgbouncer:
			if e, err = start(l.startBouncer(ctx, c, "transaction", "trust", l.opts.pool)); err == nil {
				e.label = l.bouncer.version() + ", transaction pooling"
			}
			if err == nil && !l.bouncer.prepares() {
				// In session pooling every client needs a server connection.
				pool := max(l.opts.pool, maxOf(l.opts.clients))
				if prepared, err = start(l.startBouncer(ctx, c, "session", "trust", pool)); err == nil {
					prepared.label = l.bouncer.version() + ", session pooling"
				}
			}
		}
		if err != nil {
			return nil, stop, err
		}
		for _, protocol := range allProtocols {
			t.servers[protocol] = e
		}
		if prepared != nil {
			t.servers["prepared"] = prepared
		}
		targets = append(targets, t)
	}
	return targets, stop, nil
}
