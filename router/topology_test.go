package router_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgroute/pgroute/router"
)

func errorsIs(err, target error) bool { return errors.Is(err, target) }

// promote makes the replica name the primary of timeline 2 that began at its
// replay position.
func (c *cluster) promote(name string) {
	c.servers[name].set(func(st *router.Status) {
		st.InRecovery = false
		st.Timeline, st.Begin = 2, st.Replay
		st.Insert, st.Flush, st.Replay = st.Replay, st.Replay, 0
	})
}

func TestTopologyFindsRoles(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		top := w.r.Topology()
		if top.Primary != w.node("p") || !top.Leadership || top.Replicas() != 2 || top.SystemID() != systemID {
			t.Errorf("topology %s", top)
		}
		if got := w.node("p").Role(); got != router.RolePrimary {
			t.Errorf("p is %s", got)
		}
		if n := w.node("a"); n.Role() != router.RoleReplica || !n.Eligible() || n.Watermark() != 1000 || n.LagBytes() != 0 {
			t.Errorf("a: role %s, eligible %v, at %s, lag %d", n.Role(), n.Eligible(), n.Watermark(), n.LagBytes())
		}
		epoch := top.Epoch
		w.settle()
		if e := w.r.Topology().Epoch; e != epoch {
			t.Errorf("the epoch went from %d to %d although nothing happened", epoch, e)
		}
	})
}

func TestReplicaCountsOnlyIfItFollows(t *testing.T) {
	for _, test := range []struct {
		reason string
		change func(st *router.Status)
		counts bool
	}{
		{"it does", func(st *router.Status) {}, true},
		{"another cluster", func(st *router.Status) { st.SystemID++ }, false},
		{"another timeline", func(st *router.Status) { st.Timeline = 2 }, false},
		{"no WAL receiver was ever seen", func(st *router.Status) { st.Timeline = 0 }, false},
	} {
		t.Run(test.reason, func(t *testing.T) {
			c := newCluster("a")
			c.servers["a"].set(test.change)
			run(t, c, router.Config{}, func(w *world) {
				if got := w.node("a").Eligible(); got != test.counts {
					t.Errorf("eligible %v, want %v", got, test.counts)
				}
			})
		})
	}
	t.Run("the WAL receiver was seen earlier on the connection", func(t *testing.T) {
		run(t, newCluster("a"), router.Config{}, func(w *world) {
			w.servers["a"].set(func(st *router.Status) { st.Timeline = 0 })
			w.settle()
			if !w.node("a").Eligible() {
				t.Error("not eligible any more")
			}
			w.servers["a"].kill(false)
			w.settle()
			if w.node("a").Eligible() {
				t.Error("eligible on a connection that did not see it")
			}
		})
	})
}

func TestFailover(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		c := w.client(router.NewSession())
		c.not("a")
		c.read()
		c.not()
		before := w.r.Topology()
		c.write(2000) // acknowledged, and lost with the primary
		time.Sleep(10 * time.Millisecond)
		floor, ok := w.r.Answer(w.r.Answered())
		if !ok || floor.LSN != 2000 {
			t.Fatalf("answer %v %v", floor, ok)
		}

		w.servers["p"].kill(true)
		w.settle()
		if top := w.r.Topology(); top.Primary != nil || top.Epoch == before.Epoch {
			t.Errorf("the primary is gone: %s", top)
		}
		if _, _, err := w.r.Primary(); err == nil || refusal(err).SQLState() != "57P03" {
			t.Errorf("Primary: %v", err)
		}
		w.want(c.read(), "error 57P03")

		w.promote("a")
		w.settle()
		top := w.r.Topology()
		if top.Primary != w.node("a") || top.Era() != before.Era()+1 {
			t.Fatalf("topology %s", top)
		}
		// b is diverged: its LSNs say nothing about the new timeline.
		w.servers["b"].replay(5000)
		w.settle()
		if w.node("b").Eligible() {
			t.Error("b counts although it follows timeline 1")
		}
		w.want(c.read(), "a no_replica")
		// Later it follows; the old floor became the start of the new era.
		w.servers["a"].insert(3000)
		w.servers["b"].restart(func(st *router.Status) { st.Timeline, st.Replay = 2, 1000 })
		w.settle()
		c2 := w.client(nil)
		w.want(c2.read(), "a not_covered")
		w.want(c.read(), "a not_covered") // it saw the primary
		w.servers["b"].replay(3000)
		w.want(c.read(), "b waited")
		if p := w.r.TokenPosition(floor); p.Timeline != 1 || p.LSN != 2000 {
			t.Errorf("the old floor lies at %s", p)
		}
	})
}

