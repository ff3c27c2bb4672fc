package router_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// atPrimary reads at level primary.
func (c *client) atPrimary() router.Decision {
	c.Helper()
	defer func(l router.Level) { c.Level = l }(c.Level)
	c.Level = router.LevelPrimary
	return c.read()
}

// after runs f in d.
func (w *world) after(d time.Duration, f func()) { time.AfterFunc(d, f) }

// waited demands that a decision came when something happened, after d, and not
// before it.
func (w *world) waitedFor(d router.Decision, want string, after time.Duration) {
	w.Helper()
	w.want(d, want)
	if d.Waited < after || d.Waited > after+20*time.Millisecond {
		w.Errorf("%s after %s, want %s", describe(d), d.Waited, after)
	}
}

// asks returns how often any server was asked for its transactions.
func (w *world) asks() (n int) {
	for _, s := range w.servers {
		n += s.asked()
	}
	return n
}

// reader returns a client that has read on the replica a.
func (w *world) reader() *client {
	w.Helper()
	c := w.client(nil)
	first(w, c)
	c.not()
	if d := c.read(); d.Role != router.RoleReplica {
		w.Fatalf("read on %s", describe(d))
	}
	return c
}

const moment = 30 * time.Millisecond

func TestPrimaryReadWaitsForWhatReplicaShowed(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.reader()
		xid := w.commit("a")
		w.want(c.read(), "a covered")
		w.after(moment, func() { w.servers["p"].end(xid) })
		w.waitedFor(c.atPrimary(), "p level", moment)
		// That was said once and for good.
		asked := w.asks()
		w.waitedFor(c.atPrimary(), "p level", 0)
		if n := w.asks() - asked; n > 0 {
			t.Errorf("the second read asked %d times", n)
		}
		st := w.r.Stats()
		if st.GuardWaits != 1 || st.GuardUnproven+st.GuardStale+st.GuardRefused != 0 || st.GuardWaitSum < moment || st.Looks != 1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestPrimaryReadWaitsOnlyForWhatReplicaShowed(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.reader()
		w.servers["p"].begin() // a long transaction
		w.servers["p"].end(w.commit("a"))
		w.servers["p"].end(w.servers["p"].begin()) // not replayed yet
		w.want(c.read(), "a covered")
		w.waitedFor(c.atPrimary(), "p level", 0)
	})
}

func TestGuardCostsNothingWithoutAMove(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		c, d := w.reader(), w.client(nil)
		dials := w.servers["p"].connects()
		w.commit("a", "b")
		for range 100 {
			c.read()
			w.want(d.atPrimary(), "p level")
			d.Wrote()
			time.Sleep(time.Millisecond)
		}
		if n, st := w.asks(), w.r.Stats(); n != 0 || st.GuardWaits != 0 || w.servers["p"].connects() != dials {
			t.Errorf("%d questions, %d connections, %+v", n, w.servers["p"].connects()-dials, st)
		}
	})
}

func TestGuardIsShared(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		clients := make([]*client, 100)
		for i := range clients {
			clients[i] = w.reader()
		}
		xid := w.commit("a")
		for _, c := range clients {
			c.read()
		}
		ended := make(chan router.Decision, 100)
		for _, c := range clients {
			go func() { ended <- c.atPrimary() }()
		}
		w.after(moment, func() { w.servers["p"].end(xid) })
		for range clients {
			w.waitedFor(<-ended, "p level", moment)
		}
		if st := w.r.Stats(); st.Looks != 1 || st.GuardWaits != 100 {
			t.Errorf("%d looks for %d reads", st.Looks, st.GuardWaits)
		}
	})
}

// A look that was on its way when the read ended does not tell what it saw.
func TestLookBeforeTheReadDoesNotCount(t *testing.T) {
	c := newCluster("a")
	c.servers["a"].rtt = 20 * time.Millisecond
	run(t, c, router.Config{}, func(w *world) {
		one, two := w.reader(), w.reader()
		ended := make(chan router.Decision, 100)
		go func() { ended <- one.atPrimary() }()
		time.Sleep(15 * time.Millisecond) // the look has been answered and is on its way back
		if w.servers["a"].asked() != 1 {
			t.Fatal("the look has not arrived")
		}
		xid := w.commit("a")
		two.read()
		w.after(200*time.Millisecond, func() { w.servers["p"].end(xid) })
		d := two.atPrimary()
		if d.Waited < 200*time.Millisecond {
			t.Errorf("%s after %s", describe(d), d.Waited)
		}
		w.want(<-ended, "p level")
	})
}

