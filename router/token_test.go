package router_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// position returns where the primary is now, as a token says it.
func (w *world) position() lsn.Position {
	w.Helper()
	answer, err := w.r.WaitTicket(w.Context(), w.r.Ticket())
	if err != nil {
		w.Fatal(err)
	}
	return w.r.TokenPosition(answer)
}

// judge asks what a token stands for now.
func (w *world) judge(pos lsn.Position) (lsn.LSN, error) {
	w.Helper()
	answer, err := w.r.WaitTicket(w.Context(), w.r.Ticket())
	if err != nil {
		w.Fatal(err)
	}
	f, err := w.r.TokenFloor(pos, answer)
	return f.LSN, err
}

// Where the history of the timeline cannot be read at first, tokens say nothing
// of its beginning. That is not another beginning: whoever knows it takes them,
// and they take those of who knows it.
func TestTokenOfUnknownBeginning(t *testing.T) {
	c := newCluster("a")
	unread := func(st *router.Status) { st.Timeline, st.Begin, st.BeginKnown = 2, 0, false }
	read := func(st *router.Status) { st.Begin, st.BeginKnown = 500, true }
	for _, s := range c.servers {
		s.st.Timeline = 2
	}
	c.servers["p"].set(unread)
	run(t, c, router.Config{}, func(w *world) {
		before := w.position()
		if before.BeginKnown() {
			t.Fatalf("the token says where the timeline began: %s", before)
		}
		if l, err := w.judge(before); err != nil || l != 1000 {
			t.Errorf("who does not know the beginning either: %s, %v", l, err)
		}
		w.servers["p"].set(read)
		w.servers["p"].insert(2000)
		w.settle()
		after := w.position()
		if after.Begin != 500 || after.Incarnation != before.Incarnation {
			t.Fatalf("the token is %s", after)
		}
		if l, err := w.judge(before); err != nil || l != 1000 {
			t.Errorf("who knows the beginning now: %s, %v", l, err)
		}
		beyond := before
		beyond.LSN = 1 << 40
		if _, err := w.judge(beyond); !errors.Is(err, router.ErrFutureToken) {
			t.Errorf("a token of unknown beginning ahead of the primary: %v", err)
		}
		w.servers["p"].set(unread)
		w.settle()
		if l, err := w.judge(after); err != nil || l != 2000 {
			t.Errorf("who does not know the beginning yet: %s, %v", l, err)
		}
	})
}

// A token of an earlier timeline or life stands for what survived, whether this
// router's history names it or not: its floor is now.
func TestTokenOfThePast(t *testing.T) {
	c := newCluster("a")
	for _, s := range c.servers {
		s.st.Timeline = 5
	}
	c.servers["p"].set(func(st *router.Status) {
		st.Begin, st.History = 500, []lsn.Switch{{Timeline: 3, End: 500}}
	})
	run(t, c, router.Config{}, func(w *world) {
		here := w.position()
		for name, change := range map[string]func(p *lsn.Position){
			"a timeline of the history":                 func(p *lsn.Position) { p.Timeline, p.Begin = 3, 100 },
			"a timeline that the history does not name": func(p *lsn.Position) { p.Timeline, p.Begin = 4, 300 },
			"beyond where its timeline was left":        func(p *lsn.Position) { p.Timeline, p.Begin, p.LSN = 3, 100, 1<<40 },
			"a life that was not seen here":             func(p *lsn.Position) { p.Incarnation, p.LSN = p.Incarnation-50, 1<<40 },
		} {
			pos := here
			change(&pos)
			if l, err := w.judge(pos); err != nil || l != 1000 {
				t.Errorf("%s: %s, %v", name, l, err)
			}
		}
		// The server's clock is set back, and the server restarts.
		w.servers["p"].restart(func(st *router.Status) { st.Incarnation = 40 })
		w.servers["p"].insert(2000)
		w.settle()
		if got := w.position().Incarnation; got != 40 {
			t.Fatalf("the primary's life is %d", got)
		}
		if l, err := w.judge(here); err != nil || l != 2000 {
			t.Errorf("a token of a life that the clock says is yet to come: %s, %v", l, err)
		}
	})
}

