package router_test

import (
	"testing"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

func TestCoversOnlyWhatWasAskedAfterTheDial(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		c.write(2000)
		w.servers["a"].replay(2000)
		d := c.decide()
		w.want(d, "a waited")
		a := d.Node

		dialed := a.Asked()
		if a.Covers(d.Floor, dialed, 0) {
			t.Error("covers for a backend that is younger than the reading")
		}
		if !a.Covers(d.Floor, dialed-1, 0) {
			t.Error("does not cover for a backend that is older than the reading")
		}
		if a.Covers(d.Floor, dialed, 1999) || !a.Covers(d.Floor, dialed, 2000) {
			t.Error("the backend's own reading is not what counts")
		}
		var q router.Request
		got := newWaiter()
		if w.r.AwaitReading(&q, a, dialed, got) {
			t.Error("a reading that was not asked for yet is there")
		}
		<-got.wakes
		if !w.r.AwaitReading(&q, a, dialed, got) || !a.Covers(d.Floor, dialed, 0) {
			t.Error("does not cover after a fresh reading")
		}
		if a.Covers(router.Floor{Era: d.Floor.Era + 1}, 0, 5000) || a.Covers(router.Floor{}, 0, 5000) {
			t.Error("covers a floor of another era")
		}
	})
}

// A wake that comes late carries the number of what was waited for, not the one
// that the request has got since: by that it is told apart.
func TestLateWakeCarriesItsOwnNumber(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		a := w.node("a")
		q := router.Request{Seq: 7}
		got := newWaiter()
		if w.r.AwaitReading(&q, a, a.Asked(), got) {
			t.Fatal("a reading that was not asked for yet is there")
		}
		q.Seq = 8
		if seq := <-got.wakes; seq != 7 {
			t.Errorf("woken with the number %d, want 7", seq)
		}
	})
}

func TestCoversNeedsFreshReadingToStay(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		d := c.decide()
		w.want(d, "a covered")
		a := d.Node
		// The client has been here, and a backend that was dialled just now may
		// belong to a server that has restarted since.
		if a.Covers(d.Floor, a.Asked(), 1<<40) {
			t.Error("covers for a backend of which it is not known that the server is the same")
		}
		if !a.Covers(d.Floor, 0, 0) {
			t.Error("does not cover for an older backend")
		}
		w.servers["a"].kill(false)
		w.settle()
		if a.Covers(d.Floor, 0, 1<<40) {
			t.Error("covers on another connection of the monitor")
		}
	})
}

func TestWatermarkDiesWithItsConnection(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		c.write(2000)
		w.servers["a"].replay(2000)
		d := c.read()
		a := d.Node
		w.servers["a"].restart(func(st *router.Status) { st.Replay = 1500 })
		w.settle()
		if a.Watermark() != 1500 || !a.Eligible() {
			t.Errorf("at %s, eligible %v", a.Watermark(), a.Eligible())
		}
		if a.Covers(d.Floor, 0, 0) {
			t.Error("covers what the server had replayed before it restarted")
		}
	})
}

func TestWaitersAreWokenByReset(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		c.write(2000)
		w.settle()
		go func() {
			time.Sleep(10 * time.Millisecond)
			w.servers["a"].kill(true)
			w.servers["b"].kill(true)
		}()
		d := c.read()
		w.want(d, "p no_replica")
		if d.Waited > 80*time.Millisecond {
			t.Errorf("waited %s for servers that were gone", d.Waited)
		}
	})
}

func TestReplayMustNotGoBackwardsOnOneConnection(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		// Something between us and the server is not what it seems.
		w.servers["a"].replay(500)
		before := w.servers["a"].connects()
		w.settle()
		if w.servers["a"].connects() == before {
			t.Error("the connection is kept")
		}
		if got := w.node("a").Watermark(); got != 500 {
			t.Errorf("at %s", got)
		}
	})
}

func TestReplicaIsAskedOnlyWhileSomebodyWaits(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		before := w.r.Stats().Readings
		time.Sleep(10 * time.Second)
		if n := w.r.Stats().Readings - before; n != 0 {
			t.Errorf("%d readings while nobody waited", n)
		}
		c.write(2000)
		c.Wait = time.Second
		w.want(c.read(), "p not_covered")
		// Between one in 200 µs and one in 2 ms, and most of them slow.
		if n := w.r.Stats().Readings - before; n < 400 || n > 700 {
			t.Errorf("%d readings in a second", n)
		}
	})
}

func TestPromotedReplicaStopsCountingAtOnce(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{HealthInterval: time.Minute}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		c.write(2000)
		w.servers["b"].replay(2000)
		w.promote("a")
		w.want(c.read(), "b waited")
		time.Sleep(time.Millisecond) // a was asked as well
		if n := w.node("a"); n.Eligible() || n.Covers(router.Floor{Era: 1}, 0, lsn.LSN(1<<40)) {
			t.Error("the promoted server counts as a replica")
		}
	})
}