func TestPolicyDecidesWhenTheGuardTakesTooLong(t *testing.T) {
	for _, test := range []struct {
		policy router.OnTimeout
		wait   time.Duration
		want   string
		after  time.Duration
	}{
		{router.OnTimeoutPrimary, 100 * time.Millisecond, "error PR001", 2 * time.Second},
		{router.OnTimeoutPrimary, time.Second, "error PR001", 20 * time.Second},
		{router.OnTimeoutError, 100 * time.Millisecond, "error PR001", 100 * time.Millisecond},
		{router.OnTimeoutError, 0, "error PR001", 50 * time.Millisecond},
		{router.OnTimeoutStale, 100 * time.Millisecond, "p stale", 100 * time.Millisecond},
	} {
		t.Run(test.policy.String()+" "+test.wait.String(), func(t *testing.T) {
			run(t, newCluster("a"), router.Config{}, func(w *world) {
				c := w.reader()
				xid := w.commit("a")
				c.read()
				c.OnTimeout, c.Wait = test.policy, test.wait
				for range 2 { // once more: it is still hidden
					w.waitedFor(c.atPrimary(), test.want, test.after)
				}
				if st := w.r.Stats(); st.GuardStale+st.GuardRefused != 2 || (st.GuardRefused == 0) != (test.want == "p stale") {
					t.Errorf("%+v", st)
				}
				if test.policy == router.OnTimeoutError {
					d := c.decide()
					w.want(d, "a covered") // on the replica it reads on
					d.Done()
				}
				w.servers["p"].end(xid)
				w.waitedFor(c.atPrimary(), "p level", 0)
			})
		})
	}
}

// A read that no replica covers is guarded too, and takes a replica that gets
// there first.
func TestFallbackIsGuarded(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.reader()
		xid := w.commit("a")
		c.read()
		c.write(2000)
		w.after(100*time.Millisecond+moment, func() { w.servers["p"].end(xid) })
		w.waitedFor(c.read(), "p not_covered", 100*time.Millisecond+moment)
		w.want(c.read(), "p not_covered")

		w.servers["a"].replay(2000)
		w.settle()
		xid = w.commit("a")
		w.want(c.read(), "a waited")
		c.write(3000)
		w.after(100*time.Millisecond+moment, func() { w.servers["a"].replay(3000) })
		w.waitedFor(c.read(), "a waited", 100*time.Millisecond+moment)
		if st := w.r.Stats(); st.GuardRefused+st.GuardUnproven != 0 {
			t.Errorf("%+v", st)
		}
		// With no replica left for reads, it is looked at all the same.
		c.Exclude.Add(w.node("a"))
		w.after(moment, func() { w.servers["p"].end(xid) })
		w.waitedFor(c.read(), "p redo", moment)
	})
}

func TestReadAfterOwnWriteIsGuarded(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.reader()
		xid := w.commit("a")
		c.read()
		c.write(2000)
		w.after(moment, func() { w.servers["p"].end(xid) })
		w.waitedFor(c.atPrimary(), "p level", moment)
	})
}

// A move that is covered takes along what was seen before; a free one does not.
func TestGuardAfterAMoveBetweenReplicas(t *testing.T) {
	for _, level := range []router.Level{router.LevelSession, router.LevelEventual} {
		t.Run(level.String(), func(t *testing.T) {
			run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
				c := w.client(nil)
				c.not("b")
				c.read()
				w.servers["p"].begin() // a long transaction
				w.servers["p"].insert(2000)
				w.servers["a"].replay(2000)
				w.settle()
				xid := w.commit("a")
				w.want(c.read(), "a redo")
				if level == router.LevelSession {
					w.servers["b"].replay(2000)
					w.servers["b"].show(xid)
				} else {
					// It arrives there while a witness is looked for.
					w.after(moment/2, func() {
						w.servers["b"].replay(2000)
						w.servers["b"].show(xid)
					})
					w.servers["a"].kill(true)
				}
				c.Level = level
				c.not("a")
				w.want(c.read(), "b redo")
				c.Level = router.LevelSession
				w.after(moment, func() { w.servers["p"].end(xid) })
				w.waitedFor(c.atPrimary(), "p level", moment)
			})
		})
	}
}

