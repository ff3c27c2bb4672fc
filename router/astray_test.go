package router_test

import (
	"testing"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// A server that was recovered by itself and is a standby again has WAL of its
// own on the primary's timeline. It is ahead of the primary then, and stays
// left out when the primary has passed it, until it has started again.
func TestReplicaAheadOfThePrimaryIsLeftOut(t *testing.T) {
	c := newCluster("a", "b")
	c.servers["a"].replay(1 << 20)
	run(t, c, router.Config{}, func(w *world) {
		for _, at := range []lsn.LSN{2000, 1<<20 - 20_000, 1<<20 + 20_000, 1 << 21} {
			w.servers["p"].insert(at)
			w.servers["b"].replay(at)
			w.settle()
			if w.node("a").Eligible() || !w.node("b").Eligible() {
				t.Fatalf("with the primary at %d: a counts: %v, b counts: %v", at, w.node("a").Eligible(), w.node("b").Eligible())
			}
		}
		w.servers["a"].kill(false) // the monitor's connection alone
		w.settle()
		if w.node("a").Eligible() {
			t.Error("a counts on another connection")
		}
		w.servers["a"].restart(func(st *router.Status) { st.PostmasterStart, st.Replay = 95, 1<<21 })
		w.settle()
		if !w.node("a").Eligible() {
			t.Error("a does not count once it has been built again")
		}
	})
}

// A replica that has replayed more than was known of the primary when it was
// met is no stranger: the primary is asked, and it counts.
func TestReplicaAheadOfWhatIsKnownCounts(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		for at := lsn.LSN(1 << 20); at < 8<<20; at += 1 << 20 {
			w.servers["p"].insert(at)
			w.servers["a"].restart(func(st *router.Status) { st.PostmasterStart++; st.Replay = at })
			w.settle()
			if !w.node("a").Eligible() {
				t.Fatalf("a does not count at %d", at)
			}
		}
	})
}

// While nobody leads, nobody can say who is ahead: reads go on.
func TestReplicaCountsWhileThereIsNoPrimary(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		w.servers["p"].kill(true)
		w.settle()
		w.servers["a"].restart(func(st *router.Status) { st.PostmasterStart++; st.Replay = 1 << 20 })
		w.settle()
		if w.r.Topology().Primary != nil || !w.node("a").Eligible() {
			t.Errorf("a counts: %v, the primary is %v", w.node("a").Eligible(), w.r.Topology().Primary)
		}
	})
}

// A server that was ahead of the primary and is promoted nevertheless has not
// followed that primary, whatever its history says: nobody is told that a write
// was kept, nor that it is lost.
func TestFateWhenAStrangerIsPromoted(t *testing.T) {
	for name, change := range map[string]func(*router.Status){
		"its history claims to have followed": nil,
		"its history cannot be read":          func(st *router.Status) { st.Begin, st.BeginKnown, st.History = 0, false, nil },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster("a", "b")
			c.servers["a"].replay(1 << 20)
			run(t, c, router.Config{}, func(w *world) {
				writer := w.client(nil)
				first(w, writer)
				w.servers["p"].insert(1500)
				w.settle()
				writer.commit(2000, true)
				w.settle()
				w.failover(1<<20, change)
				if got := writer.Fate(); got != router.FateMaybeLost {
					t.Errorf("the write is %s", got)
				}
			})
		})
	}
}
