package router_test

import (
	"context"
	"testing"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// ask asks for the outcome of transaction 50, whose COMMIT lies behind 2000.
func (w *world) ask(era uint64) router.Verdict {
	ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
	defer cancel()
	return w.r.Resolve(ctx, router.Commit{Era: era, XID: 50, Position: 2000})
}

// says lets every server say the same of transaction 50.
func (c *cluster) says(state router.XactState) {
	for _, s := range c.servers {
		s.set(func(*router.Status) { s.xacts = map[uint64]router.XactState{50: state} })
	}
}

// flushed lets the primary flush as far as l, and the router see it.
func (w *world) flushed(t *testing.T, l lsn.LSN) {
	t.Helper()
	w.servers["p"].insert(l)
	if _, err := w.r.WaitTicket(w.Context(), w.r.Ticket()); err != nil {
		t.Fatal(err)
	}
}

// TestOutcomeThatWasNotSeenFlushed: the primary may have crashed unseen, lost the
// transaction, and given its number to another before it was replaced.
func TestOutcomeThatWasNotSeenFlushed(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		era := w.r.Topology().Era()
		w.says(router.XactCommitted)
		w.flushed(t, 1999)
		w.failover(3000, func(st *router.Status) { st.NextXID = 60 })
		if v := w.ask(era); v.Outcome != router.OutcomeUnknown || v.Reason == "" {
			t.Errorf("it is told %s %q, want unknown", v.Outcome, v.Reason)
		}
	})
}

// TestOutcomeThatItsConnectionSawFlushed: what was asked for on the connection of
// the COMMIT is true for the life of the server that it led to.
func TestOutcomeThatItsConnectionSawFlushed(t *testing.T) {
	for flushed, want := range map[lsn.LSN]router.Outcome{1999: router.OutcomeUnknown, 2000: router.OutcomeCommitted} {
		run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
			k := router.Commit{Era: w.r.Topology().Era(), XID: 50, Position: 2000, Flushed: flushed}
			w.says(router.XactCommitted)
			w.flushed(t, 1999)
			w.failover(3000, func(st *router.Status) { st.NextXID = 60 })
			ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
			defer cancel()
			if v := w.r.Resolve(ctx, k); v.Outcome != want {
				t.Errorf("flushed up to %s, it is told %s %q, want %s", flushed, v.Outcome, v.Reason, want)
			}
		})
	}
}

// TestFlushedSeenByOthers: what one connection has seen flushed counts for all, but
// not if it may lead to a later life of the server.
func TestFlushedSeenByOthers(t *testing.T) {
	for young, want := range map[bool]router.Outcome{false: router.OutcomeCommitted, true: router.OutcomeUnknown} {
		run(t, newCluster("a", "b"), router.Config{HealthInterval: 10 * time.Second}, func(w *world) {
			c := w.client(nil)
			w.says(router.XactCommitted)
			w.flushed(t, 1999)
			other := router.Commit{Era: w.r.Topology().Era(), XID: 51, Position: 2000, Flushed: 2000}
			if young {
				other.Dialed = w.node("p").Asked()
			}
			w.servers["p"].set(func(st *router.Status) { st.Insert = 2000 })
			c.Committing(&other)
			w.servers["p"].kill(true)
			w.failover(3000, func(st *router.Status) { st.NextXID = 60 })
			time.Sleep(20 * time.Second)
			if v := w.ask(other.Era); v.Outcome != want {
				t.Errorf("young %v: it is told %s %q, want %s", young, v.Outcome, v.Reason, want)
			}
		})
	}
}

