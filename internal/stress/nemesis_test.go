package stress_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

// hold says that a replica is kept from replaying: all of it if delay is 0,
// else whatever was committed less than delay ago.
type hold struct{ delay time.Duration }

// nemesis does to the servers what must not make a read stale.
type nemesis struct {
	c   *cluster.Cluster
	src *source
	// progress says how much of the test is done, from 0 to 1.
	progress func() float64
	log      func(string, ...any)

	// gate is held shared by everyone who writes, and alone while the primary
	// is replaced: what an asynchronous failover loses is not stale.
	gate sync.RWMutex
	// phase counts changes of the primary, twice each: it is odd while fewer
	// replicas than usual are there.
	phase atomic.Int64
	// crashes counts crashes of the primary, twice each: it is odd during one.
	crashes atomic.Int64
	// through says that all events have happened.
	through atomic.Bool
	holds   map[*cluster.Node]*atomic.Pointer[hold]

	// Only the nemesis touches the fields below.
	// eventsFor is the part of ranFor in which servers were killed, restarted
	// or promoted: nothing can be held back then.
	heldFor, ranFor, eventsFor time.Duration
	did                        map[string]int
}

func newNemesis(t testing.TB, c *cluster.Cluster, src *source, progress func() float64) *nemesis {
	n := &nemesis{c: c, src: src, progress: progress, log: t.Logf, holds: map[*cluster.Node]*atomic.Pointer[hold]{}, did: map[string]int{}}
	for _, node := range c.Nodes() {
		n.holds[node] = new(atomic.Pointer[hold])
	}
	return n
}

// holding returns the present holds, in the order of the nodes.
func (n *nemesis) holding() (list [3]*hold) {
	for i, node := range n.c.Nodes()[:3] {
		list[i] = n.holds[node].Load()
	}
	return list
}

// lacked reports whether some replica surely does not have now a write that
// began at the time since, when before was what holding said.
func (n *nemesis) lacked(before [3]*hold, since time.Time) bool {
	for i, h := range n.holding() {
		if h != nil && h == before[i] && (h.delay == 0 || time.Since(since) < h.delay) {
			return true
		}
	}
	return false
}

// event is something that happens once, when the test has come that far.
type event struct {
	at   float64
	name string
	do   func(context.Context) error
}

// events are the restarts, crashes and failovers of a run, more of them in a
// long one.
func (n *nemesis) events(rounds int) []event {
	var list []event
	for i := range rounds {
		at := func(f float64) float64 { return (float64(i) + f) / float64(rounds) }
		list = append(list,
			event{at(0.10), "replica restarted", n.restart(0, cluster.Fast)},
			event{at(0.25), "backend killed on the primary", n.crash},
			event{at(0.40), "replica killed", n.restart(1, cluster.Kill)},
			event{at(0.55), "replica promoted", n.failover},
			event{at(0.85), "backend killed on the primary", n.crash},
		)
	}
	return list
}