func TestRestartOfPrimaryIsNewEra(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		c.write(2000)
		w.settle()
		before := w.r.Topology()
		// An asynchronous commit is lost and its LSNs are used again.
		w.servers["p"].restart(func(st *router.Status) { st.Insert, st.Flush = 1500, 1500 })
		w.servers["a"].replay(1400)
		w.settle()
		top := w.r.Topology()
		if top.Era() != before.Era()+1 || top.Epoch == before.Epoch {
			t.Fatalf("topology %s", top)
		}
		w.want(c.read(), "p not_covered")
		w.servers["a"].replay(1500) // all that survived
		w.settle()                  // it was not waited for while it stood still
		w.want(c.read(), "a waited")
	})
}

func TestTicketAcrossFailoverIsUnproven(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		w.servers["p"].kill(true)
		gen := w.r.Ticket()
		w.settle()
		w.promote("a")
		w.settle()
		f, ok := w.r.Answer(gen)
		if !ok || !f.Unproven || f.Era != w.r.Topology().Era() {
			t.Errorf("answer %+v %v", f, ok)
		}
		f, err := w.r.WaitTicket(w.Context(), w.r.Ticket())
		if err != nil || f.Unproven {
			t.Errorf("answer %+v %v", f, err)
		}
	})
}

func TestSecondClaimantMakesWritesWait(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		w.promote("a")
		w.settle()
		top := w.r.Topology()
		if top.Primary != nil || !strings.Contains(top.Reason, "a, p") {
			t.Fatalf("topology %s", top)
		}
		if w.node("a").Eligible() {
			t.Error("a promoted server counts as a replica")
		}
		w.want(c.read(), "b waited") // reads go on
		c.Level = router.LevelStrong
		w.want(c.read(), "error PR001")
		w.servers["p"].kill(true)
		w.settle()
		if top := w.r.Topology(); top.Primary != w.node("a") {
			t.Errorf("the incumbent is gone: %s", top)
		}
	})
}

func TestSilentSource(t *testing.T) {
	c := newCluster("a", "b")
	src := newSource(router.Candidates{Nodes: c.nodes, NamesPrimary: true})
	say := func(primary string) {
		src.updates <- router.Candidates{Nodes: c.nodes, NamesPrimary: true, Primary: primary,
			Confirmed: time.Now(), ValidFor: 5 * time.Second}
	}
	run(t, c, router.Config{Source: src}, func(w *world) {
		say("p")
		w.settle()
		if top := w.r.Topology(); top.Primary != w.node("p") || !top.Leads(time.Now()) || top.Leads(time.Now().Add(time.Minute)) {
			t.Fatalf("topology %s", top)
		}
		// Silent, but every server says the same.
		time.Sleep(10 * time.Second)
		if top := w.r.Topology(); top.Primary != w.node("p") || !top.Leadership {
			t.Fatalf("topology %s", top)
		}
		reader := w.client(nil)
		reader.not("b")
		reader.read()
		// One does not answer: it could be a primary.
		w.servers["b"].kill(true)
		w.settle()
		top := w.r.Topology()
		if top.Primary != nil || top.Leadership || !strings.Contains(top.Reason, "silent") {
			t.Fatalf("topology %s", top)
		}
		reader.not()
		w.want(reader.read(), "a covered")
		w.servers["a"].kill(true)
		w.settle()
		w.want(reader.read(), "p no_replica") // the last known good
		reader.Level = router.LevelPrimary
		w.want(reader.read(), "error 57P03")
		reader.Level = router.LevelStrong
		w.want(reader.read(), "error PR001")
		say("p")
		w.settle()
		if top := w.r.Topology(); top.Primary != w.node("p") {
			t.Fatalf("topology %s", top)
		}
		say("")
		w.settle()
		if top := w.r.Topology(); top.Primary != nil {
			t.Fatalf("topology %s", top)
		}
	})
}