// A replica that is gone cannot be asked. That every transaction has ended will
// do, and so will another replica.
func TestGuardWhenTheReplicaIsGone(t *testing.T) {
	lose := map[string]func(w *world, s *server){
		"gone": func(w *world, s *server) { s.kill(true) },
		"restarted behind where it was": func(w *world, s *server) {
			s.restart(func(st *router.Status) { st.Replay = 500 })
			s.mu.Lock()
			s.xids.shows = nil
			s.mu.Unlock()
		},
		"cannot tell": func(w *world, s *server) {
			s.mu.Lock()
			s.xids.unable = true
			s.mu.Unlock()
		},
	}
	for name, lost := range lose {
		t.Run(name, func(t *testing.T) {
			run(t, newCluster("a"), router.Config{}, func(w *world) {
				c := w.reader()
				xid := w.commit("a")
				c.read()
				lost(w, w.servers["a"])
				w.settle()
				w.after(moment, func() { w.servers["p"].end(xid) })
				w.waitedFor(c.atPrimary(), "p level", moment)
			})
			run(t, newCluster("a"), router.Config{}, func(w *world) {
				c := w.reader()
				w.servers["p"].begin() // a transaction that goes on and on
				c.read()
				lost(w, w.servers["a"])
				w.settle()
				// It is not known to hide anything, so it is not an error.
				w.waitedFor(c.atPrimary(), "p level", 100*time.Millisecond)
				w.waitedFor(c.atPrimary(), "p level", 0)
				if st := w.r.Stats(); st.GuardUnproven != 1 {
					t.Errorf("%+v", st)
				}
			})
			run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
				w.servers["p"].begin()
				c := w.client(nil)
				c.not("b")
				c.read()
				w.servers["p"].insert(2000)
				w.servers["a"].replay(2000)
				w.settle()
				xid := w.commit("a")
				w.want(c.read(), "a redo")
				c.not()
				lost(w, w.servers["a"])
				w.settle()
				// b shows it too by the time that it covers what was read.
				w.after(moment, func() {
					w.servers["b"].show(xid)
					w.servers["b"].replay(2000)
				})
				w.after(2*moment, func() { w.servers["p"].end(xid) })
				w.waitedFor(c.atPrimary(), "p level", 2*moment)
			})
		})
	}
}

// The replica dies while it is waited for.
func TestGuardChangesItsWitness(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.reader()
		xid := w.commit("a")
		c.read()
		w.after(moment, func() { w.servers["a"].kill(true) })
		w.after(2*moment, func() { w.servers["p"].end(xid) })
		w.waitedFor(c.atPrimary(), "p level", 2*moment)
	})
}

func TestGuardAndAChangeOfThePrimary(t *testing.T) {
	t.Run("promoted is who was read", func(t *testing.T) {
		run(t, newCluster("a"), router.Config{}, func(w *world) {
			c := w.reader()
			w.commit("a")
			c.read()
			w.servers["p"].kill(true)
			w.promote("a")
			w.servers["a"].begin() // what runs there has nothing to do with it
			w.settle()
			asked := w.asks()
			w.waitedFor(c.atPrimary(), "a level", 0)
			if w.asks() != asked {
				t.Error("it was asked what it shows")
			}
		})
	})
	t.Run("what the old one showed says nothing about the new one", func(t *testing.T) {
		run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
			one, two := w.client(nil), w.client(nil)
			for _, c := range []*client{one, two} {
				c.not("b")
				c.read()
			}
			w.want(one.atPrimary(), "p level")
			w.servers["p"].kill(true)
			w.promote("b")
			w.servers["a"].set(func(st *router.Status) { st.Timeline = 2 })
			w.settle()
			// a has followed b before the router knew, and showed this early.
			xid := w.servers["b"].begin()
			w.servers["a"].show(xid)
			w.after(moment, func() { w.servers["b"].end(xid) })
			w.waitedFor(two.atPrimary(), "b level", moment)
		})
	})
	t.Run("promoted is another, while the old one is waited for", func(t *testing.T) {
		run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
			c := w.client(nil)
			c.not("b")
			c.read()
			w.commit("a", "b")
			c.read()
			c.Wait = time.Second
			w.after(moment, func() {
				w.servers["p"].kill(true)
				w.promote("b")
			})
			c.not()
			for { // while there is no primary, the read is refused
				if d := c.atPrimary(); d.Err == nil {
					w.want(d, "b level")
					break
				} else if !refusal(d.Err).NoPrimary() {
					t.Fatal(describe(d))
				}
				time.Sleep(moment)
			}
		})
	})
}

