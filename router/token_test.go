package router_test

import (
	"errors"
	"testing"

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
