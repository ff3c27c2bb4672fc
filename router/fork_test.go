package router_test

import (
	"testing"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// forked makes b, which never followed a, the primary after a: a left timeline 1
// at 2500, b at 1500.
func (w *world) forked(timeline uint32) {
	w.servers["a"].kill(true)
	w.servers["b"].promote(func(st *router.Status) {
		st.InRecovery, st.Timeline, st.Begin, st.BeginKnown = false, timeline, 1500, true
		st.History = []lsn.Switch{{Timeline: 1, End: 1500}}
		st.Insert, st.Flush, st.Recovered, st.NextXID = 4000, 4000, 1500, 60
	})
	w.settle()
}

// TestForkBeforeThePrimarysTimeline: a timeline that left the history before the
// last primary's began lacks also what that one had kept of earlier ones.
func TestForkBeforeThePrimarysTimeline(t *testing.T) {
	for _, timeline := range []uint32{2, 3} {
		run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
			era := w.r.Topology().Era()
			w.says(router.XactCommitted)
			early, late := w.client(nil), w.client(nil)
			first(w, early)
			early.commit(1400, true)
			w.settle()
			w.servers["p"].insert(1900)
			w.settle()
			late.commit(2000, true)
			w.settle()
			w.failover(2500, func(st *router.Status) { st.NextXID = 60 })
			if f := late.Fate(); f != router.FateKept {
				t.Errorf("after the first failover it is told %s", f)
			}
			w.forked(timeline)
			if f := early.Fate(); f != router.FateKept {
				t.Errorf("timeline %d: the write that is there is told %s", timeline, f)
			}
			if f := late.Fate(); f != router.FateLost {
				t.Errorf("timeline %d: the write that is not there is told %s", timeline, f)
			}
			// Another transaction has got the number since.
			if v := w.ask(era); v.Outcome != router.OutcomeAborted {
				t.Errorf("timeline %d: the COMMIT that is not there is told %s %q", timeline, v.Outcome, v.Reason)
			}
		})
	}
}

// TestRecoveredSinceThePromotion: where the history is not readable, the end of
// recovery is where the timeline was left only in the life that was promoted.
func TestRecoveredSinceThePromotion(t *testing.T) {
	for _, test := range []struct {
		name    string
		crashed bool
		fate    router.Fate
		outcome router.Outcome
	}{
		{"promoted", false, router.FateKept, router.OutcomeCommitted},
		{"and started again", true, router.FateMaybeLost, router.OutcomeUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, newCluster("a"), router.Config{}, func(w *world) {
				era := w.r.Topology().Era()
				w.says(router.XactCommitted)
				c := w.client(nil)
				first(w, c)
				c.commit(2000, true)
				w.settle()
				w.failover(3000, func(st *router.Status) {
					st.Begin, st.BeginKnown, st.History, st.NextXID = 0, false, nil, 60
					if test.crashed {
						st.Incarnation++
					}
				})
				if f := c.Fate(); f != test.fate {
					t.Errorf("the write is told %s, want %s", f, test.fate)
				}
				if v := w.ask(era); v.Outcome != test.outcome {
					t.Errorf("the COMMIT is told %s %q, want %s", v.Outcome, v.Reason, test.outcome)
				}
			})
		})
	}
}
