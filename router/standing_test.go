package router_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// ejections returns how often n was ejected for why.
func ejections(n *router.Node, why string) uint64 {
	for w, c := range n.Ejections() {
		if w == why {
			return c
		}
	}
	return 0
}

// state returns the state of a node.
func (w *world) state(name string) string { return w.node(name).Standing(time.Now()).State }

// spread lets n new clients choose, one after the other, and counts where.
func (w *world) spread(n int) map[string]int {
	w.Helper()
	counts := make(map[string]int)
	for range n {
		d := w.client(nil).read()
		if d.Node == nil {
			w.Fatalf("decided %s", describe(d))
		}
		counts[d.Node.Name]++
	}
	return counts
}

// TestEjectionForLagHasHysteresis: out above max_lag, in below half of it.
func TestEjectionForLagHasHysteresis(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{MaxLag: 1000}, func(w *world) {
		eventual := func() map[string]int {
			counts := make(map[string]int)
			for range 40 {
				c := w.client(nil)
				c.Level = router.LevelEventual
				d := c.read()
				counts[d.Node.Name]++
			}
			return counts
		}
		w.servers["p"].insert(100_000)
		for _, step := range []struct {
			replay  lsn.LSN
			ejected string
			a       bool // serves eventual reads beside b
		}{
			{99_000, "", true},
			{98_999, "lag", false},
			{99_100, "lag", false},
			{99_499, "lag", false},
			{99_500, "", true},
			{99_000, "", true},
			{98_000, "lag", false},
			{100_000, "", true},
		} {
			w.servers["b"].replay(100_000)
			w.servers["a"].restart(func(st *router.Status) { st.Replay, st.Incarnation = step.replay, st.Incarnation-1 })
			w.settle()
			got := w.node("a").Standing(time.Now()).Ejected
			if counts := eventual(); got != step.ejected || counts["b"] == 0 || (counts["a"] > 0) != step.a {
				t.Errorf("at %d: ejected %q, want %q; eventual reads %v", step.replay, got, step.ejected, counts)
			}
		}
		if n := ejections(w.node("a"), "lag"); n != 2 {
			t.Errorf("ejected %d times, want 2", n)
		}
	})
}

// TestEjectedReplicaServesWhatOnlyItCovers: an ejection is a preference. The
// last replica within max_lag serves eventual reads, and session reads go to
// whoever covers them.
func TestEjectedReplicaServesWhatOnlyItCovers(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{MaxLag: 1000}, func(w *world) {
		// A session that needs little, before everything else is written.
		modest := w.client(nil)
		first(w, modest)
		w.servers["p"].insert(100_000)
		w.servers["a"].replay(90_000)
		w.servers["b"].replay(90_000)
		w.settle()
		if w.state("a") != "ejected" || w.state("b") != "ejected" {
			t.Fatalf("states %s, %s", w.state("a"), w.state("b"))
		}
		if d := modest.read(); d.Role != router.RoleReplica || d.Waited != 0 {
			t.Errorf("decided %s after %s", describe(d), d.Waited)
		}
		c := w.client(nil)
		c.Level = router.LevelEventual
		w.want(c.read(), "p not_covered") // as ever: nobody is within max_lag
		w.servers["a"].replay(99_200)     // within max_lag, and still ejected
		w.settle()
		if w.state("a") != "ejected" {
			t.Fatalf("state %s", w.state("a"))
		}
		w.want(c.read(), "a covered")
	})
}

