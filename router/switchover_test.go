package router_test

import (
	"testing"
	"time"

	"github.com/pgroute/pgroute/router"
)

// TestAnnouncedSwitchoverHoldsWrites: from its announcement, or from shortly
// before its time, new work for the primary waits; not for ever, not when it is
// called off, and not for a primary that it is not about.
func TestAnnouncedSwitchoverHoldsWrites(t *testing.T) {
	c := newCluster("a")
	src := newSource(router.Candidates{Nodes: c.nodes, NamesPrimary: true, Primary: "p"})
	run(t, c, router.Config{Source: src}, func(w *world) {
		announce := func(s router.Switchover) {
			src.updates <- router.Candidates{Nodes: c.nodes, NamesPrimary: true, Primary: "p", Switchover: s}
			w.settle()
		}
		held := func(want bool) {
			w.Helper()
			_, _, err := w.r.Primary()
			if got := err != nil && refusal(err).NoPrimary(); got != want {
				w.Errorf("new work waits: %v (%v), want %v", got, err, want)
			}
		}
		held(false)
		announce(router.Switchover{Leader: "p", Candidate: "a"})
		held(true)
		if !w.r.Topology().Leads(time.Now()) {
			t.Error("what runs already may not go on")
		}
		announce(router.Switchover{})
		held(false)

		announce(router.Switchover{Leader: "p", At: time.Now().Add(time.Minute)})
		held(false)
		time.Sleep(time.Minute - 1200*time.Millisecond - 20*time.Millisecond)
		held(true)
		time.Sleep(11 * time.Second) // nothing has come of it
		held(false)

		announce(router.Switchover{Leader: "a"})
		held(false)
	})
}

// TestSwitchoverAnnouncedAgain: whoever could not stop the primary in time
// announces the same again, and new work waits again.
func TestSwitchoverAnnouncedAgain(t *testing.T) {
	c := newCluster("a")
	src := newSource(router.Candidates{Nodes: c.nodes, NamesPrimary: true, Primary: "p"})
	run(t, c, router.Config{Source: src}, func(w *world) {
		for which := range int64(3) {
			src.updates <- router.Candidates{Nodes: c.nodes, NamesPrimary: true, Primary: "p",
				Switchover: router.Switchover{Leader: "p"}, Announcement: 1 + which}
			w.settle()
			if _, _, err := w.r.Primary(); err == nil || !refusal(err).NoPrimary() {
				t.Errorf("announcement %d: new work does not wait: %v", which, err)
			}
			time.Sleep(11 * time.Second)
			if _, _, err := w.r.Primary(); err != nil {
				t.Errorf("announcement %d: nothing comes of it, and new work waits: %v", which, err)
			}
		}
	})
}

// TestSwitchoverLead: new work waits from the lead before the time of a switchover
// on, and no sooner: that long what runs then has to end.
func TestSwitchoverLead(t *testing.T) {
	for lead, want := range map[time.Duration]time.Duration{0: 500 * time.Millisecond, 3 * time.Second: 3 * time.Second, -1: 0} {
		t.Run(want.String(), func(t *testing.T) {
			c := newCluster("a")
			src := newSource(router.Candidates{Nodes: c.nodes, NamesPrimary: true, Primary: "p"})
			run(t, c, router.Config{Source: src, SwitchoverLead: lead}, func(w *world) {
				at := time.Now().Add(time.Minute)
				src.updates <- router.Candidates{Nodes: c.nodes, NamesPrimary: true, Primary: "p", Switchover: router.Switchover{Leader: "p", At: at}}
				w.settle()
				time.Sleep(time.Until(at) - want - time.Millisecond)
				if _, _, err := w.r.Primary(); err != nil {
					t.Errorf("%v before: %v", time.Until(at), err)
				}
				time.Sleep(2 * time.Millisecond)
				if _, _, err := w.r.Primary(); err == nil || !refusal(err).NoPrimary() {
					t.Errorf("%v before new work does not wait: %v", time.Until(at), err)
				}
				if !w.r.Topology().Leads(time.Now()) {
					t.Error("what runs already may not go on")
				}
			})
		})
	}
}