func TestWhoAsksForLessIsNotGuarded(t *testing.T) {
	for name, set := range map[string]func(c *client){
		"eventual": func(c *client) { c.Level = router.LevelEventual },
		"bounded":  func(c *client) { c.Level, c.MaxStaleness = router.LevelBounded, time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, newCluster("a"), router.Config{}, func(w *world) {
				c := w.reader()
				set(c)
				c.read() // takes a sample
				xid := w.commit("a")
				time.Sleep(100 * time.Millisecond)
				c.read()
				w.servers["a"].kill(true)
				w.settle()
				w.waitedFor(c.read(), "p no_replica", 0)
				// It is remembered for who asks for more.
				c.Level = router.LevelSession
				w.after(moment, func() { w.servers["p"].end(xid) })
				w.waitedFor(c.read(), "p no_replica", moment)
			})
		})
	}
	t.Run("monotonic off", func(t *testing.T) {
		run(t, newCluster("a"), router.Config{Monotonic: router.MonotonicOff}, func(w *world) {
			c := w.reader()
			w.commit("a")
			c.read()
			w.waitedFor(c.atPrimary(), "p level", 0)
			if w.asks() > 0 {
				t.Error("somebody was asked")
			}
		})
	})
}

func TestStrongReadOnThePrimaryIsGuarded(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.reader()
		xid := w.commit("a")
		c.read()
		c.Level = router.LevelStrong
		c.not("a")
		w.after(moment, func() { w.servers["p"].end(xid) })
		w.waitedFor(c.read(), "p redo", moment)
	})
}

func TestMonotonicSessionIsGuardedAcrossClients(t *testing.T) {
	for _, mode := range []router.Monotonic{router.MonotonicConnection, router.MonotonicSession} {
		t.Run(mode.String(), func(t *testing.T) {
			run(t, newCluster("a"), router.Config{Monotonic: mode}, func(w *world) {
				s := w.r.NewSession()
				one, two := w.client(s), w.client(s)
				first(w, one)
				one.not()
				w.servers["p"].begin()
				xid := w.commit("a")
				one.read()
				w.after(moment, func() { w.servers["p"].end(xid) })
				if mode == router.MonotonicConnection {
					w.waitedFor(two.atPrimary(), "p level", 0)
					return
				}
				w.waitedFor(two.atPrimary(), "p level", moment)
				w.waitedFor(two.atPrimary(), "p level", 0)
			})
		})
	}
}

func TestTokenIsGuarded(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		w.servers["p"].begin()
		xid := w.commit("a")
		giver := w.client(nil)
		giver.read()
		f, err := w.r.WaitTicket(w.Context(), giver.Ticket())
		if err != nil {
			t.Fatal(err)
		}
		taker, other := w.client(nil), w.client(nil)
		pos := w.r.TokenPosition(f)
		floor, err := w.r.TokenFloor(pos, f)
		if err != nil {
			t.Fatal(err)
		}
		taker.RaiseToken(floor)
		s := w.r.NewSession()
		if err := w.r.Accept(w.Context(), s, lsn.EncodeToken(pos)); err != nil {
			t.Fatal(err)
		}
		w.waitedFor(other.atPrimary(), "p level", 0)
		inSession := w.client(s)
		inSession.Exclude, taker.Exclude = 0, 0
		ended := make(chan router.Decision, 100)
		go func() { ended <- inSession.atPrimary() }()
		w.after(moment, func() { w.servers["p"].end(xid) })
		w.waitedFor(taker.atPrimary(), "p level", moment)
		w.waitedFor(<-ended, "p level", moment)
	})
}

