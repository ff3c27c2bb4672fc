//go:build pgroute_mutants

package router_test

import (
	"testing"
	"time"

	"github.com/pgroute/pgroute/router"
)

// TestMutantsAreCaught switches off one rule at a time. A rule whose removal
// nothing notices is not tested, or not needed. Run it with -v for the table.
func TestMutantsAreCaught(t *testing.T) {
	inSimulation := func(t *testing.T) string {
		// The goroutines of a bubble run in no fixed order: what one run does
		// not catch, the next does.
		for seed := range uint64(3) {
			if bad := simulate(t, seed, 3*time.Second); len(bad) > 0 {
				return bad[0]
			}
		}
		return ""
	}
	for _, test := range []struct {
		rule  string
		on    *bool
		catch func(t *testing.T) string
	}{
		{"floor check off", &router.Mutants.NoFloor, inSimulation},
		{"no ticket after a write", &router.Mutants.NoTicket, inSimulation},
		{"flush position always", &router.Mutants.FlushAlways, inSimulation},
		{"watermark survives its connection", &router.Mutants.WatermarkSurvives, catchWatermarkSurvives},
		{"connect ticket off", &router.Mutants.NoConnectTicket, inSimulation},
		{"moves without a ticket", &router.Mutants.FreeMove, inSimulation},
		{"raw insert position", &router.Mutants.RawInsert, catchRawInsert},
		{"timeline ignored", &router.Mutants.TimelineIgnored, catchTimelineIgnored},
		{"notification ticket off", &router.Mutants.NoNotifyTicket, catchNoNotifyTicket},
		{"no guard from a replica to the primary", &router.Mutants.NoGuard, catchNoGuard},
		{"no guard for numbers that are given out again", &router.Mutants.NoReuseGuard, catchNoReuseGuard},
	} {
		t.Run(test.rule, func(t *testing.T) {
			if text := test.catch(t); text != "" {
				t.Fatalf("caught without the mutant: %s", text)
			}
			*test.on = true
			defer func() { *test.on = false }()
			text := test.catch(t)
			if text == "" {
				t.Fatal("not caught")
			}
			t.Logf("caught: %s", text)
		})
	}
}

func catchWatermarkSurvives(t *testing.T) (text string) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		c.write(2000)
		w.servers["a"].replay(2000)
		c.read()
		w.servers["a"].restart(func(st *router.Status) { st.Replay = 1500 })
		w.settle()
		n := w.node("a")
		d := c.read()
		// A backend that is dialled now reads 1500.
		if d.Role == router.RoleReplica && n.Covers(d.Floor, n.Asked(), 1500) {
			text = "a write was looked for on a server that had restarted behind it: " + describe(d)
		}
	})
	return text
}

func catchRawInsert(t *testing.T) (text string) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		w.servers["p"].set(func(st *router.Status) { st.Insert, st.Flush = 8192+24, 8192 })
		c.Wrote()
		w.servers["a"].replay(8192)
		if d := c.read(); d.Role != router.RoleReplica {
			text = "a replica that had replayed everything was waited for in vain: " + describe(d)
		}
	})
	return text
}

func catchTimelineIgnored(t *testing.T) (text string) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		w.servers["p"].kill(true)
		w.promote("a")
		w.servers["b"].replay(5000) // on the old timeline, which left the new one at 1000
		w.settle()
		c := w.client(nil)
		w.servers["a"].insert(2000)
		c.Wrote()
		if d := c.read(); d.Role == router.RoleReplica {
			text = "a write on timeline 2 was looked for on timeline 1: " + describe(d)
		}
	})
	return text
}

func catchNoNotifyTicket(t *testing.T) (text string) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		w.servers["p"].insert(2000)
		c.Notified()
		if d := c.read(); d.Role == router.RoleReplica {
			text = "what was announced was looked for where it was not yet: " + describe(d)
		}
	})
	return text
}

func catchNoGuard(t *testing.T) (text string) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.reader()
		w.commit("a") // and it is never acknowledged
		c.read()
		if d := c.atPrimary(); d.Err == nil {
			text = "what a replica has shown was looked for where it is hidden: " + describe(d)
		}
	})
	return text
}

func catchNoReuseGuard(t *testing.T) (text string) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		era := w.r.Topology().Era()
		w.says(router.XactCommitted) // somebody else's
		w.failover(1500, func(st *router.Status) { st.NextXID = 60 })
		if v := w.ask(era); v.Outcome != router.OutcomeAborted {
			text = "a transaction that the failover has lost is told to be " + v.Outcome.String()
		}
	})
	return text
}
