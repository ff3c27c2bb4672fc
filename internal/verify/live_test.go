package verify_test

import (
	"context"
	"errors"
	"flag"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/internal/verify"
)

var opsFlag = flag.Int("verify.ops", 1500, "how many operations TestLive does")

// TestLive: through two proxies over a cluster whose replicas stand still again
// and again nothing is found, and every check had something to look at.
func TestLive(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 2})
	if err := c.WaitCaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	src := newSource(c.Nodes()...)
	var observed atomic.Int64
	o := verify.Options{Targets: []verify.Target{startProxy(t, "a", src, 2), startProxy(t, "b", src, 2)}, MaxOps: *opsFlag, Levels: verify.Levels(),
		Observe: func(verify.Op) { observed.Add(1) }, Logf: t.Logf}
	ctx, stop := context.WithCancel(t.Context())
	done := jitter(ctx, t, c)
	r, err := verify.Run(t.Context(), o)
	stop()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", text(t, r))
	if !r.OK() {
		t.Error("there are findings")
	}
	for _, check := range r.Checks {
		if check.Looked == 0 {
			t.Errorf("%s looked at nothing", check.Name)
		}
	}
	if r.Tokens == 0 || r.Handed == 0 {
		t.Errorf("%d tokens, %d of them between proxies", r.Tokens, r.Handed)
	}
	if got := observed.Load(); got != int64(r.Ops) {
		t.Errorf("%d operations were observed, %d are in the report", got, r.Ops)
	}
	if n, err := c.Primary().QueryString(t.Context(), "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgroute_verify'"); err != nil || n != "0" {
		t.Errorf("%s schemas are left, %v", n, err)
	}
}

// TestServersAreFound: clients that are spread over a primary and a replica
// without pgroute read stale answers, and that is found.
func TestServersAreFound(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	if err := errors.Join(c.WaitCaughtUp(t.Context()), c.Replicas()[0].SetApplyDelay(t.Context(), 300*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var targets []verify.Target
	for _, n := range c.Nodes() {
		targets = append(targets, verify.Target{DSN: n.DSN(cluster.AppUser, cluster.AppPassword, cluster.AppDatabase)})
	}
	r, err := verify.Run(t.Context(), verify.Options{Targets: targets, MaxOps: 6000, Levels: []string{verify.Strong, verify.Bounded}, Staleness: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{verify.StaleStrong, verify.TooStale, verify.NotLinearizable} {
		if r.Found[kind] == 0 {
			t.Errorf("no %s was found", kind)
		}
	}
	for kind := range r.Found {
		switch kind {
		case verify.StaleStrong, verify.TooStale, verify.NotLinearizable, verify.OwnWriteMissing:
		default:
			t.Errorf("%s was found, which cannot be", kind)
		}
	}
	if t.Failed() {
		t.Log(text(t, r))
	}
}