// TestNobodyWaitsForAnEjectedReplica: it is not even asked how far it has got,
// while another is near.
func TestNobodyWaitsForAnEjectedReplica(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{MaxLag: 1000}, func(w *world) {
		w.servers["p"].insert(100_000)
		w.servers["b"].replay(100_000)
		w.settle()
		if w.state("a") != "ejected" {
			t.Fatalf("state %s", w.state("a"))
		}
		c := w.client(nil)
		first(w, c)
		c.write(100_100)
		asked := w.node("a").Asked()
		go func() {
			time.Sleep(50 * time.Millisecond)
			w.servers["b"].replay(100_100)
		}()
		w.want(c.read(), "b waited")
		if n := w.node("a").Asked() - asked; n > 1 {
			t.Errorf("a was asked %d times", n)
		}
		// Alone, it is waited for.
		w.servers["b"].kill(true)
		w.settle()
		w.servers["a"].replay(99_100) // it moves, so that there is hope
		time.Sleep(600 * time.Millisecond)
		if w.state("a") != "ejected" {
			t.Fatalf("state %s", w.state("a"))
		}
		c.write(100_200)
		go func() {
			time.Sleep(50 * time.Millisecond)
			w.servers["a"].replay(100_200)
		}()
		w.want(c.read(), "a waited")
	})
}

func TestPausedDelayedAndStalledReplicasAreRecognised(t *testing.T) {
	for _, test := range []struct {
		why    string
		change func(w *world)
		back   func(w *world)
	}{
		{"paused", func(w *world) { w.servers["a"].set(func(st *router.Status) { st.ReplayPaused = true }) },
			func(w *world) { w.servers["a"].set(func(st *router.Status) { st.ReplayPaused = false }) }},
		{"delayed", func(w *world) { w.servers["a"].set(func(st *router.Status) { st.ApplyDelay = time.Second }) },
			func(w *world) { w.servers["a"].set(func(st *router.Status) { st.ApplyDelay = 0 }) }},
		{"stalled", func(w *world) {
			for l := lsn.LSN(2000); l < 2004; l++ { // the primary moves, and b follows
				w.servers["p"].insert(l)
				w.servers["b"].replay(l)
				time.Sleep(500 * time.Millisecond)
			}
		}, func(w *world) { w.servers["a"].replay(2003) }},
	} {
		t.Run(test.why, func(t *testing.T) {
			run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
				var readers []*client // they read on a, and write nothing
				for range 20 {
					c := w.client(nil)
					if first(w, c) == "a" {
						w.want(c.read(), "a covered")
						readers = append(readers, c)
					}
				}
				test.change(w)
				w.settle()
				n := w.node("a")
				if got := n.Standing(time.Now()); got.State != "ejected" || got.Ejected != test.why {
					t.Fatalf("standing %+v", got)
				}
				if !n.Eligible() {
					t.Fatal("does not count any more")
				}
				if counts := w.spread(20); counts["a"] != 0 {
					t.Errorf("new clients are spread %v", counts)
				}
				for _, c := range readers {
					d := c.read()
					w.want(d, "b waited")
					if d.Waited > 5*time.Millisecond {
						t.Errorf("left a after %s", d.Waited)
					}
				}
				test.back(w)
				w.settle()
				if got := w.state("a"); got != "serving" {
					t.Errorf("state %s", got)
				}
				if got := ejections(n, test.why); got != 1 {
					t.Errorf("ejected %d times", got)
				}
			})
		})
	}
}

// TestClientStaysWhereNoBetterReplicaIs: leaving is tried once a second, for a
// moment; the other reads do not wait.
func TestClientStaysWhereNoBetterReplicaIs(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		c := w.client(nil)
		on := first(w, c)
		w.want(c.read(), on+" covered")
		w.servers[on].set(func(st *router.Status) { st.ReplayPaused = true })
		// The other one moves, and is a little behind all the time.
		other := map[string]string{"a": "b", "b": "a"}[on]
		ctx, cancel := context.WithCancel(w.Context())
		defer cancel()
		go func() {
			for l := lsn.LSN(2000); pause(ctx, 5*time.Millisecond) == nil; l += 100 {
				w.servers["p"].insert(l)
				w.servers[other].replay(l - 1000)
			}
		}()
		w.settle()
		waited := 0
		for range 50 {
			d := c.read()
			if d.Node.Name != on {
				t.Fatalf("decided %s", describe(d))
			}
			if d.Waited > 0 {
				waited++
			}
			if d.Waited > 26*time.Millisecond {
				t.Errorf("waited %s", d.Waited)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if waited < 4 || waited > 6 {
			t.Errorf("%d of 50 reads in 5 s waited", waited)
		}
	})
}

