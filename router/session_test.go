package router_test

import (
	"testing"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// onlyOn makes the next reads of c go elsewhere than to the named replicas.
func (c *client) not(names ...string) {
	c.Exclude = 0
	for _, name := range names {
		c.Exclude.Add(c.node(name))
	}
}

func TestMoveBetweenReplicasNeedsTicket(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		c := w.client(nil)
		c.not("b")
		w.want(c.read(), "a redo")
		// Somebody else writes; a shows it, b does not.
		w.servers["p"].insert(2000)
		w.servers["a"].replay(2000)
		w.want(c.read(), "a redo")
		c.not()
		calls := w.r.Stats().Tickets
		w.want(c.read(), "a covered") // staying costs nothing
		if n := w.r.Stats().Tickets; n != calls {
			t.Errorf("staying took %d tickets", n-calls)
		}
		c.not("a")
		w.want(c.read(), "p not_covered")
		// Back from the primary to a: everything there is covered by now.
		c.not("b")
		w.want(c.read(), "a redo")
		w.servers["b"].replay(2000)
		c.not("a")
		w.want(c.read(), "b redo")
	})
}

func TestMoveFromPrimaryToReplicaNeedsTicket(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		w.servers["p"].insert(2000) // another's write
		c.SawPrimary()
		w.want(c.read(), "p not_covered")
		w.servers["a"].replay(2000)
		w.want(c.read(), "a waited")
		w.want(c.read(), "a covered")
	})
}

func TestNoTicketForMoveRightAfterWrite(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		c := w.client(nil)
		c.not("b")
		c.read()
		c.write(2000)
		w.servers["b"].replay(2000)
		w.settle()
		calls := w.r.Stats().Tickets
		c.not("a")
		w.want(c.read(), "b redo")
		if n := w.r.Stats().Tickets; n != calls {
			t.Errorf("the move took %d tickets although nothing was seen since the write", n-calls)
		}
	})
}

func TestStayEndsWithTheServersLife(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		w.servers["p"].insert(2000) // another's write, which c sees on a
		w.servers["a"].replay(2000)
		w.settle()
		w.want(c.read(), "a covered")
		// a comes back behind where it was.
		w.servers["a"].restart(func(st *router.Status) { st.Replay = 1500 })
		w.settle()
		w.want(c.read(), "p not_covered")
		w.servers["a"].replay(2000)
		w.want(c.read(), "a waited")
	})
}

func TestFreeMoveOfEventualReadIsRemembered(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		c := w.client(nil)
		c.not("b")
		c.read()
		w.servers["p"].insert(2000)
		w.servers["a"].replay(2000)
		w.settle()
		w.want(c.read(), "a redo")
		c.Level = router.LevelEventual
		c.not("a")
		w.want(c.read(), "b redo") // may go back: it asked for no more
		c.Level = router.LevelSession
		c.not()
		// What was seen on a is not forgotten, although b was read last.
		w.want(c.read(), "a waited")
		w.want(c.read(), "a covered")
	})
}

func TestMonotonicOffMovesFreely(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{Monotonic: router.MonotonicOff}, func(w *world) {
		c := w.client(nil)
		c.not("b")
		c.read()
		w.servers["p"].insert(2000)
		w.servers["a"].replay(2000)
		w.settle()
		c.read()
		c.not("a")
		w.want(c.read(), "b redo")
	})
}

func TestMonotonicSessionCoversOtherClients(t *testing.T) {
	for _, test := range []struct {
		monotonic router.Monotonic
		want      string
	}{
		{router.MonotonicConnection, "b redo"},
		{router.MonotonicSession, "p not_covered"},
	} {
		t.Run(test.monotonic.String(), func(t *testing.T) {
			run(t, newCluster("a", "b"), router.Config{Monotonic: test.monotonic}, func(w *world) {
				s := router.NewSession()
				c, other := w.client(s), w.client(s)
				first(w, c)
				other.not("a")
				other.read()
				w.servers["p"].insert(2000)
				w.servers["a"].replay(2000)
				w.settle()
				c.not("b")
				c.read()
				w.want(other.read(), test.want)
			})
		})
	}
}

