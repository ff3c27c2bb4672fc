package router_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgroute/pgroute/router"
)

// breaks makes the breaker of n open.
func (w *world) breaks(n *router.Node) {
	w.Helper()
	for range 3 {
		n.Report(errDown)
	}
	if n.Healthy() {
		w.Fatal("the breaker is closed")
	}
}

// breaker waits until the breaker of n is in a state, and returns how long that
// took. It fails after a minute.
func (w *world) breaker(n *router.Node, state string) time.Duration {
	w.Helper()
	began := time.Now()
	for n.Standing(time.Now()).Breaker != state {
		if time.Since(began) > time.Minute {
			w.Fatalf("the breaker is %s, want %s", n.Standing(time.Now()).Breaker, state)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

func TestBreakerLeavesNodeOut(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		n := w.node("a")
		n.Report(context.Canceled)
		for range 3 {
			if !n.Eligible() {
				t.Fatal("left out too early")
			}
			n.Report(errDown)
		}
		if n.Eligible() || n.Healthy() {
			t.Fatal("not left out")
		}
		c := w.client(nil)
		for range 20 {
			if d := c.read(); d.Node.Name != "b" {
				t.Fatalf("decided %s", describe(d))
			}
		}
		// After a pause a login proves it: it may be tried.
		dials := w.servers["a"].connects()
		if took := w.breaker(n, "trial"); took < 800*time.Millisecond || took > 2*time.Second {
			t.Errorf("on trial after %s", took)
		}
		if got := w.servers["a"].connects(); got != dials+1 {
			t.Errorf("%d logins, want 1", got-dials)
		}
		if !n.Eligible() {
			t.Fatal("not given another chance")
		}
		n.Report(errDown)
		if n.Eligible() {
			t.Fatal("one failure is enough while it is on trial")
		}
		w.breaker(n, "trial")
		n.Report(nil)
		if got := n.Standing(time.Now()); got.Breaker != "closed" || got.State != "warming" {
			t.Fatalf("standing %+v", got)
		}
		n.Report(errDown)
		if !n.Eligible() {
			t.Fatal("not trusted again")
		}
	})
}

// TestBreakerIsClosedByLogins: without clients the router proves the node by
// itself.
func TestBreakerIsClosedByLogins(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		n := w.node("a")
		w.breaks(n)
		w.breaker(n, "trial")
		if took := w.breaker(n, "closed"); took < 2*time.Second || took > 3*time.Second {
			t.Errorf("closed after %s", took)
		}
		// The slow start begins now, not with the trial.
		if got := n.Standing(time.Now()); got.State != "warming" || got.Effective > 0.08 {
			t.Errorf("standing %+v", got)
		}
	})
}

// TestBreakerPausesGrow: a server whose monitor is happy, but that takes no new
// connections, is tried less and less often, and never by a client.
func TestBreakerPausesGrow(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{ProbeTimeout: time.Second}, func(w *world) {
		s, n := w.servers["a"], w.node("a")
		s.full(true)
		w.breaks(n)
		var tries []time.Time
		for began := time.Now(); time.Since(began) < 3*time.Minute; time.Sleep(50 * time.Millisecond) {
			if s.connects() > 1+len(tries) {
				tries = append(tries, time.Now())
			}
			if n.Eligible() {
				t.Fatal("counts although no login succeeds")
			}
		}
		want := []time.Duration{2, 4, 8, 16, 30, 30, 30}
		if len(tries) < len(want)+1 {
			t.Fatalf("%d attempts in three minutes", len(tries))
		}
		for i, base := range want {
			base *= time.Second
			// A spread of a quarter, and half a second until somebody looks.
			if got := tries[i+1].Sub(tries[i]); got < base-base/8-50*time.Millisecond || got > base+base/8+600*time.Millisecond {
				t.Errorf("attempt %d came %s after the one before, want about %s", i+1, got, base)
			}
		}
		if opened := ejections(n, "breaker"); opened != uint64(len(tries)+1) {
			t.Errorf("opened %d times, tried %d times", opened, len(tries))
		}
		s.full(false)
		if took := w.breaker(n, "trial"); took > 35*time.Second {
			t.Errorf("on trial after %s", took)
		}
	})
}

