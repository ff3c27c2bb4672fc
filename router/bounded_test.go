package router_test

import (
	"testing"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// TestBoundedReadsAreYoungEnough: a replica that stands still serves bounded
// reads without a wait for as long as what it lacks is younger than the bound,
// and not one afterwards.
func TestBoundedReadsAreYoungEnough(t *testing.T) {
	for _, bound := range []time.Duration{100 * time.Millisecond, time.Second, time.Minute, 3 * time.Hour} {
		t.Run(bound.String(), func(t *testing.T) {
			run(t, newCluster("a"), router.Config{}, func(w *world) {
				c := w.client(nil)
				c.Level, c.MaxStaleness, c.Wait = router.LevelBounded, bound, 0
				step := bound / 50
				for range 110 {
					c.read()
					time.Sleep(step)
				}
				w.servers["p"].insert(2000)
				written := time.Now()
				served, waited := 0, 0
				for range 120 {
					began := time.Now()
					switch d := c.read(); {
					case d.Role != router.RoleReplica:
					case began.Sub(written) >= bound:
						t.Fatalf("%v after the write the replica without it serves: %s", began.Sub(written), describe(d))
					case d.Waited > 0:
						waited++
					default:
						served++
					}
					time.Sleep(step)
				}
				// A sixteenth of the bound is what the samples are apart.
				if served < 44 || waited > 0 {
					t.Errorf("the replica served %d of 50 reads that it could have, %d after a wait", served, waited)
				}
				w.servers["a"].replay(2000)
				w.settle()
				c.Wait = time.Second
				if d := c.read(); d.Role != router.RoleReplica {
					t.Errorf("once it has replayed the write: %s", describe(d))
				}
			})
		})
	}
}

// TestFirstBoundedReadTakesATicket: where no sample is known that is young
// enough, the read sees at least what was acknowledged before it began.
func TestFirstBoundedReadTakesATicket(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		time.Sleep(time.Minute) // the oracle was asked 5 s ago at the latest
		w.servers["p"].insert(2000)
		c.Level, c.MaxStaleness = router.LevelBounded, time.Millisecond
		time.Sleep(2 * time.Millisecond)
		w.want(c.read(), "p not_covered")
		w.servers["a"].replay(2000)
		time.Sleep(time.Minute)
		w.want(c.read(), "a waited")
	})
}

// TestBoundedFloorsSurviveAPromotion: a sample of the old primary means, to the
// new one, everything that survived.
func TestBoundedFloorsSurviveAPromotion(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		c := w.client(nil)
		c.Level, c.MaxStaleness = router.LevelBounded, time.Minute
		for range 100 {
			c.read()
			time.Sleep(100 * time.Millisecond)
		}
		w.servers["p"].kill(true)
		w.servers["a"].restart(func(st *router.Status) {
			st.InRecovery, st.Timeline, st.Begin, st.BeginKnown = false, 2, 900, true
			st.History = []lsn.Switch{{Timeline: 1, End: 900}}
			st.Insert, st.Flush = 1500, 1500
		})
		w.settle()
		w.servers["b"].restart(func(st *router.Status) { st.Timeline, st.Replay = 2, 1400 })
		w.settle()
		if d := c.read(); d.Role == router.RoleReplica {
			t.Errorf("a replica behind the start of the era serves: %s", describe(d))
		}
		w.servers["b"].replay(1500)
		w.settle()
		w.want(c.read(), "b covered")
	})
}