// TestLeavingEndsWithTheWait: a read that waits for its floor, and finds only
// the crowded replica of its client there, looks for a better one no longer
// than it may wait at all.
func TestLeavingEndsWithTheWait(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		var c, other *client // of one session
		for c == nil || first(w, c) != "a" {
			s := router.NewSession()
			c, other = w.client(s), w.client(s)
		}
		w.want(c.read(), "a covered")
		w.servers["p"].insert(1500)
		w.servers["a"].replay(1500)
		for range 20 {
			o := w.client(nil)
			o.Wrote()
			w.want(o.decide(), "a waited") // and goes on for the whole test
		}
		other.write(2000)
		w.after(20*time.Millisecond, func() { w.servers["a"].replay(2000) })
		c.Wait = 25 * time.Millisecond
		d := c.read()
		w.want(d, "a waited")
		if d.Waited != c.Wait {
			t.Errorf("waited %s", d.Waited)
		}
	})
}

// TestReturningReplicaStartsSlowly: its share grows from little to all.
func TestReturningReplicaStartsSlowly(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{Preferences: router.Preferences{SlowStart: 10 * time.Second}}, func(w *world) {
		if counts := w.spread(100); counts["a"] < 25 || w.state("a") != "serving" {
			t.Fatalf("at the beginning nobody is new: %v", counts)
		}
		w.servers["a"].kill(true)
		time.Sleep(3 * time.Second)
		w.servers["a"].restart(func(*router.Status) {})
		n := w.node("a")
		for !n.Eligible() {
			time.Sleep(time.Millisecond)
		}
		back := time.Now()
		if got := n.Standing(back); got.State != "warming" || got.Effective > 0.07 {
			t.Errorf("standing %+v", got)
		}
		const reads = 400
		for _, at := range []time.Duration{0, 2500, 5000, 7500, 10_500} {
			at *= time.Millisecond
			time.Sleep(time.Until(back.Add(at)))
			// Half of the reads are its share.
			want := reads / 2 * min(max(at.Seconds()/10, 1./16), 1)
			counts := w.spread(reads)
			if got := float64(counts["a"]); got < want-40 || got > want+45 {
				t.Errorf("after %s it gets %v of %d reads, want about %.0f", at, got, reads, want)
			}
		}
		time.Sleep(time.Second)
		if got := w.state("a"); got != "serving" {
			t.Errorf("state %s", got)
		}
		// What is not its trouble does not make it cold.
		w.servers["a"].kill(false)
		w.settle()
		if got := w.state("a"); got != "serving" {
			t.Errorf("state %s after a lost connection of the monitor", got)
		}
	})
}

// TestSlowStartDoesNotMatterAlone: who is the only one serves everything.
func TestSlowStartDoesNotMatterAlone(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		w.servers["a"].kill(true)
		time.Sleep(3 * time.Second)
		w.servers["a"].restart(func(*router.Status) {})
		w.settle()
		if got := w.state("a"); got != "warming" {
			t.Fatalf("state %s", got)
		}
		if counts := w.spread(50); counts["a"] != 50 {
			t.Errorf("reads are spread %v", counts)
		}
		w.r.Prefer(router.Preferences{SlowStart: -1})
		if got := w.state("a"); got != "serving" {
			t.Errorf("state %s without slow start", got)
		}
	})
}

// TestFailoverColdsNobody: a new primary makes all replicas prove themselves
// anew, but their caches are what they were.
func TestFailoverColdsNobody(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		w.failover(1000, nil)
		w.servers["b"].set(func(st *router.Status) { st.Timeline, st.Replay = 2, 1100 })
		w.settle()
		for _, n := range w.r.Topology().Nodes {
			if got := n.Standing(time.Now()).State; n.Eligible() && got != "serving" {
				t.Errorf("%s is %s", n.Name, got)
			}
		}
		if w.r.Topology().Replicas() == 0 {
			t.Errorf("topology %s", w.r.Topology())
		}
	})
}