func TestNotificationRaisesTheFloor(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		w.servers["p"].insert(2000) // the write that was announced
		c.Notified()
		w.want(c.read(), "p not_covered")
	})
}

func TestConnectStartsFromNow(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		w.servers["p"].insert(2000)
		w.want(w.client(nil).read(), "p not_covered")
		late := &client{world: w, w: newWaiter()}
		late.Init(w.r, nil, false)
		w.want(late.read(), "a covered")
	})
}

func TestFloorIsFrozenByBegin(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		s := router.NewSession()
		c, other := w.client(s), w.client(s)
		first(w, c)
		c.write(1500)
		c.r.Begin(&c.Request, &c.Chain, time.Now())
		time.Sleep(10 * time.Millisecond)
		other.write(2000) // after the read began
		w.servers["a"].replay(1500)
		d := c.resume()
		w.want(d, "a waited")
		if d.Floor.LSN != 1500 {
			t.Errorf("floor %s, want that of the beginning", d.Floor.LSN)
		}
	})
}

func TestStaleReadStaysWhereItWas(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		c := w.client(nil)
		c.not("b")
		c.read()
		c.not()
		w.servers["p"].insert(3000)
		w.servers["b"].replay(2000)
		w.settle()
		c.OnTimeout = router.OnTimeoutStale
		c.Level = router.LevelStrong
		w.want(c.read(), "b stale")
		c.Level = router.LevelSession
		w.want(c.read(), "b stale")
	})
}

func TestTokens(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		r := w.r
		answer, err := r.WaitTicket(w.Context(), r.Ticket())
		if err != nil {
			t.Fatal(err)
		}
		here := r.TokenPosition(answer)
		if want := (lsn.Position{SystemID: systemID, Timeline: 1, LSN: 1000, Incarnation: 100}); here != want {
			t.Fatalf("position %+v, want %+v", here, want)
		}
		for _, test := range []struct {
			reason string
			change func(p *lsn.Position)
			want   error
			lsn    lsn.LSN
		}{
			{"our own", func(p *lsn.Position) {}, nil, 1000},
			{"an earlier position", func(p *lsn.Position) { p.LSN = 900 }, nil, 900},
			{"beyond the primary", func(p *lsn.Position) { p.LSN = 1001 }, router.ErrFutureToken, 0},
			{"another cluster", func(p *lsn.Position) { p.SystemID++ }, router.ErrForeignToken, 0},
			{"a timeline to come", func(p *lsn.Position) { p.Timeline++ }, router.ErrUnknownTimeline, 0},
			{"no timeline", func(p *lsn.Position) { p.Timeline = 0 }, router.ErrUnknownTimeline, 0},
			{"the same timeline with another beginning", func(p *lsn.Position) { p.Begin = 5 }, router.ErrUnknownTimeline, 0},
			{"an earlier life: its LSNs were used again", func(p *lsn.Position) { p.Incarnation--; p.LSN = 5000 }, nil, 1000},
			{"an earlier life, before the clock was set back", func(p *lsn.Position) { p.Incarnation++; p.LSN = 5000 }, nil, 1000},
			{"another beginning by a clock that is behind", func(p *lsn.Position) { p.Begin = 5; p.Incarnation-- }, router.ErrUnknownTimeline, 0},
		} {
			pos := here
			test.change(&pos)
			f, err := r.TokenFloor(pos, answer)
			if !errorsIs(err, test.want) || f.LSN != test.lsn {
				t.Errorf("%s: %v %v, want %v %v", test.reason, f.LSN, err, test.lsn, test.want)
			}
		}

		c := w.client(nil)
		first(w, c)
		w.servers["p"].insert(2000)
		answer, _ = r.WaitTicket(w.Context(), r.Ticket())
		f, err := r.TokenFloor(r.TokenPosition(answer), answer)
		if err != nil {
			t.Fatal(err)
		}
		w.want(c.read(), "a covered")
		c.RaiseToken(f)
		w.want(c.read(), "p not_covered")
		w.servers["a"].replay(2000)
		w.want(c.read(), "a waited")
	})
}