// The one that a source names is asked again and again until it was promoted, and
// at once when it is named.
func TestPromotionIsSeenSoon(t *testing.T) {
	for after := range 5 {
		c := newCluster("a", "b")
		src := newSource(router.Candidates{Nodes: c.nodes, NamesPrimary: true, Primary: "p"})
		say := func(primary string) {
			src.updates <- router.Candidates{Nodes: c.nodes, NamesPrimary: true, Primary: primary}
		}
		// Longer than the pace at which the rest is asked.
		run(t, c, router.Config{Source: src, HealthInterval: time.Minute}, func(w *world) {
			say("a")
			time.Sleep(200*time.Millisecond + time.Duration(after)*10*time.Millisecond)
			w.promote("a")
			time.Sleep(15 * time.Millisecond)
			synctest.Wait()
			if top := w.r.Topology(); top.Primary != w.node("a") {
				t.Errorf("15 ms after the promotion: %s", top)
			}
			w.servers["b"].promote(func(st *router.Status) { st.InRecovery, st.Timeline, st.Begin = false, 3, 1000 })
			time.Sleep(time.Second)
			say("b")
			time.Sleep(5 * time.Millisecond)
			synctest.Wait()
			if top := w.r.Topology(); top.Primary != w.node("b") {
				t.Errorf("5 ms after it was named: %s", top)
			}
		})
	}
}

// One that is named and stays in recovery is a matter for people: it is asked as
// often as the rest is, until it is named anew or comes back.
func TestNobodyIsAwaitedForEver(t *testing.T) {
	c := newCluster("a", "b")
	src := newSource(router.Candidates{Nodes: c.nodes, NamesPrimary: true, Primary: "p"})
	run(t, c, router.Config{Source: src, HealthInterval: time.Minute}, func(w *world) {
		asked := func(name string, f func()) int {
			before := w.servers[name].identified()
			f()
			return w.servers[name].identified() - before
		}
		const second = 100 // of those 10 ms apart; a bit less, as each takes a moment
		wait := func() { time.Sleep(time.Second) }
		src.updates <- router.Candidates{Nodes: c.nodes, NamesPrimary: true, Primary: "a"}
		if n := asked("a", wait); n < second*9/10 {
			t.Errorf("asked %d times in the first second", n)
		}
		time.Sleep(time.Minute)
		rest := asked("b", wait)
		if n := asked("a", wait); n > rest+1 {
			t.Errorf("asked %d times in a second after a minute, and the other one %d times", n, rest)
		}
		w.servers["a"].kill(false)
		wait() // it is connected to again
		if n := asked("a", wait); n < second*9/10 {
			t.Errorf("asked %d times in a second after it came back", n)
		}
		time.Sleep(time.Minute)
		src.updates <- router.Candidates{Nodes: c.nodes, NamesPrimary: true, Primary: "b"}
		wait()
		src.updates <- router.Candidates{Nodes: c.nodes, NamesPrimary: true, Primary: "a"}
		if n := asked("a", wait); n < second*9/10 {
			t.Errorf("asked %d times in a second after it was named again", n)
		}
	})
}

// A member that has died is not named any more. While the source is silent it may
// come back and be promoted, and nobody tells.
func TestSilentSourceThatNamedMore(t *testing.T) {
	c := newCluster("a", "b")
	src := newSource(router.Candidates{Nodes: c.nodes, NamesPrimary: true})
	say := func(nodes ...router.Candidate) {
		src.updates <- router.Candidates{Nodes: nodes, NamesPrimary: true, Primary: "p", Confirmed: time.Now(), ValidFor: 5 * time.Second}
	}
	run(t, c, router.Config{Source: src}, func(w *world) {
		leads := func(want bool) {
			t.Helper()
			w.settle()
			if top := w.r.Topology(); top.Leads(time.Now()) != want || !want && !strings.Contains(top.Reason, "b, which it named before, may lead by now") {
				t.Fatalf("topology %s", top)
			}
		}
		say(c.nodes...)
		leads(true)
		say(c.nodes[:2]...)
		leads(true) // the source speaks
		time.Sleep(10 * time.Second)
		leads(false)
		moved := c.nodes[2]
		moved.Addr.Host = "elsewhere" // it is who it was
		say(c.nodes[0], c.nodes[1], moved)
		leads(true)
		time.Sleep(10 * time.Second)
		leads(true)
		say(c.nodes[:2]...)
		leads(true)
		time.Sleep(time.Hour)
		leads(false)
		say(c.nodes[:2]...) // for long, without it
		leads(true)
		time.Sleep(10 * time.Second)
		leads(true)
	})
}