// TestRestartEndsTheLongPause: a server that was down for long is not left
// alone any longer once its monitor gets through.
func TestRestartEndsTheLongPause(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		s, n := w.servers["a"], w.node("a")
		s.full(true)
		w.breaks(n)
		time.Sleep(time.Minute)
		s.kill(true)
		time.Sleep(5 * time.Second)
		s.full(false)
		s.restart(func(*router.Status) {})
		if took := w.breaker(n, "trial"); took > 2*time.Second {
			t.Errorf("on trial %s after the restart", took)
		}
	})
}

// TestHungLoginIsNotWaitedFor: while a server lets a login hang, nobody else
// waits for it.
func TestHungLoginIsNotWaitedFor(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{ProbeTimeout: time.Second}, func(w *world) {
		w.breaks(w.node("a"))
		w.servers["a"].mu.Lock()
		w.servers["a"].mute = true
		w.servers["a"].mu.Unlock()
		c := w.client(nil)
		for range 30 {
			d := c.read()
			if d.Node.Name != "b" || d.Waited > 10*time.Millisecond {
				t.Fatalf("decided %s after %s", describe(d), d.Waited)
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
}

// TestBreakerOfThePrimaryRefusesNothing: whether a server takes writes is the
// election's to say, and a read that needs the primary has nowhere else to go.
func TestBreakerOfThePrimaryRefusesNothing(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		w.breaks(w.node("p"))
		if n, _, err := w.r.Primary(); err != nil || n != w.node("p") {
			t.Errorf("primary %v, %v", n, err)
		}
		c.Level = router.LevelPrimary
		w.want(c.read(), "p level")
		c.Level = router.LevelSession
		c.write(2000)
		w.want(c.read(), "p not_covered")
		c.Level = router.LevelStrong
		w.want(c.read(), "p not_covered")
		w.servers["a"].kill(true)
		w.settle()
		w.want(c.read(), "p no_replica")
		if got := w.node("p").Standing(time.Now()).State; got != "primary" {
			t.Errorf("state %s", got)
		}
	})
	// A replica whose breaker is open is promoted all the same.
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		w.breaks(w.node("a"))
		w.servers["p"].kill(true)
		w.servers["a"].restart(func(st *router.Status) {
			st.InRecovery, st.Timeline, st.BeginKnown, st.Insert, st.Flush = false, 2, true, 2000, 2000
		})
		for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			if n, _, err := w.r.Primary(); err == nil && n == w.node("a") {
				break
			}
			if time.Since(began) > 5*time.Second {
				t.Fatalf("topology %s", w.r.Topology())
			}
		}
	})
}

// TestTrialGetsFewReads: of many who read at once, few try a node on trial.
func TestTrialGetsFewReads(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		n := w.node("a")
		w.breaks(n)
		w.breaker(n, "trial")
		counts := make(map[string]int)
		for range 200 {
			counts[w.client(nil).decide().Node.Name]++
		}
		if counts["a"] == 0 || counts["a"] > 2 {
			t.Errorf("reads are spread %v", counts)
		}
	})
}

// TestDoubtIsLookedInto: one client that waits for a login is enough to find out
// that the server hangs, and a server that does not is left as it is.
func TestDoubtIsLookedInto(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{ProbeTimeout: time.Second}, func(w *world) {
		n, s := w.node("a"), w.servers["a"]
		dials := s.connects()
		n.Doubt()
		w.settle()
		if s.connects() != dials+1 || n.Standing(time.Now()).Breaker != "closed" {
			t.Errorf("%d logins, standing %+v", s.connects()-dials, n.Standing(time.Now()))
		}
		s.full(true)
		n.Doubt()
		if took := w.breaker(n, "open"); took > time.Second {
			t.Errorf("open after %s", took)
		}
		if synctest.Wait(); n.Eligible() {
			t.Error("it still counts")
		}
		s.full(false)
		w.breaker(n, "trial")
		n.Doubt()
		if took := w.breaker(n, "closed"); took > time.Second {
			t.Errorf("closed after %s", took)
		}
	})
}
