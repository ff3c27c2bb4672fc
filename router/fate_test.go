package router_test

import (
	"slices"
	"testing"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// commit is a write that is acknowledged while the primary stands at l.
func (c *client) commit(l lsn.LSN, sure bool) {
	c.Writing(c.r.Topology().Era(), 0)
	c.servers["p"].insert(l)
	c.Wrote()
	c.Acknowledged(sure)
}

// failover makes a the primary of timeline 2, which left timeline 1 at end, and
// gives everybody time to see it.
func (w *world) failover(end lsn.LSN, change func(*router.Status)) {
	w.servers["p"].kill(true)
	w.servers["a"].promote(func(st *router.Status) {
		st.InRecovery, st.Timeline, st.Begin, st.BeginKnown = false, 2, end, true
		st.History = []lsn.Switch{{Timeline: 1, End: end}}
		st.Insert, st.Flush, st.Recovered = end+100, end+100, end
		if change != nil {
			change(st)
		}
	})
	w.settle()
}

// TestFateAfterFailover: where the new timeline left the old one decides what
// became of the last write of each client; each is told once.
func TestFateAfterFailover(t *testing.T) {
	unread := func(st *router.Status) { st.Begin, st.BeginKnown, st.History = 0, false, nil }
	for _, test := range []struct {
		name   string
		end    lsn.LSN
		change func(*router.Status)
		want   map[string]router.Fate
	}{
		{"after everything", 3000, nil, map[string]router.Fate{}},
		{"before the last", 2500, nil, map[string]router.Fate{"late": router.FateLost, "unanswered": router.FateLost, "vague": router.FateMaybeLost}},
		{"within the last", 2600, nil, map[string]router.Fate{"late": router.FateMaybeLost, "unanswered": router.FateLost, "vague": router.FateMaybeLost}},
		{"before all", 1500, nil, map[string]router.Fate{"early": router.FateLost, "late": router.FateLost, "unanswered": router.FateLost, "vague": router.FateMaybeLost}},
		{"the history is not readable", 2600, unread, map[string]router.Fate{"late": router.FateMaybeLost, "unanswered": router.FateLost, "vague": router.FateMaybeLost}},
		{"nothing is known", 2600, func(st *router.Status) { unread(st); st.Recovered = 0 }, map[string]router.Fate{
			"early": router.FateMaybeLost, "late": router.FateMaybeLost, "unanswered": router.FateMaybeLost, "vague": router.FateMaybeLost}},
		{"the timeline left earlier", 2600, func(st *router.Status) {
			st.Timeline, st.Begin, st.History = 3, 0x10, []lsn.Switch{{Timeline: 2, Begin: 0x10, End: 0x10}}
		}, map[string]router.Fate{"early": router.FateLost, "late": router.FateLost, "unanswered": router.FateLost, "vague": router.FateMaybeLost}},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
				all := map[string]*client{}
				for _, name := range []string{"none", "early", "late", "unanswered", "vague"} {
					all[name] = w.client(nil)
				}
				first(w, all["none"])
				all["none"].Writing(w.r.Topology().Era(), 0) // sent, not acknowledged
				w.servers["p"].insert(1600)
				w.client(nil).commit(1600, true)
				w.settle()
				all["early"].commit(2000, true)
				w.settle()
				w.servers["p"].insert(2550)
				w.client(nil).commit(2550, true)
				w.settle()
				all["late"].commit(2700, true)
				all["vague"].commit(2700, false)
				w.settle()
				w.servers["p"].mute = true // what is asked from now on is not answered
				all["unanswered"].commit(2900, true)
				w.failover(test.end, test.change)
				for name, c := range all {
					if test.name == "after everything" && name == "unanswered" {
						// Its ticket was not answered before the primary died.
						if got := c.Fate(); got != router.FateMaybeLost {
							t.Errorf("%s: %s", name, got)
						}
						continue
					}
					if got, want := c.Fate(), test.want[name]; got != want {
						t.Errorf("%s: %s, want %s", name, got, want)
					}
					if got := c.Fate(); got != router.FateKept {
						t.Errorf("%s is told again: %s", name, got)
					}
				}
				s := w.r.Stats()
				if s.Lost+s.MaybeLost == 0 {
					t.Errorf("nothing is counted: %+v", s)
				}
			})
		})
	}
}

// TestFateAfterCrash: after a crash restart on the same timeline, what was
// flushed is kept and what lies beyond the end of recovery is lost.
func TestFateAfterCrash(t *testing.T) {
	for _, test := range []struct {
		name                     string
		flush, recovered, insert lsn.LSN
		early, late              router.Fate
	}{
		{"everything was flushed", 2700, 0, 2800, router.FateKept, router.FateKept},
		{"recovery found everything", 1000, 2700, 2800, router.FateKept, router.FateKept},
		{"recovery ended before the last", 1000, 2300, 2400, router.FateKept, router.FateLost},
		{"recovery ended within the last", 1000, 2600, 2650, router.FateKept, router.FateMaybeLost},
		{"only the insert position is known", 2100, 0, 2650, router.FateKept, router.FateMaybeLost},
		{"a loss by the insert position", 2100, 0, 2200, router.FateKept, router.FateLost},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, newCluster("a"), router.Config{}, func(w *world) {
				early, late := w.client(nil), w.client(nil)
				first(w, early)
				write := func(c *client, l lsn.LSN) {
					c.Writing(w.r.Topology().Era(), 0)
					w.servers["p"].set(func(st *router.Status) { st.Insert, st.Flush = l, min(l, test.flush) })
					c.Wrote()
					c.Acknowledged(true)
					w.settle()
				}
				write(early, 2000)
				write(w.client(nil), 2500)
				write(late, 2700)
				w.servers["p"].restart(func(st *router.Status) {
					st.Insert, st.Flush, st.Recovered = test.insert, test.insert, test.recovered
				})
				w.settle()
				w.settle()
				if got := early.Fate(); got != test.early {
					t.Errorf("the first write: %s, want %s", got, test.early)
				}
				if got := late.Fate(); got != test.late {
					t.Errorf("the last write: %s, want %s", got, test.late)
				}
			})
		})
	}
}

// TestFateOfAWriteToADeposedPrimary: what an old primary acknowledges after the
// new one is known belongs to the old era.
func TestFateOfAWriteToADeposedPrimary(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		old := w.r.Topology().Era()
		w.failover(1000, nil)
		c.Writing(old, 0)
		c.Wrote()
		c.Acknowledged(true)
		if got := c.Fate(); got != router.FateLost {
			t.Errorf("%s, want lost", got)
		}
	})
}

// TestFateWhenTheSourceSaysMore: a server that the source describes in another
// way is the same server.
func TestFateWhenTheSourceSaysMore(t *testing.T) {
	cl := newCluster("a")
	src := newSource(router.Candidates{Nodes: cl.nodes})
	run(t, cl, router.Config{Source: src}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		c.commit(2000, true)
		w.settle()
		era := w.r.Topology().Era()
		said := router.Candidates{Nodes: slices.Clone(cl.nodes)}
		said.Nodes[0].Weight = 7
		src.updates <- said
		w.settle()
		if n := w.node("p"); n.Weight() != 7 || w.r.Topology().Era() != era {
			t.Errorf("weight %d, era %d instead of %d", n.Weight(), w.r.Topology().Era(), era)
		}
		if got := c.Fate(); got != router.FateKept {
			t.Errorf("%s, want kept", got)
		}
	})
}
