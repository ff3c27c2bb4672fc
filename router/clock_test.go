package router_test

import (
	"errors"
	"testing"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// TestClockStepsBetweenLives: the server's clock says when a life began, and may
// have been set forward or back since the one before. Nothing may depend on that:
// a token of the life before means what survived, a write that the crash took is
// told as lost, one that it left is not.
func TestClockStepsBetweenLives(t *testing.T) {
	const hour = 3600e6
	for _, test := range []struct {
		name string
		step int64
	}{
		{"forward", hour},
		{"by nothing that anyone would notice", 1},
		{"back", -hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, newCluster("a"), router.Config{}, func(w *world) {
				p := w.servers["p"]
				p.set(func(st *router.Status) { st.Incarnation = 1000 * hour })
				p.kill(false)
				w.settle()
				kept, gone := w.client(nil), w.client(nil)
				first(w, kept)
				first(w, gone)
				kept.commit(2000, true)
				w.settle()
				gone.commit(2700, true)
				w.settle()
				gone.commit(3000, true)
				token, err := w.r.Token(w.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				p.restart(func(st *router.Status) {
					st.Incarnation += test.step - 1
					st.Insert, st.Flush, st.Recovered = 2600, 2600, 2500
				})
				w.settle()
				s := router.NewSession()
				if err := w.r.Accept(w.Context(), s, token); err != nil {
					t.Errorf("the token of the life before: %v", err)
				}
				// It lies at 3000; all that there is now is at 2600.
				w.want(w.in(s), "p not_covered")
				w.servers["a"].replay(2600)
				w.settle()
				w.want(w.in(s), "a waited")
				if f := kept.Fate(); f != router.FateKept {
					t.Errorf("what the crash has left is told %s", f)
				}
				if f := gone.Fate(); f != router.FateLost {
					t.Errorf("what the crash has taken is told %s", f)
				}
			})
		})
	}
}

// TestClocksDoNotOrderTimelines: of two timelines with one number that began at
// different places, a token of the one that the router has seen end is one of the
// past, and a token of one that it has not seen is refused, whichever server was
// started first by its own clock.
func TestClocksDoNotOrderTimelines(t *testing.T) {
	for _, step := range []int64{-50, 50} {
		run(t, newCluster("a"), router.Config{}, func(w *world) {
			p := w.servers["p"]
			begin := func(begin lsn.LSN, incarnation int64) {
				p.restart(func(st *router.Status) {
					st.Timeline, st.Begin, st.Incarnation = 2, begin, incarnation
					st.History = []lsn.Switch{{Timeline: 1, End: begin}}
					st.Insert, st.Flush = 6000, 6000
				})
				w.settle()
			}
			begin(2000, 1000)
			token, err := w.r.Token(w.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			begin(3000, 1000+step)
			if err := w.r.Accept(w.Context(), router.NewSession(), token); err != nil {
				t.Errorf("by %d µs: a token of the timeline before: %v", step, err)
			}
			pos, err := lsn.ParseToken(token)
			if err != nil {
				t.Fatal(err)
			}
			pos.Begin = 2500
			if err := w.r.Accept(w.Context(), router.NewSession(), lsn.EncodeToken(pos)); !errors.Is(err, router.ErrUnknownTimeline) {
				t.Errorf("by %d µs: a token of a timeline that nobody has seen: %v, want %v", step, err, router.ErrUnknownTimeline)
			}
		})
	}
}