// TestOutcomeOfACommitUnderWay: while a COMMIT is under way the primary is asked
// until its position was seen flushed, and once if the connection is so young that
// nobody knows in which life of the server it runs.
func TestOutcomeOfACommitUnderWay(t *testing.T) {
	for _, test := range []struct {
		name    string
		told    bool          // that it is under way
		flushed time.Duration // after the COMMIT was sent, before the primary dies
		alive   time.Duration // how long the primary lives then
		want    router.Outcome
	}{
		{"after a while", true, 30 * time.Millisecond, 10 * time.Millisecond, router.OutcomeCommitted},
		{"nobody was told", false, 2 * time.Millisecond, 10 * time.Millisecond, router.OutcomeUnknown},
		{"the primary dies with that", true, 30 * time.Millisecond, 0, router.OutcomeUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
				c, p := w.client(nil), w.servers["p"]
				w.says(router.XactCommitted)
				k := router.Commit{Era: w.r.Topology().Era(), Dialed: w.node("p").Asked(), XID: 50, Position: 2000}
				p.set(func(st *router.Status) { st.Insert, st.Flush = 2000, 1999 })
				if test.told {
					c.Committing(&k)
				}
				time.Sleep(test.flushed)
				p.set(func(st *router.Status) { st.Insert, st.Flush = 2100, 2100 })
				time.Sleep(test.alive)
				w.failover(3000, func(st *router.Status) { st.NextXID = 60 })
				ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
				defer cancel()
				if v := w.r.Resolve(ctx, k); v.Outcome != test.want {
					t.Errorf("it is told %s %q, want %s", v.Outcome, v.Reason, test.want)
				}
			})
		})
	}
}

// TestCommitUnderWayOnAYoungConnection: that the server was asked since it was
// dialled says in which life of it the COMMIT runs.
func TestCommitUnderWayOnAYoungConnection(t *testing.T) {
	for told, want := range map[bool]router.Outcome{false: router.OutcomeUnknown, true: router.OutcomeAborted} {
		run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
			c := w.client(nil)
			w.says(router.XactCommitted)
			w.flushed(t, 2000)
			k := router.Commit{Era: w.r.Topology().Era(), Dialed: w.node("p").Asked(), XID: 50, Position: 2000}
			if told {
				c.Committing(&k)
			}
			time.Sleep(10 * time.Millisecond)
			w.failover(1500, func(st *router.Status) { st.NextXID = 60 })
			ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
			defer cancel()
			if v := w.r.Resolve(ctx, k); v.Outcome != want {
				t.Errorf("told %v, it is told %s %q, want %s", told, v.Outcome, v.Reason, want)
			}
		})
	}
}

// TestCommitsUnderWayCostLittle: what is never seen flushed is asked for less and
// less, and what was is not asked for.
func TestCommitsUnderWayCostLittle(t *testing.T) {
	run(t, newCluster("a"), router.Config{HealthInterval: time.Minute}, func(w *world) {
		c := w.client(nil)
		k := router.Commit{Era: w.r.Topology().Era(), XID: 50, Position: 2000}
		before := w.r.Stats().PositionCalls
		calls := func() uint64 {
			n := w.r.Stats().PositionCalls - before
			before += n
			return n
		}
		c.Committing(&k)
		time.Sleep(4 * time.Second)
		if n := calls(); n < 10 || n > 60 {
			t.Errorf("%d questions in four seconds", n)
		}
		w.flushed(t, 2000)
		calls()
		for range 100 {
			c.Committing(&k)
		}
		c.Committing(new(router.Commit))
		time.Sleep(4 * time.Second)
		if n := calls(); n > 1 {
			t.Errorf("%d questions for what was seen flushed", n)
		}
	})
}