// What one replica showed is asked of that one, whatever was seen elsewhere
// afterwards: a read that does not need to cover it, or the token of somebody who
// may have seen anything. That nobody can tell all of it is no excuse.
func TestGuardForgetsNoReplica(t *testing.T) {
	for name, more := range map[string]func(w *world, c *client){
		"a read that may be old": func(w *world, c *client) {
			c.Level = router.LevelEventual
			c.not("a")
			w.want(c.read(), "b redo")
			c.Level = router.LevelSession
		},
		"a token": func(w *world, c *client) { c.RaiseToken(router.Floor{Era: w.r.Topology().Era(), LSN: 1000}) },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
				c := w.reader()
				c.not("b")
				xid := w.commit("a")
				w.servers["p"].insert(2000)
				w.servers["a"].replay(2000) // and b has not: nobody else can tell
				w.want(c.read(), "a redo")
				more(w, c)
				w.servers["p"].insert(3000) // nor can a tell of all that there is now
				w.want(c.atPrimary(), "error PR001")
				w.servers["p"].end(xid)
				w.want(c.atPrimary(), "p level")
				if st := w.r.Stats(); st.GuardUnproven != 0 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// The replica that showed a commit has gone, or hangs. The primary says that the
// commit waits for a synchronous standby: who saw it does not go back behind it.
// A transaction that only runs keeps nobody away.
func TestGuardWithoutTheReplica(t *testing.T) {
	for _, test := range []struct {
		name    string
		awaits  bool
		replica func(s *server)
		want    string
	}{
		{"gone", true, func(s *server) { s.kill(true) }, "error PR001"},
		{"hangs", true, func(s *server) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.mute = true
		}, "error PR001"},
		{"gone, and others only run", false, func(s *server) { s.kill(true) }, "p level"},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, newCluster("a"), router.Config{ProbeTimeout: time.Minute}, func(w *world) {
				c, p := w.reader(), w.servers["p"]
				xid := w.commit("a")
				w.want(c.read(), "a covered")
				if test.awaits {
					p.await(xid)
				}
				test.replica(w.servers["a"])
				w.settle()
				d := c.atPrimary()
				w.want(d, test.want)
				if d.Err != nil && !strings.HasPrefix(refusal(d.Err).Detail, "commits that wait for a synchronous standby of p") {
					t.Errorf("the detail is %q", refusal(d.Err).Detail)
				}
				p.end(xid)
				w.want(c.atPrimary(), "p level")
				if st := w.r.Stats(); st.GuardUnproven > 0 == test.awaits {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// A look at a replica that has restarted, and is behind where it was, says nothing
// about what was read there before.
func TestLookAfterARestartDoesNotCount(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c, other, p, a := w.reader(), w.client(nil), w.servers["p"], w.servers["a"]
		xid := w.commit("a")
		p.await(xid)
		p.insert(2000)
		a.replay(2000)
		w.want(c.read(), "a covered")
		a.restart(func(st *router.Status) { st.Replay = 1500 })
		a.mu.Lock()
		a.xids.shows = nil // it has not replayed the commit again
		a.mu.Unlock()
		w.settle()
		other.Level = router.LevelEventual
		w.want(other.read(), "a covered")
		w.want(other.atPrimary(), "p level")
		w.want(c.atPrimary(), "error PR001")
		p.end(xid)
		w.want(c.atPrimary(), "p level")
	})
}

// A transaction that runs for long keeps one look at the primary alone from its
// end. Of those who come meanwhile nobody goes back behind a commit that began
// after it and waits for a synchronous standby.
func TestGuardCountsWhoBeganAfterALongTransaction(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		c, d, p := w.client(nil), w.client(nil), w.servers["p"]
		c.not("b")
		d.not("a")
		p.begin() // it goes on and on
		w.want(c.read(), "a redo")
		w.servers["a"].kill(true)
		w.servers["b"].mu.Lock()
		w.servers["b"].xids.unable = true
		w.servers["b"].mu.Unlock()
		w.settle()
		w.want(c.atPrimary(), "p level")

		xid := w.commit("b")
		p.await(xid)
		w.want(d.read(), "b redo")
		w.want(d.atPrimary(), "error PR001")
		if st := w.r.Stats(); st.GuardUnproven != 1 {
			t.Errorf("%+v", st)
		}
		p.end(xid)
		w.waitedFor(d.atPrimary(), "p level", 100*time.Millisecond) // the other one runs on
	})
}

// Where no replica can be asked the primary tells who is committing. Transactions
// that wait for their clients are not, that of the reader least of all: they keep
// nobody away, and what is committing does, until the primary shows it.
func TestGuardAloneAsksWhoIsCommitting(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c, p := w.reader(), w.servers["p"]
		own := p.begin()
		p.rest(own, true)
		xid := w.commit("a")
		w.want(c.read(), "a covered")
		w.servers["a"].kill(true)
		w.settle()
		w.after(moment, func() { p.end(xid) })
		w.waitedFor(c.atPrimary(), "p level", moment)
		c.RaiseToken(router.Floor{Era: w.r.Topology().Era(), LSN: 1000})
		w.waitedFor(c.atPrimary(), "p level", 0)
		if st := w.r.Stats(); st.GuardUnproven > 0 {
			t.Errorf("%+v", st)
		}
	})
	// One that has been seen at rest once may commit later: that was seen by nobody
	// before.
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c, p := w.reader(), w.servers["p"]
		one, two := p.begin(), p.begin()
		p.rest(one, true)
		w.want(c.read(), "a covered")
		w.servers["a"].kill(true)
		w.settle()
		w.after(moment/2, func() { p.rest(one, false) }) // two has not rested yet
		w.after(moment, func() { p.rest(two, true) })
		d := c.atPrimary()
		w.want(d, "p level")
		if st := w.r.Stats(); st.GuardUnproven > 0 || d.Waited < moment {
			t.Errorf("%s, %+v", describe(d), st)
		}
	})
}