func TestHungServerIsNoticed(t *testing.T) {
	run(t, newCluster("a"), router.Config{ProbeTimeout: time.Second}, func(w *world) {
		w.servers["a"].mu.Lock()
		w.servers["a"].mute = true
		w.servers["a"].mu.Unlock()
		w.settle()
		w.settle()
		if w.node("a").Eligible() {
			t.Error("eligible although it does not answer")
		}
	})
}

func TestNodesComeAndGo(t *testing.T) {
	c := newCluster("a", "b")
	src := newSource(router.Candidates{Nodes: c.nodes[:2]})
	run(t, c, router.Config{Source: src}, func(w *world) {
		p, a := w.node("p"), w.node("a")
		src.updates <- router.Candidates{Nodes: c.nodes}
		w.settle()
		b := w.node("b")
		if w.node("p") != p || w.node("a") != a || !b.Eligible() || b.ID == a.ID {
			t.Errorf("topology %s", w.r.Topology())
		}
		reader := w.client(nil)
		first(w, reader)
		src.updates <- router.Candidates{Nodes: []router.Candidate{c.nodes[0], c.nodes[2]}}
		w.settle()
		if a.Eligible() || w.r.Topology().Node("a") != nil {
			t.Error("a is still there")
		}
		d := reader.read()
		if d.Node != b {
			t.Errorf("decided %s", describe(d))
		}
		src.updates <- router.Candidates{Nodes: c.nodes}
		w.settle()
		if n := w.node("a"); n == a || n.ID != a.ID {
			t.Error("a came back as the same node, or with another number")
		}
	})
}

func TestWaitTopology(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		w.servers["p"].kill(true)
		w.settle()
		go func() {
			time.Sleep(time.Second)
			w.servers["p"].kill(false)
		}()
		if err := w.r.WaitTopology(w.Context(), func(top *router.Topology) bool { return top.Primary != nil }); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		err := w.r.WaitTopology(ctx, func(*router.Topology) bool { return false })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestRunReturnsTheSourcesError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		bad := errors.New("bad list")
		r, err := router.New(router.Config{Source: failing{bad}, Prober: c, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Run(t.Context()); !errors.Is(err, bad) {
			t.Errorf("Run: %v", err)
		}
	})
}

type failing struct{ err error }

func (f failing) Watch(context.Context, func(router.Candidates)) error { return f.err }

func TestConfigIsChecked(t *testing.T) {
	src, _ := router.Static("a:1")
	for _, test := range []struct {
		cfg  router.Config
		want string
	}{
		{router.Config{}, "source"},
		{router.Config{Source: src}, "prober"},
		{router.Config{Source: src, Prober: newCluster(), HealthInterval: -1}, "health interval"},
		{router.Config{Source: src, Prober: newCluster(), ProbeTimeout: -1}, "probe timeout"},
	} {
		if _, err := router.New(test.cfg); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want one about the %s", err, test.want)
		}
	}
	r, err := router.New(router.Config{Source: src, Prober: newCluster()})
	if err != nil {
		t.Fatal(err)
	}
	if cfg := r.Config(); cfg.Wait != 100*time.Millisecond || cfg.MaxLag != 16<<20 || cfg.FallbackBudget != 32 {
		t.Errorf("defaults %+v", cfg)
	}
	if top := r.Topology(); top == nil || top.Primary != nil || top.Reason == "" {
		t.Errorf("topology before Run: %v", top)
	}
}
