package router_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

func TestReadIsServedWhereItIsCovered(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		c := w.client(router.NewSession())
		// The ticket of the connect is not answered yet.
		d := c.read()
		w.want(d, d.Node.Name+" waited")
		w.want(c.read(), d.Node.Name+" covered")
		c.write(2000)
		w.servers["b"].replay(2000)
		d = c.read()
		w.want(d, "b waited")
		if d.Floor.LSN != 2000 {
			t.Errorf("floor %s, want 0/7D0", d.Floor.LSN)
		}
		w.want(c.read(), "b covered")
	})
}

// first returns where c reads for the first time after waiting for its
// connect ticket.
func first(w *world, c *client) string {
	w.Helper()
	d := c.read()
	if d.Role != router.RoleReplica {
		w.Fatalf("the first read was decided %s", describe(d))
	}
	return d.Node.Name
}

func TestReadWaitsForFloor(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		c.write(2000)
		go func() {
			time.Sleep(20 * time.Millisecond)
			w.servers["a"].replay(1999)
			time.Sleep(20 * time.Millisecond)
			w.servers["a"].replay(2000)
		}()
		d := c.read()
		w.want(d, "a waited")
		if d.Waited < 40*time.Millisecond || d.Waited > 45*time.Millisecond {
			t.Errorf("waited %s", d.Waited)
		}
	})
}

func TestReadFallsBackByPolicy(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		c.write(2000)
		w.servers["b"].replay(1500)

		d := c.decide()
		w.want(d, "p not_covered")
		// Then the primary is looked at, because a was read before.
		if d.Waited < 100*time.Millisecond || d.Waited > 101*time.Millisecond {
			t.Errorf("waited %s, want 100ms and a few round trips", d.Waited)
		}
		if s := w.r.Stats(); s.FallbacksRunning != 1 || s.Fallbacks[router.ReasonNotCovered] != 1 {
			t.Errorf("stats %+v", s)
		}
		d.Done()
		d.Done()
		if s := w.r.Stats(); s.FallbacksRunning != 0 {
			t.Errorf("%d fallbacks run after Done", s.FallbacksRunning)
		}

		c.OnTimeout = router.OnTimeoutError
		d = c.read()
		w.want(d, "error PR001")
		if !strings.Contains(refusal(d.Err).Detail, "b, is at 0/5DC, 500 bytes before 0/7D0") {
			t.Errorf("refused with %v", d.Err)
		}

		c.OnTimeout = router.OnTimeoutStale
		c.Wait = 0
		d = c.decide()
		// Never backwards where it read last comes before nearness.
		if d.Role != router.RoleReplica || !d.Stale {
			t.Errorf("decided %s, want a stale replica", describe(d))
		}
	})
}

func TestReadSkipsHopelessWait(t *testing.T) {
	for _, test := range []struct {
		reason string
		change func(st *router.Status)
	}{
		{"replay is paused", func(st *router.Status) { st.ReplayPaused = true }},
		{"replay is delayed on purpose", func(st *router.Status) { st.ApplyDelay = time.Second }},
	} {
		t.Run(test.reason, func(t *testing.T) {
			run(t, newCluster("a"), router.Config{}, func(w *world) {
				w.servers["a"].set(test.change)
				w.settle()
				c := w.client(nil)
				first(w, c)
				c.write(2000)
				d := c.read()
				w.want(d, "p not_covered")
				if d.Waited > 5*time.Millisecond {
					t.Errorf("waited %s", d.Waited)
				}
			})
		})
	}
}

func TestReadSkipsWaitForReplicaThatIsTooSlow(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		// It replays 10 MB/s; a distance of 40 MB is hopeless within 100 ms.
		c.write(50_000_000)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for l := lsn.LSN(1000); l < 10_000_000; l += 10_000 {
				w.servers["a"].replay(l)
				time.Sleep(time.Millisecond)
			}
		}()
		c.Wait = 500 * time.Millisecond
		w.want(c.read(), "p not_covered")
		c.Wait = 100 * time.Millisecond
		d := c.read()
		w.want(d, "p not_covered")
		if d.Waited > 5*time.Millisecond {
			t.Errorf("waited %s", d.Waited)
		}
		<-ended
	})
}

func TestReadWithoutReplicaGoesToThePrimary(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		w.servers["a"].kill(true)
		w.settle()
		w.want(c.read(), "p no_replica")
		c.OnTimeout = router.OnTimeoutError
		w.want(c.read(), "error PR001")
	})
}

func TestLevels(t *testing.T) {
	run(t, newCluster("a"), router.Config{MaxLag: 5000}, func(w *world) {
		c := w.client(nil)
		other := w.client(nil)
		first(w, c)
		other.write(2000) // not of c's session

		c.Level = router.LevelSession
		w.want(c.read(), "a covered")
		c.Level = router.LevelEventual
		w.want(c.read(), "a covered")
		c.Level = router.LevelPrimary
		w.want(c.read(), "p level")
		c.Level = router.LevelStrong
		w.want(c.read(), "p not_covered")
		w.servers["a"].replay(2000)
		w.want(c.read(), "a waited")

		w.servers["p"].insert(7001)
		w.settle()
		c.Level = router.LevelEventual
		w.want(c.read(), "p not_covered")
		w.servers["a"].replay(2001)
		w.settle()
		w.want(c.read(), "a covered")
	})
}

