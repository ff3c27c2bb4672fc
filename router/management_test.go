package router_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// managed returns what a manager says of c while leader leads.
func (c *cluster) managed(leader string) router.Candidates {
	return router.Candidates{Nodes: slices.Clone(c.nodes), NamesPrimary: true, Primary: leader, Confirmed: time.Now(), ValidFor: time.Minute}
}

func TestNodeWithoutReadsServesNone(t *testing.T) {
	c := newCluster("a", "b")
	said := c.managed("p")
	said.Nodes[1].NoReads = "tag noloadbalance"
	src := newSource(said)
	run(t, c, router.Config{Source: src}, func(w *world) {
		a, b, epoch := w.node("a"), w.node("b"), w.r.Topology().Epoch
		if a.Eligible() || !b.Eligible() || a.NoReads() != "tag noloadbalance" || b.NoReads() != "" {
			t.Fatalf("topology %s", w.r.Topology())
		}
		// It changes while they live: they stay the same nodes.
		said := c.managed("p")
		said.Nodes[0].NoReads, said.Nodes[2].NoReads = "for the primary it means nothing", "state stopping"
		src.updates <- said
		w.settle()
		if !a.Eligible() || b.Eligible() || w.node("a") != a || w.node("b") != b || a.NoReads() != "" {
			t.Errorf("topology %s", w.r.Topology())
		}
		if top := w.r.Topology(); top.Epoch != epoch || top.Primary == nil || !top.Leadership {
			t.Errorf("the primary suffered: %s", top)
		}
		cl := w.client(w.r.NewSession())
		if d := cl.read(); d.Node != a {
			t.Errorf("read on %s", describe(d))
		}
	})
}

func TestManagementIsPartOfTheTopology(t *testing.T) {
	c := newCluster("a")
	src := newSource(c.managed("p"))
	run(t, c, router.Config{Source: src}, func(w *world) {
		top := w.r.Topology()
		if !top.Switchover.IsZero() || top.Management == nil || top.Management.Manager != "" {
			t.Fatalf("switchover %+v, management %+v", top.Switchover, top.Management)
		}
		said := c.managed("p")
		said.Switchover = router.Switchover{Leader: "p", Candidate: "a"}
		said.Management = router.Management{Manager: "Patroni", Paused: true,
			Synchronous: router.Synchronous{Standbys: []string{"a"}}, History: []lsn.Switch{{Timeline: 1, End: 5}}}
		src.updates <- said
		w.settle()
		next := w.r.Topology()
		if next.Switchover.Candidate != "a" || !next.Management.Equal(&said.Management) || next.Epoch != top.Epoch {
			t.Errorf("switchover %+v, management %+v", next.Switchover, next.Management)
		}
		if text := next.String(); !strings.Contains(text, "a switchover of p is announced") || !strings.Contains(text, "Patroni is paused") {
			t.Errorf("the topology is told as %s", text)
		}
		select {
		case <-top.Changed():
		default:
			t.Error("nobody was told of the change")
		}
		said.Confirmed = time.Now()
		src.updates <- said
		w.settle()
		if w.r.Topology().Management != next.Management {
			t.Error("what did not change is another one")
		}
	})
}

func TestReasonOfTheSourceIsTold(t *testing.T) {
	c := newCluster("a")
	said := c.managed("")
	said.Reason = "p leads a standby cluster"
	run(t, c, router.Config{Source: newSource(said)}, func(w *world) {
		if _, _, err := w.r.Primary(); err == nil || !strings.Contains(refusal(err).Detail, "p leads a standby cluster") {
			t.Errorf("why there is no primary: %v", err)
		}
	})
}

// Without the system identifier the first server that the source names would
// decide which cluster it is.
func TestSourceSaysWhichClusterItIs(t *testing.T) {
	c := newCluster("a")
	said := c.managed("p")
	said.SystemID = systemID + 1
	src := newSource(said)
	run(t, c, router.Config{Source: src}, func(w *world) {
		if top := w.r.Topology(); top.Primary != nil || top.Replicas() != 0 || !strings.Contains(top.Reason, "system identifier") {
			t.Errorf("topology %s", top)
		}
		said := c.managed("p")
		said.SystemID = systemID
		src.updates <- said
		w.settle()
		if top := w.r.Topology(); top.Primary != w.node("p") || top.Replicas() != 1 {
			t.Errorf("topology %s", top)
		}
	})
}

func TestSwitchoverIsDue(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, tt := range []struct {
		s    router.Switchover
		lead time.Duration
		due  bool
	}{
		{router.Switchover{}, time.Hour, false},
		{router.Switchover{Leader: "p"}, 0, true},
		{router.Switchover{Leader: "p", At: now.Add(time.Minute)}, 0, false},
		{router.Switchover{Leader: "p", At: now.Add(time.Minute)}, 2 * time.Minute, true},
		{router.Switchover{Leader: "p", At: now.Add(-time.Minute)}, 0, true},
	} {
		if got := tt.s.Due(now, tt.lead); got != tt.due {
			t.Errorf("%+v with a lead of %s: due %v", tt.s, tt.lead, got)
		}
	}
}
