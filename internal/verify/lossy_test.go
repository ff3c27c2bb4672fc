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
	r := loseWrites(t, func(context.Context, *source, *cluster.Cluster, *cluster.Node) error { return nil })
	if !r.OK() {
		t.Error("there are findings")
	}
	if len(r.Detours) != 0 {
		t.Errorf("detours: %+v; nothing came back", r.Detours)
	}
	if l := r.Losses; l.Lost == 0 || l.Told == 0 || l.Warnings == 0 {
		t.Errorf("losses: %+v; the failover was to lose something that is told", l)
	}
}

// TestClusterGoesBack: after that the old primary is promoted, with its own data:
// what the failover had lost is there, and what was written since is lost. The
// time between is a detour, and nothing is found. That other things are is
// TestBesideDetour's.
func TestClusterGoesBack(t *testing.T) {
	r := loseWrites(t, func(ctx context.Context, src *source, c *cluster.Cluster, old *cluster.Node) error {
		now := c.Primary()
		err := errors.Join(now.Stop(cluster.Immediate), old.Repoint(ctx, now), old.Start(ctx), old.Promote(ctx))
		src.set(old.Addr(), c.Nodes()...)
		return err
	})
	if !r.OK() {
		t.Error("there are findings")
	}
	if len(r.Detours) != 1 || r.Detours[0].Twice == 0 || r.Detours[0].Unjudged == 0 {
		t.Errorf("detours: %+v; there was one", r.Detours)
	}
	if l := r.Losses; l.Lost == 0 || l.Told == 0 {
		t.Errorf("losses: %+v; what was written in the detour was to be lost and told", l)
	}
}

// loseWrites runs all workloads through two proxies, and amid them a failover to
// a replica that lacks the last writes, and then what else is to happen.
func loseWrites(t *testing.T, then func(ctx context.Context, src *source, c *cluster.Cluster, old *cluster.Node) error) *verify.Report {
	t.Helper()
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
		more(200) // these the replica does not have
		err = errors.Join(err, old.Stop(cluster.Immediate), replica.Promote(ctx))
		src.set(replica.Addr(), c.Nodes()...)
		more(200)
		err = errors.Join(err, then(ctx, src, c, old))
		more(200)
		stop()
		fault <- err
	}()
	r, err := verify.Run(ctx, o)
	if err := errors.Join(err, <-fault); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", text(t, r))
	return r
}