func TestScopes(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		s := router.NewSession()
		writer, same, apart, stranger := w.client(s), w.client(s), w.client(s), w.client(router.NewSession())
		apart.SetScope(router.ScopeConnection)
		for _, c := range []*client{writer, same, apart, stranger} {
			first(w, c)
		}
		writer.write(2000)
		w.want(same.read(), "p not_covered")
		w.want(apart.read(), "a covered")
		w.want(stranger.read(), "a covered")
	})
}

func TestTransactionStaysOrFails(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		s := router.NewSession()
		c, other := w.client(s), w.client(s)
		on := w.node(first(w, c))
		c.Only = on
		w.want(c.read(), on.Name+" transaction")
		other.write(2000)
		for _, name := range []string{"a", "b"} {
			if name != on.Name {
				w.servers[name].replay(2000)
			}
		}
		w.want(c.read(), "error 40001")
		w.servers[on.Name].replay(2000)
		w.want(c.read(), on.Name+" transaction")
		w.servers[on.Name].kill(true)
		w.settle()
		w.want(c.read(), "error 40001")
	})
}

func TestRedoExcludesReplica(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		c := w.client(nil)
		c.Exclude.Add(w.node("a"))
		w.want(c.read(), "b redo")
		c.Exclude.Add(w.node("b"))
		w.want(c.read(), "p redo")
	})
}

func TestWeightsAndLoadSpreadClients(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		counts := make(map[string]int)
		for range 200 {
			counts[first(w, w.client(nil))]++
		}
		for _, name := range []string{"a", "b"} {
			if counts[name] < 60 {
				t.Errorf("clients are spread %v", counts)
			}
		}
		// With all of them at work, nobody is left to chance.
		clear(counts)
		var busy []router.Decision
		for range 20 {
			d := w.client(nil).decide()
			counts[d.Node.Name]++
			busy = append(busy, d)
		}
		if counts["a"] != 10 || counts["b"] != 10 {
			t.Errorf("reads are spread %v", counts)
		}
		for i := range busy {
			busy[i].Done()
		}
		if n := w.node("a").Outstanding(); n != 0 {
			t.Errorf("%d reads outstanding on a", n)
		}
	})
}

func TestBudgetIsFairAndBounded(t *testing.T) {
	run(t, newCluster("a"), router.Config{FallbackBudget: 2}, func(w *world) {
		w.client(nil).write(2000)
		w.settle()
		var order []int
		results := make(chan int, 10)
		decisions := make([]router.Decision, 5)
		clients := make([]*client, 5)
		for i := range clients {
			clients[i] = w.client(nil)
			go func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				decisions[i] = clients[i].decide()
				results <- i
			}()
		}
		for range 2 {
			order = append(order, <-results)
		}
		time.Sleep(300 * time.Millisecond)
		if s := w.r.Stats(); s.FallbacksRunning != 2 || s.FallbacksQueued != 3 {
			t.Errorf("running %d, queued %d, want 2 and 3", s.FallbacksRunning, s.FallbacksQueued)
		}
		decisions[0].Done()
		order = append(order, <-results)
		decisions[1].Done()
		order = append(order, <-results)
		for i, k := range order {
			if i != k {
				t.Errorf("served in the order %v", order)
			}
		}
		// The last is not served in time.
		<-results
		w.want(decisions[4], "error PR001")
		if d := decisions[4].Waited; d != 2*time.Second {
			t.Errorf("waited %s, want 2s", d)
		}
		decisions[2].Done()
		decisions[3].Done()
		if s := w.r.Stats(); s.FallbacksRunning != 0 || s.FallbacksQueued != 0 {
			t.Errorf("running %d, queued %d at the end", s.FallbacksRunning, s.FallbacksQueued)
		}
	})
}

func TestQueuedReadTakesReplicaThatArrives(t *testing.T) {
	run(t, newCluster("a"), router.Config{FallbackBudget: -1}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		c.write(2000)
		go func() {
			time.Sleep(time.Second)
			w.servers["a"].replay(2000)
		}()
		d := c.read()
		w.want(d, "a waited")
		if s := w.r.Stats(); s.FallbacksQueued != 0 {
			t.Errorf("%d still queue", s.FallbacksQueued)
		}
	})
}

func TestCancelTakesWakeBack(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		c.write(2000)
		w.settle()
		c.r.Begin(&c.Request, &c.Chain, time.Now())
		if _, done := c.r.Decide(&c.Request, &c.Chain, time.Now(), c.w); done {
			t.Fatal("decided although nothing covers")
		}
		c.r.Cancel(&c.Request)
		w.servers["a"].replay(2000)
		w.settle()
		if len(c.w.wakes) != 0 {
			t.Errorf("woken %d times after Cancel", len(c.w.wakes))
		}
	})
}

func TestCoveredPathDoesNotAllocate(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		c := w.client(router.NewSession())
		first(w, c)
		now := time.Now()
		if n := testing.AllocsPerRun(1000, func() {
			c.r.Begin(&c.Request, &c.Chain, now)
			d, done := c.r.Decide(&c.Request, &c.Chain, now, c.w)
			if !done || d.Reason != router.ReasonCovered || !d.Node.Covers(d.Floor, 0, 0) {
				t.Fatal("not covered")
			}
			c.SawReplica(d.Node)
			d.Done()
		}); n != 0 {
			t.Errorf("%v allocations per covered read", n)
		}
		if n := testing.AllocsPerRun(1000, func() { c.Wrote() }); n != 0 {
			t.Errorf("%v allocations per ticket", n)
		}
	})
}