// TestOutcomeAfterFailover: what a new primary says of a number counts only if
// its history contains the position that was known before the COMMIT.
func TestOutcomeAfterFailover(t *testing.T) {
	unread := func(st *router.Status) { st.Begin, st.BeginKnown, st.History, st.Recovered = 0, false, nil, 0 }
	for _, test := range []struct {
		name   string
		end    lsn.LSN
		next   uint64
		change func(*router.Status)
		says   router.XactState
		want   router.Outcome
	}{
		{"it is there", 3000, 60, nil, router.XactCommitted, router.OutcomeCommitted},
		{"its end is not there", 3000, 60, nil, router.XactAborted, router.OutcomeAborted},
		{"the history ends before it, and the number was given out again", 1500, 60, nil, router.XactCommitted, router.OutcomeAborted},
		{"the history ends right before the COMMIT", 2000, 60, nil, router.XactCommitted, router.OutcomeAborted},
		{"the new primary had not heard of it, and has given the number out since", 3000, 50, nil, router.XactCommitted, router.OutcomeAborted},
		{"nobody knows where the history ends", 3000, 60, unread, router.XactCommitted, router.OutcomeUnknown},
		{"nor whose number it is that was rolled back", 3000, 60, unread, router.XactAborted, router.OutcomeUnknown},
		{"but the new primary had not heard of it", 3000, 50, unread, router.XactCommitted, router.OutcomeAborted},
		{"too long ago", 3000, 60, nil, router.XactForgotten, router.OutcomeUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
				era := w.r.Topology().Era()
				w.says(test.says)
				w.flushed(t, 2000)
				w.failover(test.end, func(st *router.Status) {
					st.NextXID = test.next
					if test.change != nil {
						test.change(st)
					}
				})
				v := w.ask(era)
				if v.Outcome != test.want || (v.Reason != "") != (test.want == router.OutcomeUnknown) || v.Era != w.r.Topology().Era() {
					t.Errorf("it is told %s %q by era %d, want %s", v.Outcome, v.Reason, v.Era, test.want)
				}
			})
		})
	}
}

// TestOutcomeAfterRestart: a crash may lose the end of what was written, and
// the server gives the same numbers out again.
func TestOutcomeAfterRestart(t *testing.T) {
	for _, test := range []struct {
		name      string
		recovered lsn.LSN
		clean     bool
		insert    lsn.LSN
		want      router.Outcome
	}{
		{"recovered beyond it", 2500, false, 4000, router.OutcomeCommitted},
		{"recovered up to it", 2000, false, 4000, router.OutcomeAborted},
		{"recovered less", 1900, false, 4000, router.OutcomeAborted},
		{"nothing to recover", 0, true, 4000, router.OutcomeCommitted},
		{"an old copy of its files", 0, true, 900, router.OutcomeAborted},
		{"not known", 0, false, 4000, router.OutcomeUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, newCluster("a"), router.Config{}, func(w *world) {
				era := w.r.Topology().Era()
				w.says(router.XactCommitted)
				if test.want != router.OutcomeUnknown {
					w.flushed(t, 2000)
				}
				w.servers["p"].restart(func(st *router.Status) {
					st.Insert, st.Flush, st.Recovered, st.CleanStart, st.NextXID = test.insert, test.insert, test.recovered, test.clean, 60
				})
				w.settle()
				if v := w.ask(era); v.Outcome != test.want {
					t.Errorf("it is told %s %q, want %s", v.Outcome, v.Reason, test.want)
				}
			})
		})
	}
}

// TestOutcomeOfSameServer: only the connection was lost. What the server had not
// heard of when it was first met says nothing then.
func TestOutcomeOfSameServer(t *testing.T) {
	c := newCluster("a")
	c.servers["p"].st.NextXID = 10
	run(t, c, router.Config{}, func(w *world) {
		era := w.r.Topology().Era()
		w.says(router.XactInProgress)
		began := time.Now()
		time.AfterFunc(3*time.Second, func() { w.says(router.XactCommitted) })
		if v := w.ask(era); v.Outcome != router.OutcomeCommitted || time.Since(began) < 3*time.Second {
			t.Errorf("it is told %s after %s", v.Outcome, time.Since(began))
		}
		// Something more is known of the same server: another era, the same life.
		w.servers["p"].set(func(st *router.Status) { st.BeginKnown = false })
		w.settle()
		if w.r.Topology().Era() == era {
			t.Fatal("it is the same era")
		}
		if v := w.ask(era); v.Outcome != router.OutcomeCommitted {
			t.Errorf("it is told %s %q", v.Outcome, v.Reason)
		}
	})
}