// zoned is a cluster with replicas a and b in their own zones.
func zoned() *cluster {
	c := newCluster("a1", "a2", "b1")
	for i := range c.nodes {
		c.nodes[i].Zone = c.nodes[i].Name[:1]
	}
	return c
}

func TestOwnZoneComesFirst(t *testing.T) {
	c := zoned()
	run(t, c, router.Config{Preferences: router.Preferences{Zone: "a"}}, func(w *world) {
		if counts := w.spread(100); counts["b1"] != 0 || counts["a1"] < 25 || counts["a2"] < 25 {
			t.Errorf("reads are spread %v", counts)
		}
		// Nobody there covers.
		c := w.client(nil)
		first(w, c)
		c.write(2000)
		w.servers["b1"].replay(2000)
		w.want(c.read(), "b1 waited")
		w.want(c.read(), "b1 waited") // it has looked around at home for a moment
		w.want(c.read(), "b1 covered")
		// It comes home once somebody does.
		w.servers["a1"].replay(2000)
		w.servers["a2"].replay(2000)
		time.Sleep(1100 * time.Millisecond)
		d := c.read()
		if !strings.HasPrefix(d.Node.Name, "a") || d.Waited > 5*time.Millisecond {
			t.Errorf("decided %s after %s", describe(d), d.Waited)
		}
		// All there have much more to do.
		var busy []router.Decision
		counts := make(map[string]int)
		for range 60 {
			d := w.client(nil).decide()
			counts[d.Node.Name]++
			busy = append(busy, d)
		}
		if counts["b1"] == 0 || counts["b1"] > 20 || counts["a1"] < 18 || counts["a2"] < 18 {
			t.Errorf("many reads at once are spread %v", counts)
		}
		for i := range busy {
			busy[i].Done()
		}
		// Another zone is better than nothing, and none is known to be home.
		w.r.Prefer(router.Preferences{Zone: "elsewhere"})
		if counts := w.spread(100); counts["a1"] < 15 || counts["a2"] < 15 || counts["b1"] < 15 {
			t.Errorf("reads are spread %v", counts)
		}
		w.r.Prefer(router.Preferences{Zone: "b"})
		if counts := w.spread(20); counts["b1"] != 20 {
			t.Errorf("reads are spread %v", counts)
		}
	})
}

// TestCrowdedReplicaIsLeft: clients that only read, and were all at one replica
// when the other came back, spread when there are many of them at once.
func TestCrowdedReplicaIsLeft(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		w.servers["b"].kill(true)
		w.settle()
		clients := make([]*client, 40)
		for i := range clients {
			clients[i] = w.client(nil)
			w.want(clients[i].read(), "a waited")
		}
		w.servers["b"].restart(func(*router.Status) {})
		time.Sleep(20 * time.Second)
		counts := make(map[string]int)
		for range 3 {
			var mu sync.Mutex
			var wg sync.WaitGroup
			var busy []router.Decision
			clear(counts)
			for _, c := range clients {
				wg.Go(func() {
					d := c.decide()
					c.SawReplica(d.Node)
					mu.Lock()
					defer mu.Unlock()
					counts[d.Node.Name]++
					busy = append(busy, d)
				})
			}
			wg.Wait()
			for i := range busy {
				busy[i].Done()
			}
			time.Sleep(1100 * time.Millisecond)
		}
		if counts["b"] < 10 {
			t.Errorf("reads are spread %v", counts)
		}
	})
}