// Commits that each wait for their standby for a moment, one after the other, keep
// nobody away, even if another transaction runs for long and the wait is short.
func TestGuardBesideManyThatWaitForAMoment(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c, p := w.reader(), w.servers["p"]
		w.servers["a"].kill(true)
		w.settle()
		p.begin() // it goes on and on
		done := make(chan struct{})
		defer close(done)
		go func() {
			for {
				xid := w.commit()
				p.await(xid)
				select {
				case <-time.After(5 * time.Millisecond):
				case <-done:
					return
				}
				p.end(xid)
			}
		}()
		c.OnTimeout, c.Wait = router.OnTimeoutError, 0
		for i := range 30 {
			time.Sleep(time.Duration(i) * time.Millisecond) // anywhere in a round
			c.RaiseToken(router.Floor{Era: w.r.Topology().Era(), LSN: 1000})
			w.want(c.atPrimary(), "p level")
		}
	})
}

func TestBorrowedChainsAreGuarded(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		s := w.r.NewSession()
		c := s.Borrow(w.r)
		stray := s.Borrow(w.r)
		q := router.Request{Wait: time.Second}
		read := func(c *router.Chain, l router.Level) router.Decision {
			q.Level = l
			d, err := w.r.Pick(context.Background(), &q, c)
			if err != nil {
				t.Fatal(err)
			}
			d.Done()
			return d
		}
		xid := w.commit("a")
		w.want(read(stray, router.LevelSession), "a waited")
		stray.SawReplica(w.node("a"))
		s.Return(c)
		s.Return(stray)
		c = s.Borrow(w.r)
		w.after(moment, func() { w.servers["p"].end(xid) })
		w.waitedFor(read(c, router.LevelPrimary), "p level", moment)
	})
}

// Probes that cannot tell make no guard.
func TestWithoutWitnessesThereIsNoGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a")
		src := newSource(router.Candidates{Nodes: c.nodes})
		src.begin()
		r, err := router.New(router.Config{Source: src, Prober: plain{c}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		w := &world{T: t, cluster: c, r: r}
		w.settle()
		cl := w.reader()
		w.commit("a")
		cl.read()
		w.waitedFor(cl.atPrimary(), "p level", 0)
	})
}

// plain makes probes that only probe.
type plain struct{ *cluster }

func (p plain) Connect(ctx context.Context, addr router.Addr) (router.Probe, error) {
	inner, err := p.cluster.Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	return struct{ router.Probe }{inner}, nil
}