// TestOutcomeInALifeThatNobodyHadSeen: a connection that is dialled after a crash
// and before a monitor has seen it bears the number of the old era, and a COMMIT
// on it is not gone with that.
func TestOutcomeInALifeThatNobodyHadSeen(t *testing.T) {
	for _, test := range []struct {
		name      string
		after     bool    // it was dialled after the crash
		recovered lsn.LSN // where the crash left the WAL
		next      uint64
		want      router.Outcome
	}{
		{"dialled before the crash", false, 1500, 60, router.OutcomeAborted},
		{"dialled after the crash", true, 1500, 60, router.OutcomeUnknown},
		{"dialled before the crash, which has lost the number", false, 2500, 50, router.OutcomeAborted},
		{"still at work when the new life is first met", true, 2500, 50, router.OutcomeUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, newCluster("a"), router.Config{}, func(w *world) {
				w.says(router.XactCommitted)
				c, p := w.client(nil), w.servers["p"]
				c.commit(1400, true)
				w.settle()
				k := router.Commit{Era: w.r.Topology().Era(), Dialed: w.node("p").Asked(), XID: 50, Position: 2000}
				c.commit(1450, true)
				w.settle()
				p.restart(func(st *router.Status) {
					st.Insert, st.Flush, st.Recovered, st.NextXID = test.recovered, test.recovered, test.recovered, test.next
				})
				if test.after {
					k.Dialed = w.node("p").Asked()
				}
				w.settle()
				w.settle()
				if w.r.Topology().Era() == k.Era {
					t.Fatal("nobody has seen the restart")
				}
				ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
				defer cancel()
				if v := w.r.Resolve(ctx, k); v.Outcome != test.want {
					t.Errorf("it is told %s %q, want %s", v.Outcome, v.Reason, test.want)
				}
			})
		})
	}
}

// TestOutcomeWaitsForThePrimary, as long as who asks wants to.
func TestOutcomeWaitsForThePrimary(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		era := w.r.Topology().Era()
		w.says(router.XactCommitted)
		w.flushed(t, 2000)
		w.servers["p"].kill(true)
		w.settle()
		short, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		if v := w.r.Resolve(short, router.Commit{Era: era, XID: 50, Position: 2000}); v.Outcome != router.OutcomeUnknown || v.Reason == "" {
			t.Errorf("without a primary it is told %s %q", v.Outcome, v.Reason)
		}
		waits, gone := newWaiter(), newWaiter()
		q := w.r.Inquire(router.Commit{Era: era, XID: 50, Position: 2000}, 3, waits)
		w.r.Withdraw(w.r.Inquire(router.Commit{Era: era, XID: 50, Position: 2000}, 4, gone))
		w.settle()
		if v, ok := q.Verdict(); ok {
			t.Errorf("it is told %s while there is no primary", v.Outcome)
		}
		w.failover(3000, func(st *router.Status) { st.NextXID = 60 })
		select {
		case seq := <-waits.wakes:
			if v, ok := q.Verdict(); !ok || v.Outcome != router.OutcomeCommitted || seq != 3 {
				t.Errorf("it is told %s, %v, with %d", v.Outcome, ok, seq)
			}
		default:
			t.Error("nobody was woken")
		}
		if len(gone.wakes) > 0 {
			t.Error("who gave up was woken")
		}
	})
}