// TestAttributesChangeInPlace: another weight, zone, tag or noloadbalance makes
// neither another node nor, for the primary, another era.
func TestAttributesChangeInPlace(t *testing.T) {
	c := newCluster("a", "b")
	src := newSource(router.Candidates{Nodes: c.nodes})
	run(t, c, router.Config{Source: src}, func(w *world) {
		before, dials := w.r.Topology(), w.servers["p"].connects()+w.servers["a"].connects()
		say := func(change func(c *router.Candidate)) {
			nodes := append([]router.Candidate(nil), c.nodes...)
			for i := range nodes {
				change(&nodes[i])
			}
			src.updates <- router.Candidates{Nodes: nodes}
			w.settle()
		}
		say(func(c *router.Candidate) { c.Weight, c.Zone, c.Tags = 3, "z", map[string]string{"disk": "nvme"} })
		after := w.r.Topology()
		if after.Era() != before.Era() || after.Epoch != before.Epoch || after.Primary != before.Primary || after.Replicas() != 2 {
			t.Errorf("before: %s; after: %s", before, after)
		}
		for i, n := range after.Nodes {
			if n != before.Nodes[i] || n.Weight() != 3 || n.Zone() != "z" || n.Tags()["disk"] != "nvme" {
				t.Errorf("node %s: weight %d, zone %q, tags %v", n.Name, n.Weight(), n.Zone(), n.Tags())
			}
		}
		if got := w.servers["p"].connects() + w.servers["a"].connects(); got != dials {
			t.Errorf("%d new monitor connections", got-dials)
		}
		// The new weight counts.
		say(func(c *router.Candidate) {
			if c.Name == "a" {
				c.Weight = 9
			}
		})
		if counts := w.spread(200); counts["a"] < 160 || counts["b"] == 0 {
			t.Errorf("reads are spread %v", counts)
		}
		a := w.node("a")
		say(func(c *router.Candidate) {
			if c.Name == "a" {
				c.NoReads = "tag noloadbalance"
			}
		})
		if a.Eligible() || w.node("a") != a || w.state("a") != "no_reads" {
			t.Errorf("state %s", w.state("a"))
		}
		say(func(*router.Candidate) {})
		if !a.Eligible() || w.node("a") != a || w.state("a") != "warming" {
			t.Errorf("state %s", w.state("a"))
		}
		// Another address is another server.
		say(func(c *router.Candidate) {
			if c.Name == "a" {
				c.Port++
			}
		})
		if w.node("a") == a {
			t.Error("a node with another address is the same")
		}
	})
}

// TestWithoutAReceiverOnPurpose: of a replica that streams from nobody because it
// shall not the log says so, and blames nothing else.
func TestWithoutAReceiverOnPurpose(t *testing.T) {
	log, text := logger()
	c := newCluster("a", "b")
	for _, name := range []string{"a", "b"} {
		c.servers[name].set(func(st *router.Status) { st.Timeline = 0 })
	}
	c.nodes[1].NoReads = "tag nostream"
	run(t, c, router.Config{Logger: log}, func(w *world) {
		time.Sleep(time.Minute)
		for _, want := range []string{"node=a reason=\"it shall serve no reads: tag nostream\"", "node=b reason=\"the timeline that it follows cannot be seen"} {
			if n := strings.Count(text(), want); n != 1 {
				t.Errorf("%s was logged %d times:\n%s", want, n, text())
			}
		}
	})
}

// logger returns one whose text can be read.
func logger() (log *slog.Logger, text func() string) {
	var b strings.Builder
	var mu sync.Mutex
	log = slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return b.Write(p)
	}), nil))
	return log, func() string {
		mu.Lock()
		defer mu.Unlock()
		return b.String()
	}
}

