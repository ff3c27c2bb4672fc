package cluster_test

import (
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

func TestFailover(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	table(t, c)
	old, next, other := c.Nodes()[0], c.Nodes()[1], c.Nodes()[2]
	begin := time.Now()
	must(t, c.Failover(t.Context(), next))
	t.Logf("failed over after %v", time.Since(begin))
	if c.Primary() != next || old.Running() {
		t.Fatalf("the primary is %s, the old one runs: %v", c.Primary(), old.Running())
	}
	must(t, next.Exec(t.Context(), increment))
	waitValue(t, other, "1")
	if got := query(t, next, "SELECT left(pgroute.timeline_history(2), 2)"); got != "1\t" {
		t.Errorf("history of timeline 2 begins with %q", got)
	}
	begin = time.Now()
	must(t, c.Rebuild(t.Context(), old))
	t.Logf("old primary rebuilt after %v", time.Since(begin))
	waitValue(t, old, "1")
	if err := c.Failover(t.Context(), next); err == nil {
		t.Error("failed over to the primary")
	}
	// And back, which needs a second new timeline.
	must(t, c.Failover(t.Context(), old))
	must(t, c.Rebuild(t.Context(), next))
	must(t, old.Exec(t.Context(), increment))
	for _, n := range c.Nodes() {
		waitValue(t, n, "2")
	}
}

// A replica that has replayed more than the promoted one cannot follow it.
func TestFailoverRebuildsWhoWasAhead(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	table(t, c)
	next, ahead := c.Nodes()[1], c.Nodes()[2]
	must(t, next.Stop(cluster.Kill))
	must(t, c.Primary().Exec(t.Context(), increment))
	waitValue(t, ahead, "1")
	must(t, c.Primary().Stop(cluster.Immediate))
	must(t, next.Start(t.Context()))
	must(t, c.Failover(t.Context(), next))
	must(t, c.WaitCaughtUp(t.Context()))
	for _, n := range []*cluster.Node{next, ahead} {
		if got := query(t, n, "SELECT v FROM t"); got != "0" {
			t.Errorf("%s shows %s after the write was lost", n, got)
		}
	}
}

// The old primary may stay up: two primaries with different histories.
func TestPromoteLeavesTheOldPrimaryAlone(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	table(t, c)
	old, next, other := c.Nodes()[0], c.Nodes()[1], c.Nodes()[2]
	must(t, next.Promote(t.Context()))
	if c.Primary() != next {
		t.Errorf("the primary is %s", c.Primary())
	}
	must(t, old.Exec(t.Context(), increment))
	waitValue(t, other, "1")
	waitValue(t, next, "0")
	if err := old.Repoint(t.Context(), next); err == nil {
		t.Error("a running primary was repointed")
	}
	// Stopped in good order it could follow only if it had not written.
	must(t, old.Stop(cluster.Fast))
	must(t, c.Rebuild(t.Context(), old))
	waitValue(t, old, "0")
}