// named is a source that names the primary, and nodes p and a, of which both say
// that they are primaries: a of timeline 2.
func named(c *cluster) (*source, router.Candidates) {
	first := router.Candidates{NamesPrimary: true, Primary: "p", Nodes: c.nodes}
	next := first
	next.Primary = "a"
	return newSource(first), next
}

// news returns the token of a write on a, the primary of timeline 2 that w does
// not know.
func (w *world) news() string {
	w.promote("a")
	return lsn.EncodeToken(lsn.Position{SystemID: systemID, Timeline: 2, Begin: 1000, LSN: 1000, Incarnation: 100})
}

// A token that comes from behind a change of the primary, before this router has
// heard of the change, is not refused: it waits until the new primary is known.
func TestTokenBringsNewsOfAPrimary(t *testing.T) {
	c := newCluster("a", "b")
	src, next := named(c)
	run(t, c, router.Config{Source: src, HealthInterval: time.Hour}, func(w *world) {
		s, token := router.NewSession(), w.news()
		got := make(chan error, 1)
		go func() { got <- w.r.Accept(w.Context(), s, token) }()
		w.settle()
		select {
		case err := <-got:
			t.Fatalf("before the source has named the new primary: %v", err)
		default:
		}
		if a := w.node("a"); a.Role() != router.RolePrimary {
			t.Errorf("a is %s: it was not asked who it is", a.Role())
		}
		src.updates <- next
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		w.servers["b"].set(func(st *router.Status) { st.Timeline = 2 })
		w.want(w.in(s, "b"), "a redo")
	})
}

// It is refused at once when every server has said who it is and nobody knows
// the timeline, and when time is up.
func TestTokenOfATimelineThatNobodyKnows(t *testing.T) {
	c := newCluster("a", "b")
	src, _ := named(c)
	run(t, c, router.Config{Source: src, HealthInterval: time.Hour, ProbeTimeout: time.Minute}, func(w *world) {
		forged := lsn.EncodeToken(lsn.Position{SystemID: systemID, Timeline: 9, Begin: 1000, LSN: 1000, Incarnation: 100})
		began := time.Now()
		err := w.r.Accept(w.Context(), router.NewSession(), forged)
		if d := time.Since(began); !errors.Is(err, router.ErrUnknownTimeline) || d > 100*time.Millisecond {
			t.Errorf("while all servers answer: %v, after %s", err, d)
		}
		// Nobody waits for a server that is known to be away.
		w.servers["a"].kill(true)
		w.settle()
		began = time.Now()
		err = w.r.Accept(w.Context(), router.NewSession(), forged)
		if d := time.Since(began); !errors.Is(err, router.ErrUnknownTimeline) || d > 100*time.Millisecond {
			t.Errorf("while one is away: %v, after %s", err, d)
		}
		// One that has only fallen silent may be the one that knows it.
		b := w.servers["b"]
		b.mu.Lock()
		b.mute = true
		b.mu.Unlock()
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		began = time.Now()
		err = w.r.Accept(ctx, router.NewSession(), forged)
		if d := time.Since(began); !errors.Is(err, router.ErrUnknownTimeline) || d != time.Second {
			t.Errorf("while one is silent: %v, after %s", err, d)
		}
	})
}

// What was asked of the old primary says nothing when the new one is there: the
// ticket is taken again, and the token is no worse for it.
func TestTokenIsJudgedByTheNewPrimary(t *testing.T) {
	c := newCluster("a")
	src, next := named(c)
	run(t, c, router.Config{Source: src}, func(w *world) {
		check := w.r.CheckToken(w.position())
		if _, err := w.r.WaitTicket(w.Context(), check.Ticket()); err != nil {
			t.Fatal(err)
		}
		w.news()
		src.updates <- next
		w.settle()
		var q router.Request
		wake := newWaiter()
		answer, ok := w.r.AwaitToken(&q, &check, wake)
		for !ok {
			<-wake.wakes
			answer, ok = w.r.AwaitToken(&q, &check, wake)
		}
		if f, err := w.r.TokenFloor(w.position(), answer); err != nil || f.LSN != 1000 {
			t.Errorf("floor %s, %v", f.LSN, err)
		}
	})
}
