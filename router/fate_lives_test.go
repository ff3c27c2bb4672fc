package router_test

import (
	"testing"

	"github.com/pgroute/pgroute/router"
)

// TestFateIsJudgedAtEveryChange: a write that one change of the primary has kept
// can be lost by the next.
func TestFateIsJudgedAtEveryChange(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		c.commit(2000, true)
		w.settle()
		w.servers["p"].restart(func(st *router.Status) { st.Recovered = 2000 })
		w.settle()
		for range 2 {
			if got := c.Fate(); got != router.FateKept {
				t.Fatalf("after the restart: %s, want kept", got)
			}
		}
		w.failover(1000, nil)
		if got := c.Fate(); got != router.FateLost {
			t.Errorf("after the failover: %s, want lost", got)
		}
		if got := c.Fate(); got != router.FateKept {
			t.Errorf("it is said again: %s", got)
		}
	})
}

// TestFateOfAWriteToALifeThatNobodyHadSeen: a connection that is dialled after a
// crash and before a monitor has seen it bears the number of the old era, and
// what was written on it is not lost with that.
func TestFateOfAWriteToALifeThatNobodyHadSeen(t *testing.T) {
	for _, test := range []struct {
		name  string
		after bool // it was dialled after the crash
		want  router.Fate
	}{
		{"dialled before the crash", false, router.FateLost},
		{"dialled after the crash", true, router.FateMaybeLost},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, newCluster("a"), router.Config{}, func(w *world) {
				c := w.client(nil)
				first(w, c)
				old, p := w.r.Topology().Era(), w.servers["p"]
				dialed := w.node("p").Asked()
				w.client(nil).commit(2000, true)
				w.settle()
				p.restart(func(st *router.Status) { st.Insert, st.Flush, st.Recovered = 1500, 1500, 1500 })
				if test.after {
					dialed = w.node("p").Asked()
				}
				c.Writing(old, dialed)
				p.insert(1600)
				c.Wrote()
				c.Acknowledged(true)
				w.settle()
				w.settle()
				if w.r.Topology().Era() == old {
					t.Fatal("nobody has seen the restart")
				}
				if got := c.Fate(); got != test.want {
					t.Errorf("%s, want %s", got, test.want)
				}
			})
		})
	}
}

// TestFateInTheSameLife: what a server acknowledged is there as long as it lives,
// whatever else becomes known of it, and whether a ticket was answered or not.
func TestFateInTheSameLife(t *testing.T) {
	c := newCluster("a")
	run(t, c, router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		era := w.r.Topology().Era()
		c.commit(2000, true) // nobody has asked for its position yet
		w.servers["p"].set(func(st *router.Status) { st.BeginKnown = false })
		w.servers["p"].kill(false)
		w.settle()
		if w.r.Topology().Era() == era {
			t.Fatal("it is the same era")
		}
		if f := c.Fate(); f != router.FateKept {
			t.Errorf("%s, want kept", f)
		}
	})
}