// run holds replicas back, one at a time but for moments, until ctx is done,
// and lets each of events happen at its time. It leaves nothing held.
func (n *nemesis) run(ctx context.Context, events []event) error {
	began := time.Now()
	defer func() { n.ranFor = time.Since(began) }()
	for ctx.Err() == nil {
		if len(events) == 0 {
			n.through.Store(true)
		} else if n.progress() >= events[0].at {
			e := events[0]
			events = events[1:]
			start := time.Now()
			// An event is not left half done at the end of the test.
			whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			err := e.do(whole)
			cancel()
			if err != nil {
				return fmt.Errorf("%s: %w", e.name, err)
			}
			n.did[e.name]++
			n.eventsFor += time.Since(start)
			n.log("%s at %2.0f%%, took %v", e.name, 100*e.at, time.Since(start).Round(time.Millisecond))
			continue
		}
		if err := n.holdOne(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		rest(ctx, rand.N(40*time.Millisecond))
	}
	return nil
}

// holdOne holds one replica back for a while, and sometimes the other for a
// moment at the same time.
func (n *nemesis) holdOne(ctx context.Context) error {
	replicas := n.c.Replicas()
	replicas = slices.DeleteFunc(replicas, func(r *cluster.Node) bool { return !r.Running() })
	if len(replicas) == 0 {
		return nil
	}
	rand.Shuffle(len(replicas), func(i, k int) { replicas[i], replicas[k] = replicas[k], replicas[i] })
	began := time.Now()
	defer func() { n.heldFor += time.Since(began) }()
	if rand.IntN(3) == 0 {
		return n.delay(ctx, replicas[0], time.Duration(20+rand.IntN(280))*time.Millisecond, 300*time.Millisecond+rand.N(400*time.Millisecond))
	}
	return n.pause(ctx, replicas[0], 20*time.Millisecond+rand.N(230*time.Millisecond), func() error {
		if len(replicas) > 1 && rand.IntN(4) == 0 {
			return n.pause(ctx, replicas[1], rand.N(40*time.Millisecond), nil)
		}
		return nil
	})
}

func (n *nemesis) pause(ctx context.Context, r *cluster.Node, d time.Duration, during func() error) error {
	if err := r.PauseReplay(ctx); err != nil {
		return err
	}
	n.holds[r].Store(&hold{})
	n.did["replay paused"]++
	rest(ctx, d)
	var err error
	if during != nil {
		err = during()
	}
	n.holds[r].Store(nil)
	if e := r.ResumeReplay(context.WithoutCancel(ctx)); err == nil {
		err = e
	}
	return err
}

func (n *nemesis) delay(ctx context.Context, r *cluster.Node, by, d time.Duration) error {
	if err := r.SetApplyDelay(ctx, by); err != nil {
		return err
	}
	n.holds[r].Store(&hold{delay: by - 10*time.Millisecond})
	n.did["replay delayed"]++
	rest(ctx, d)
	n.holds[r].Store(nil)
	return r.SetApplyDelay(context.WithoutCancel(ctx), 0)
}

func (n *nemesis) restart(i int, mode cluster.StopMode) func(context.Context) error {
	return func(ctx context.Context) error { return n.c.Replicas()[i].Restart(ctx, mode) }
}

// crash kills a backend on the primary: all sessions end and the server
// recovers. What was acknowledged is kept, but for asynchronous commits.
func (n *nemesis) crash(ctx context.Context) error {
	n.crashes.Add(1)
	defer n.crashes.Add(1)
	p := n.c.Primary()
	err := until(ctx, "a backend was hit", func() (bool, error) {
		text, err := p.QueryString(ctx, `SELECT coalesce(max(pid), 0) FROM (SELECT pid FROM pg_stat_activity
			WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND usename = 'app' ORDER BY random() LIMIT 1) AS one`)
		if err != nil {
			return false, err
		}
		pid, err := strconv.Atoi(text)
		// It may have left before it was hit.
		return err == nil && pid > 0 && p.KillBackend(ctx, pid) == nil, err
	})
	if err != nil {
		return err
	}
	return until(ctx, "the primary has recovered", func() (bool, error) {
		_, err := p.QueryString(ctx, "SELECT 1")
		return err == nil, nil
	})
}

// failover replaces the primary by a replica that has everything, and brings
// the old one back as a replica. Reads go on all the time.
func (n *nemesis) failover(ctx context.Context) error {
	n.phase.Add(1)
	old, next := n.c.Primary(), n.c.Replicas()[0]
	if err := n.replace(ctx, next); err != nil {
		return err
	}
	if err := n.c.Rebuild(ctx, old); err != nil {
		return err
	}
	n.phase.Add(1)
	return nil
}

func (n *nemesis) replace(ctx context.Context, next *cluster.Node) error {
	n.gate.Lock()
	defer n.gate.Unlock()
	if err := n.c.WaitCaughtUp(ctx); err != nil {
		return err
	}
	n.src.name("")
	if err := n.c.Failover(ctx, next); err != nil {
		return err
	}
	n.src.name(next.Addr())
	return nil
}