// The primary hangs while it is waited for: the read does not outlast its time.
func TestGuardIsBoundedWhenThePrimaryHangs(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.reader()
		s := w.servers["p"]
		s.mu.Lock()
		s.mute = true
		s.mu.Unlock()
		c.Level = router.LevelPrimary
		d := c.decide()
		w.waitedFor(d, "p level", 2*time.Second)
		d.Done()
		if st := w.r.Stats(); st.GuardUnproven != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// TestGuardPaces holds that a long wait does not keep the primary busy, nor go
// on when nobody waits any more.
func TestGuardPaces(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.reader()
		w.commit("a")
		c.read()
		w.want(c.atPrimary(), "error PR001")
		if n := w.asks(); n > 1100 {
			t.Errorf("%d questions in two seconds", n)
		}
		n := w.asks()
		time.Sleep(time.Minute)
		if more := w.asks() - n; more > 2 {
			t.Errorf("%d questions that nobody waits for", more)
		}
	})
}

// A read whose transaction runs on the primary already waits there, whoever
// leads.
func TestReadWithinATransactionIsGuarded(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		c := w.reader()
		if !c.Owes() {
			t.Error("what was read on a replica is forgotten")
		}
		xid := w.commit("a", "b")
		c.read()
		w.promote("b") // a second claimant: nobody leads
		w.settle()
		if w.r.Topology().Primary != nil {
			t.Fatal("somebody leads")
		}
		c.Level, c.Only = router.LevelPrimary, w.node("p")
		w.after(moment, func() { w.servers["p"].end(xid) })
		w.waitedFor(c.read(), "p transaction", moment)
		if c.Owes() {
			t.Error("what the primary shows is still looked for")
		}
	})
}

// TestGuardAllocatesNothing holds the hot path of those who do not move between
// a replica and the primary.
func TestGuardAllocatesNothing(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c, other := w.reader(), w.client(nil)
		other.Exclude, other.Level = 0, router.LevelPrimary
		now := time.Now()
		read := func(c *client, level router.Level) router.Role {
			c.Level = level
			w.r.Begin(&c.Request, &c.Chain, now)
			d, done := w.r.Decide(&c.Request, &c.Chain, now, c.w)
			if !done {
				return router.RoleUnknown
			}
			role := d.Role
			if role == router.RoleReplica {
				c.SawReplica(d.Node)
			} else {
				c.SawPrimary()
			}
			d.Done()
			return role
		}
		if n := testing.AllocsPerRun(100, func() {
			if read(c, router.LevelSession) != router.RoleReplica || read(other, router.LevelPrimary) != router.RolePrimary {
				t.Error("a read had to wait")
			}
		}); n > 0 {
			t.Errorf("%v allocations in a read without a move", n)
		}
	})
}

// TestGuardLeavesTheTimeInTheQueueAlone: a read that queues for the fallback
// budget, and has to look at the primary meanwhile, queues on as long as it may.
func TestGuardLeavesTheTimeInTheQueueAlone(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{FallbackBudget: 1, Monotonic: router.MonotonicSession}, func(w *world) {
		s := router.NewSession()
		holder, queued, other := w.client(nil), w.client(s), w.client(s)
		first(w, holder)
		holder.write(2000)
		d := holder.decide()
		w.want(d, "p not_covered")
		queued.write(2000)
		other.Level = router.LevelEventual
		w.after(200*time.Millisecond, func() {
			other.read() // the session has seen more now
			w.servers["a"].kill(false)
		})
		w.after(time.Second, d.Done)
		w.waitedFor(queued.decide(), "p not_covered", time.Second)
		if st := w.r.Stats(); st.GuardWaits == 0 {
			t.Error("nobody looked at the primary meanwhile")
		}
	})
}

// TestReplicaThatCouldNotTellIsAskedAgain: one answer that it cannot tell is not
// its last word.
func TestReplicaThatCouldNotTellIsAskedAgain(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.reader()
		a := w.servers["a"]
		a.set(func(*router.Status) { a.xids.unable = true })
		w.waitedFor(c.atPrimary(), "p level", 0)
		a.set(func(*router.Status) { a.xids.unable = false })
		time.Sleep(15 * time.Second)
		w.servers["p"].begin() // runs for long, and has nothing to do with it
		if d := c.read(); d.Role != router.RoleReplica {
			t.Errorf("read on %s", describe(d))
		}
		w.waitedFor(c.atPrimary(), "p level", 0)
		if st := w.r.Stats(); st.GuardUnproven != 0 || st.Looks != 2 {
			t.Errorf("%d looks, %d unproven", st.Looks, st.GuardUnproven)
		}
	})
}
