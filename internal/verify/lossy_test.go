package verify_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/internal/verify"
)

// TestLossyFailover: a failover loses acknowledged writes under load, which their
// writers are told, and nothing is found. That each loss counts is TestJudge's.
func TestLossyFailover(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	old, replica := c.Primary(), c.Replicas()[0]
	relay, err := cluster.NewRelay(old.Addr(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	if err := errors.Join(replica.RepointAddr(t.Context(), "127.0.0.1", relay.Port()), c.WaitCaughtUp(t.Context())); err != nil {
		t.Fatal(err)
	}
	src := newSource(c.Nodes()...)
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	var writes atomic.Int64
	o := verify.Options{Targets: []verify.Target{startProxy(t, "a", src, 1), startProxy(t, "b", src, 1)}, MayLose: true, Patience: patience, Timeout: patience,
		Observe: func(op verify.Op) {
			if op.Outcome == verify.OK && op.Level == "" && op.Workload != "" {
				writes.Add(1)
			}
		}}
	more := func(n int64) {
		for until := writes.Load() + n; writes.Load() < until && ctx.Err() == nil; {
			pass(ctx, 5*time.Millisecond)
		}
	}
	fault := make(chan error, 1)
	// Ends with the run; its end is waited for below.
	go func() {
		more(200)
		err := relay.Close()
		more(100) // these the replica does not have
		err = errors.Join(err, old.Stop(cluster.Immediate), replica.Promote(ctx))
		src.set(replica.Addr(), c.Nodes()...)
		more(200)
		stop()
		fault <- err
	}()
	r, err := verify.Run(ctx, o)
	if err := errors.Join(err, <-fault); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", text(t, r))
	if !r.OK() {
		t.Error("there are findings")
	}
	if l := r.Losses; l.Lost == 0 || l.Told == 0 || l.Warnings == 0 {
		t.Errorf("losses: %+v; the failover was to lose something that is told", l)
	}
}
