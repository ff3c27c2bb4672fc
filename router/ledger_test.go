package router_test

import (
	"testing"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// commitFor is commit for whoever comes next of s.
func (c *client) commitFor(s *router.Session, l lsn.LSN, sure bool) {
	c.Writing(c.r.Topology().Era(), 0)
	c.servers["p"].insert(l)
	c.Wrote()
	s.Acknowledged(&c.Chain, sure)
}

// ackFor is the end of a write to the primary of an era.
func (c *client) ackFor(s *router.Session, era uint64, sure bool) {
	c.Writing(era, 0)
	c.Wrote()
	s.Acknowledged(&c.Chain, sure)
}

// TestFateOfASession: what became of the writes of a session's clients is said
// once, to the session, and to no other.
func TestFateOfASession(t *testing.T) {
	for _, test := range []struct {
		name string
		// does writes for the session, the primary fails over at 2600 after.
		does func(w *world, s *router.Session)
		want router.Fate
	}{
		{"nobody wrote", func(*world, *router.Session) {}, router.FateKept},
		{"a kept write", func(w *world, s *router.Session) {
			w.client(s).commitFor(s, 2000, true)
			w.settle()
		}, router.FateKept},
		{"a lost write after a kept one", func(w *world, s *router.Session) {
			w.client(s).commitFor(s, 2000, true)
			w.settle()
			w.servers["p"].insert(2700)
			w.client(nil).commit(2700, true)
			w.settle()
			w.client(s).commitFor(s, 2800, true)
		}, router.FateLost},
		{"a lost write before what may have been none", func(w *world, s *router.Session) {
			w.client(nil).commit(2700, true)
			w.settle()
			w.client(s).commitFor(s, 2800, true)
			w.settle()
			w.client(s).commitFor(s, 2900, false)
		}, router.FateLost},
		{"what may have been none", func(w *world, s *router.Session) {
			w.client(nil).commit(2700, true)
			w.settle()
			w.client(s).commitFor(s, 2900, false)
		}, router.FateMaybeLost},
		{"a write within which the history ended", func(w *world, s *router.Session) {
			w.client(s).commitFor(s, 2800, true)
			w.settle()
		}, router.FateMaybeLost},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, newCluster("a"), router.Config{}, func(w *world) {
				s, other := w.r.NewSession(), w.r.NewSession()
				first(w, w.client(nil))
				w.servers["p"].insert(1600)
				w.client(nil).commit(1600, true)
				w.settle()
				w.client(other).commitFor(other, 1700, true)
				w.settle()
				test.does(w, s)
				w.settle()
				if f := s.Fate(); f != router.FateKept {
					t.Errorf("before any change: %s", f)
				}
				w.failover(2600, nil)
				if f := s.Fate(); f != test.want {
					t.Errorf("%s, want %s", f, test.want)
				}
				if f := s.Fate(); f != router.FateKept {
					t.Errorf("it is said again: %s", f)
				}
				if f := other.Fate(); f != router.FateKept {
					t.Errorf("another session is told: %s", f)
				}
				var counted [3]uint64
				if test.want != router.FateKept {
					counted[test.want] = 1
				}
				if n := w.r.Stats(); n.Lost != counted[router.FateLost] || n.MaybeLost != counted[router.FateMaybeLost] {
					t.Errorf("%d are counted as lost and %d as perhaps lost", n.Lost, n.MaybeLost)
				}
			})
		})
	}
}

// TestFateOfASessionThatGoesOn: a session's clients write before and after a
// change of the primary that none of them was told of yet.
func TestFateOfASessionThatGoesOn(t *testing.T) {
	for _, test := range []struct {
		name string
		does func(w *world, s *router.Session, old uint64) // after the failover
		want []router.Fate
	}{
		{"nobody wrote after", func(*world, *router.Session, uint64) {}, []router.Fate{router.FateLost, router.FateKept}},
		{"one wrote to the new primary", func(w *world, s *router.Session, _ uint64) {
			w.client(s).ackFor(s, w.r.Topology().Era(), true)
		}, []router.Fate{router.FateLost, router.FateKept}},
		{"one comes late, and another has been told", func(w *world, s *router.Session, old uint64) {
			if f := s.Fate(); f != router.FateLost {
				w.Errorf("the first: %s", f)
			}
			w.client(s).ackFor(s, old, true)
		}, []router.Fate{router.FateLost, router.FateKept}},
		{"one comes late, and another wrote to the new primary", func(w *world, s *router.Session, old uint64) {
			if f := s.Fate(); f != router.FateLost {
				w.Errorf("the first: %s", f)
			}
			w.client(s).ackFor(s, w.r.Topology().Era(), true)
			w.client(s).ackFor(s, old, true)
		}, []router.Fate{router.FateLost, router.FateKept}},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, newCluster("a"), router.Config{}, func(w *world) {
				s := w.r.NewSession()
				first(w, w.client(nil))
				w.client(nil).commit(2000, true)
				w.settle()
				w.client(s).commitFor(s, 2100, true)
				w.settle()
				old := w.r.Topology().Era()
				w.failover(1000, nil)
				test.does(w, s, old)
				for i, want := range test.want {
					if f := s.Fate(); f != want {
						t.Errorf("at %d: %s, want %s", i, f, want)
					}
				}
			})
		})
	}
}

// TestFateOfASessionAtEveryChange: a write that one change of the primary has
// kept can be lost by the next.
func TestFateOfASessionAtEveryChange(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		s := w.r.NewSession()
		first(w, w.client(nil))
		w.client(s).commitFor(s, 2000, true)
		w.settle()
		w.servers["p"].restart(func(st *router.Status) { st.Recovered = 2000 })
		w.settle()
		for range 2 {
			if f := s.Fate(); f != router.FateKept {
				t.Fatalf("after the restart: %s, want kept", f)
			}
		}
		w.failover(1000, nil)
		for _, want := range []router.Fate{router.FateLost, router.FateKept} {
			if f := s.Fate(); f != want {
				t.Errorf("after the failover: %s, want %s", f, want)
			}
		}
	})
}