// TestChangesAreLoggedOnce: one line for each change of a node's standing.
func TestChangesAreLoggedOnce(t *testing.T) {
	log, text := logger()
	run(t, newCluster("a", "b"), router.Config{Logger: log}, func(w *world) {
		w.servers["a"].set(func(st *router.Status) { st.ReplayPaused = true })
		time.Sleep(10 * time.Second)
		w.servers["a"].set(func(st *router.Status) { st.ReplayPaused = false })
		time.Sleep(10 * time.Second)
		for _, line := range []string{"replica is not preferred any more", "replica is preferred again"} {
			if n := strings.Count(text(), line); n != 1 {
				t.Errorf("%q was logged %d times", line, n)
			}
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestFallbackBudgetHoldsAgainstAStampede: all replicas lag, and 200 clients
// want to read what was just written.
func TestFallbackBudgetHoldsAgainstAStampede(t *testing.T) {
	run(t, newCluster("a", "b", "c"), router.Config{}, func(w *world) {
		w.client(nil).write(100 << 20)
		w.settle()
		const readers, work = 200, 30 * time.Millisecond
		type outcome struct {
			i      int
			what   string
			at     time.Duration
			served time.Duration
		}
		var mu sync.Mutex
		var order []int
		running, most := 0, 0
		outcomes := make(chan outcome, readers)
		began := time.Now()
		for i := range readers {
			go func() {
				time.Sleep(time.Duration(i) * 10 * time.Microsecond)
				d := w.client(nil).decide()
				o := outcome{i: i, what: describe(d), at: time.Since(began)}
				if d.Role == router.RolePrimary {
					mu.Lock()
					order = append(order, i)
					running++
					most = max(most, running)
					mu.Unlock()
					time.Sleep(work)
					mu.Lock()
					running--
					mu.Unlock()
				}
				d.Done()
				outcomes <- o
			}()
		}
		counts := make(map[string]int)
		for range readers {
			counts[(<-outcomes).what]++
		}
		if most != 32 {
			t.Errorf("%d reads ran on the primary at once, want 32", most)
		}
		if counts["p not_covered"] != readers {
			t.Errorf("outcomes %v", counts)
		}
		// First come, first served, within the turn of one place.
		for at, i := range order {
			if at-i > 32 || i-at > 32 {
				t.Errorf("reader %d was served as number %d", i, at)
			}
		}
		// Who finds no place in time is refused, and nobody else runs.
		counts, most = make(map[string]int), 0
		var held []router.Decision
		for range readers {
			go func() {
				d := w.client(nil).decide()
				mu.Lock()
				if d.Role == router.RolePrimary {
					held = append(held, d)
				}
				mu.Unlock()
				outcomes <- outcome{what: describe(d)}
			}()
		}
		for range readers {
			counts[(<-outcomes).what]++
		}
		if len(held) != 32 || counts["error PR001"] != readers-32 {
			t.Errorf("outcomes %v", counts)
		}
		for i := range held {
			held[i].Done()
		}
		if s := w.r.Stats(); s.FallbacksRunning != 0 || s.FallbacksQueued != 0 {
			t.Errorf("%d run and %d queue at the end", s.FallbacksRunning, s.FallbacksQueued)
		}
	})
}

// TestFullChoiceDoesNotAllocate: nor does a read that looks at all replicas.
func TestFullChoiceDoesNotAllocate(t *testing.T) {
	run(t, zoned(), router.Config{Preferences: router.Preferences{Zone: "a"}}, func(w *world) {
		c := w.client(router.NewSession())
		first(w, c)
		for range 60 { // all are busy
			w.client(nil).decide()
		}
		now := time.Now()
		if n := testing.AllocsPerRun(1000, func() {
			c.r.Begin(&c.Request, &c.Chain, now)
			d, done := c.r.Decide(&c.Request, &c.Chain, now, c.w)
			if !done || d.Role != router.RoleReplica {
				t.Fatal("not covered")
			}
			c.SawReplica(d.Node)
			d.Done()
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func BenchmarkFullChoice(b *testing.B) {
	r := begin(b, newCluster("a", "b", "c"))
	if _, err := r.WaitTicket(context.Background(), r.Ticket()); err != nil {
		b.Fatal(err)
	}
	var c router.Chain
	q := router.Request{Wait: time.Second, Level: router.LevelEventual}
	w := newWaiter()
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		c.Init(r, nil, false) // without a last replica
		r.Begin(&q, &c, now)
		d, done := r.Decide(&q, &c, now, w)
		if !done || d.Role != router.RoleReplica {
			b.Fatal("not covered")
		}
		d.Done()
	}
}

// TestWithoutAZoneAllAreEqual: where nobody said where the router is, a replica
// without a zone is no better than another.
func TestWithoutAZoneAllAreEqual(t *testing.T) {
	c := zoned()
	c.nodes[3].Zone = ""
	run(t, c, router.Config{}, func(w *world) {
		if counts := w.spread(100); counts["a1"] < 15 || counts["a2"] < 15 || counts["b1"] < 15 {
			t.Errorf("reads are spread %v", counts)
		}
	})
}