// TestResolvedWriteHasAFate: a COMMIT that was found out to be there is an
// acknowledged write like any other.
func TestResolvedWriteHasAFate(t *testing.T) {
	for _, test := range []struct {
		end  lsn.LSN
		want router.Fate
	}{{5000, router.FateKept}, {2500, router.FateMaybeLost}} {
		run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
			c := w.client(nil)
			k := router.Commit{Era: w.r.Topology().Era(), XID: 50, Position: 2000}
			c.Writing(k.Era, 0)
			w.says(router.XactCommitted)
			w.flushed(t, 2000)
			w.failover(3000, func(st *router.Status) { st.NextXID = 60 })
			v := w.ask(k.Era)
			c.Resolved(&k, &v)
			c.Wrote()
			c.Acknowledged(true)
			if _, err := w.r.WaitTicket(w.Context(), c.Ticket()); err != nil {
				t.Fatal(err)
			}
			if f := c.Fate(); f != router.FateKept {
				t.Errorf("at once it is told %s", f)
			}
			w.servers["a"].kill(true)
			w.servers["b"].restart(func(st *router.Status) {
				st.InRecovery, st.Timeline, st.Begin, st.BeginKnown = false, 3, test.end, true
				st.History = []lsn.Switch{{Timeline: 1, End: 3000}, {Timeline: 2, Begin: 3000, End: test.end}}
				if test.end < 3000 {
					st.History = []lsn.Switch{{Timeline: 1, End: test.end}}
				}
				st.Insert, st.Flush, st.Recovered = test.end+100, test.end+100, test.end
			})
			w.settle()
			if f := c.Fate(); f != test.want {
				t.Errorf("after a history that ends at %s it is told %s, want %s", test.end, f, test.want)
			}
			if n := w.r.Stats().Commits[router.OutcomeCommitted]; n != 1 {
				t.Errorf("%d COMMITs are counted", n)
			}
		})
	}
}

// TestOutcomeInALifeThatNobodyHadSeen: a connection that is dialled after a crash
// and before a monitor has seen it bears the number of the old era. That the new
// life lacks the end of the old one says nothing about what ran in the new.
func TestOutcomeOnAConnectionToALaterLife(t *testing.T) {
	for _, test := range []struct {
		name  string
		after bool // it was dialled after the crash
		next  uint64
		want  router.Outcome
	}{
		{"dialled before the crash", false, 60, router.OutcomeAborted},
		{"dialled after the crash", true, 60, router.OutcomeUnknown},
		{"dialled after the crash, and first met then", true, 50, router.OutcomeUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, newCluster("a"), router.Config{}, func(w *world) {
				era := w.r.Topology().Era()
				w.says(router.XactCommitted)
				dialed := w.node("p").Asked()
				w.client(nil).commit(1100, true)
				w.settle()
				w.servers["p"].restart(func(st *router.Status) {
					st.Insert, st.Flush, st.Recovered, st.NextXID = 2100, 2100, 1500, test.next
				})
				if test.after {
					dialed = w.node("p").Asked()
				}
				w.settle()
				if w.r.Topology().Era() == era {
					t.Fatal("nobody has seen the restart")
				}
				ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
				defer cancel()
				v := w.r.Resolve(ctx, router.Commit{Era: era, Dialed: dialed, XID: 50, Position: 2000})
				if v.Outcome != test.want {
					t.Errorf("it is told %s %q, want %s", v.Outcome, v.Reason, test.want)
				}
			})
		})
	}
}

// TestOutcomeBehindManyThatHaveNotEnded: more COMMITs than are asked for at once
// wait for something, and those behind them are asked for nevertheless.
func TestOutcomeBehindManyThatHaveNotEnded(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		states := map[uint64]router.XactState{50: router.XactCommitted}
		for xid := uint64(100); xid < 1000; xid++ {
			states[xid] = router.XactInProgress
		}
		w.servers["p"].set(func(*router.Status) { w.servers["p"].xacts = states })
		era, gone := w.r.Topology().Era(), newWaiter()
		for xid := uint64(100); xid < 1000; xid++ {
			w.r.Inquire(router.Commit{Era: era, XID: xid, Position: 2000}, 1, gone)
		}
		if v := w.ask(era); v.Outcome != router.OutcomeCommitted {
			t.Errorf("it is told %s %q", v.Outcome, v.Reason)
		}
	})
}
