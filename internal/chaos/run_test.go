package chaos_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/verify"
)

const (
	// steadyBound is how long the cluster itself may take to come to rest.
	steadyBound = 5 * time.Minute
	// aliveBound is how long after that a client may wait until it has read and
	// written.
	aliveBound = 60 * time.Second
)

// plan says what a run is.
type plan struct {
	seed    uint64
	lasts   time.Duration
	clients int
	rate    int
	levels  []string
	mutant  string
	logf    func(string, ...any)
	kinds   []string // of faults; none means all
}

// outcome is what package verify returned.
type outcome struct {
	report *verify.Report
	err    error
}

// run lets clients work and the nemesis rage, heals, waits for all clients, and
// has the history judged.
func (l *lab) run(t *testing.T, p plan) *result {
	t.Helper()
	j := newJournal(p.lasts)
	r := &result{Mode: l.mode(), Seed: p.seed, For: p.lasts, Mutant: p.mutant, Limits: l.limits(), journal: j, BucketWidth: j.width}
	watch, unwatch := context.WithCancel(t.Context())
	watched := make(chan struct{})
	op := &operator{l: l, seen: make(map[string]int)}
	go func() {
		defer close(watched)
		var all sync.WaitGroup
		all.Go(func() { (&sampler{l: l, j: j}).run(watch) })
		all.Go(func() { op.run(watch) })
		all.Wait()
	}()

	ctx, end := context.WithCancel(t.Context())
	defer end()
	o := verify.Options{Targets: l.targets(), Levels: p.levels, Clients: p.clients, Rate: p.rate, Seed: p.seed, MayLose: !l.sync,
		Observe: j.observe, Logf: p.logf, Patience: 3 * time.Minute}
	done := make(chan outcome, 1)
	go judge(ctx, o, done)

	n := newNemesis(l, j, p.seed, p.logf)
	n.only = p.kinds
	if err := l.begun(t.Context(), j, done); err != nil {
		r.Wrong = append(r.Wrong, err.Error())
	} else {
		raging, calm := context.WithTimeout(t.Context(), p.lasts)
		n.run(raging)
		calm()
		r.Wrong = append(r.Wrong, n.wrong...)
		r.Faults, r.Failed, r.Never = n.did, n.failed, n.never()
		r.Wrong = append(r.Wrong, r.shortfall()...)
		r.Wrong = append(r.Wrong, l.recover(t.Context(), n, r, p)...)
	}
	end()
	out := <-done
	unwatch()
	<-watched
	j.finish()
	r.Report, r.Events, r.Samples, r.Buckets = out.report, j.events, j.samples, j.buckets
	r.Elapsed, r.Origin = j.now(), max(j.origin, 0)
	if r.Report == nil {
		r.Report = &verify.Report{}
	}
	if out.err != nil {
		r.Wrong = append(r.Wrong, fmt.Sprintf("the clients: %v", out.err))
	}
	for _, s := range r.Samples {
		r.Timelines = max(r.Timelines, int(s.Timeline))
	}
	r.Wrong = append(r.Wrong, l.proxyFaults()...)
	if p.lasts >= time.Minute {
		r.Wrong = append(r.Wrong, op.blind()...)
	}
	return r
}

// judge runs package verify.
func judge(ctx context.Context, o verify.Options, done chan<- outcome) {
	report, err := verify.Run(ctx, o)
	done <- outcome{report, err}
}

// begun returns when clients are served.
func (l *lab) begun(ctx context.Context, j *journal, done chan outcome) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return until(ctx, "wait for the first answer", func() error {
		if len(done) > 0 {
			return nil
		}
		if j.started() {
			return nil
		}
		return fmt.Errorf("no client was answered")
	})
}

// recover heals everything and waits until all clients are served again.
func (l *lab) recover(ctx context.Context, n *nemesis, r *result, p plan) (wrong []string) {
	steady, cancel := context.WithTimeout(ctx, steadyBound)
	defer cancel()
	if err := n.heal(steady); err != nil {
		wrong = append(wrong, fmt.Sprintf("the cluster did not come to rest: %v", err))
	}
	r.Healed = n.j.now()
	alive, cancel := context.WithTimeout(ctx, aliveBound)
	defer cancel()
	err := until(alive, "all clients are served again", func() error {
		if left := n.j.silent(r.Healed, p.clients); len(left) > 0 {
			return fmt.Errorf("clients %v have not read and written since", left)
		}
		return nil
	})
	if err != nil {
		wrong = append(wrong, err.Error())
		for _, px := range l.proxies {
			s, err := px.status(ctx)
			wrong = append(wrong, fmt.Sprintf("%s: %+v %v", px.Name, s, err))
		}
	}
	r.Alive = n.j.now() - r.Healed
	return wrong
}

// started says whether an operation was observed.
func (j *journal) started() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.origin >= 0
}

// limits are what cannot be done here.
func (l *lab) limits() (list []string) {
	if l.network == nil {
		list = append(list, "faults of the network and of disks: "+l.why)
	}
	if !l.clocks {
		list = append(list, "clocks that are wrong: libfaketime is not installed, or PostgreSQL does not run with it")
	}
	return list
}

// proxyFaults are what no log of a proxy may say.
func (l *lab) proxyFaults() (list []string) {
	for _, p := range l.proxies {
		lines := strings.Split(p.LogTail(64<<20), "\n")
		at := slices.IndexFunc(lines, func(s string) bool {
			return strings.HasPrefix(s, "panic:") || strings.HasPrefix(s, "fatal error:") || strings.Contains(s, "WARNING: DATA RACE")
		})
		if at >= 0 {
			list = append(list, fmt.Sprintf("%s: %s", p.Name, strings.Join(lines[at:min(at+40, len(lines))], "\n")))
		}
	}
	return list
}
