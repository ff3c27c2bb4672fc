package router_test

import (
	"context"
	"errors"
	"testing"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// in runs one read in session s through Borrow, on a replica that is not
// among not.
func (w *world) in(s *router.Session, not ...string) router.Decision {
	w.Helper()
	q := w.r.NewRequest(router.LevelSession)
	for _, name := range not {
		q.Exclude.Add(w.node(name))
	}
	c := s.Borrow(w.r)
	defer s.Return(c)
	return w.pick(q, c)
}

// pick routes and runs one read.
func (w *world) pick(q *router.Request, c *router.Chain) router.Decision {
	w.Helper()
	d, err := w.r.Pick(w.Context(), q, c)
	if err != nil {
		w.Fatal(err)
	}
	switch d.Role {
	case router.RoleReplica:
		if !d.Node.Covers(d.Floor, 0, 0) {
			w.Errorf("the node does not cover its own decision: %s", describe(d))
		}
		c.SawReplica(d.Node)
	case router.RolePrimary:
		c.SawPrimary()
	}
	d.Done()
	return d
}

func TestSessionReadsItsWrites(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		s, other := router.NewSession(), router.NewSession()
		before := s.Ticket()
		w.servers["p"].insert(2000)
		s.Wrote(w.r)
		if s.Ticket() == before {
			t.Error("the session's ticket did not change with a write")
		}
		w.servers["b"].replay(2000)
		w.settle()
		w.want(w.in(s), "b covered")
		w.want(w.in(s, "b"), "p not_covered")
		w.want(w.in(other, "b"), "a redo")
	})
}

func TestSessionNeverGoesBackwards(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		s := router.NewSession()
		w.want(w.in(s, "b"), "a redo")
		w.servers["p"].insert(2000)
		w.servers["a"].replay(2000)
		w.settle()
		w.want(w.in(s, "b"), "a redo") // sees another's write
		w.want(w.in(s, "a"), "p not_covered")
		w.servers["b"].replay(2000)
		w.settle()
		w.want(w.in(s, "a"), "b redo")
	})
}

// A chain that was lent while the session's own was out has seen something: the
// session does not go back behind that either.
func TestSessionRemembersConcurrentReads(t *testing.T) {
	for name, returnOwnFirst := range map[string]bool{"own first": true, "own last": false} {
		t.Run(name, func(t *testing.T) {
			run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
				s := router.NewSession()
				w.want(w.in(s, "a"), "b redo")
				w.want(w.in(s, "a"), "b redo")
				own, second := s.Borrow(w.r), s.Borrow(w.r)
				if own == second {
					t.Fatal("one chain was lent twice")
				}
				w.servers["p"].insert(2000)
				w.servers["a"].replay(2000)
				w.settle()
				q := w.r.NewRequest(router.LevelSession)
				q.Exclude.Add(w.node("b"))
				w.want(w.pick(q, second), "a redo")
				if returnOwnFirst {
					s.Return(own)
					s.Return(second)
				} else {
					s.Return(second)
					s.Return(own)
				}
				w.want(w.in(s, "a"), "p not_covered")
			})
		})
	}
}

func TestTokenJoinsSessions(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		s, other := router.NewSession(), router.NewSession()
		w.servers["p"].insert(2000)
		s.Wrote(w.r)
		headers := make(map[string]string)
		if err := w.r.Inject(router.WithSession(w.Context(), s), func(k, v string) { headers[k] = v }); err != nil {
			t.Fatal(err)
		}
		w.servers["b"].replay(2000)
		w.settle()
		w.want(w.in(other, "b"), "a redo")
		ctx, err := w.r.Extract(w.Context(), func(k string) string { return headers[k] })
		if err != nil {
			t.Fatal(err)
		}
		got := router.SessionFrom(ctx)
		if got == nil || got == s {
			t.Fatal("Extract gave no session of its own")
		}
		w.want(w.in(got), "b covered")
		w.want(w.in(got, "b"), "p not_covered")
		if err := w.r.Accept(w.Context(), other, headers[router.TokenKey]); err != nil {
			t.Fatal(err)
		}
		w.want(w.in(other, "b"), "p not_covered")
	})
}

// A token covers what the session only saw, too.
func TestTokenCoversReads(t *testing.T) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		s, other := router.NewSession(), router.NewSession()
		w.servers["p"].insert(2000)
		w.servers["b"].replay(2000)
		w.settle()
		w.want(w.in(s, "a"), "b redo")
		token, err := w.r.Token(w.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.r.Accept(w.Context(), other, token); err != nil {
			t.Fatal(err)
		}
		w.want(w.in(other, "b"), "p not_covered")
	})
}

// A token right after a write takes the write's own ticket.
func TestTokenAfterWriteCostsNothing(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		s := router.NewSession()
		s.Wrote(w.r)
		before := w.r.Stats().Tickets
		for range 3 {
			if _, err := w.r.Token(w.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		if n := w.r.Stats().Tickets - before; n != 0 {
			t.Errorf("three tokens of a session that did nothing since its write took %d tickets", n)
		}
	})
}

func TestAcceptRefusesBadTokens(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		token, err := w.r.Token(w.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		good, err := lsn.ParseToken(token)
		if err != nil {
			t.Fatal(err)
		}
		foreign, future, unknown := good, good, good
		foreign.SystemID++
		future.LSN += 1 << 30
		unknown.Timeline += 5
		for name, test := range map[string]struct {
			token string
			want  error
		}{
			"malformed": {"pgr1_nonsense", lsn.ErrToken},
			"foreign":   {lsn.EncodeToken(foreign), router.ErrForeignToken},
			"future":    {lsn.EncodeToken(future), router.ErrFutureToken},
			"timeline":  {lsn.EncodeToken(unknown), router.ErrUnknownTimeline},
		} {
			s := router.NewSession()
			err := w.r.Accept(w.Context(), s, test.token)
			var bad *router.TokenError
			if !errors.Is(err, test.want) || !errors.As(err, &bad) || bad.SQLState() != "22023" {
				t.Errorf("%s: %v, want a TokenError that wraps %v", name, err, test.want)
			}
			w.want(w.in(s), "a covered") // nothing was raised
		}
		// An error that is not the token's is no TokenError.
		ctx, cancel := context.WithCancel(w.Context())
		cancel()
		w.servers["p"].kill(true)
		w.settle()
		var bad *router.TokenError
		if err := w.r.Accept(ctx, router.NewSession(), token); !errors.Is(err, context.Canceled) || errors.As(err, &bad) {
			t.Errorf("without a primary: %v, want the context's error", err)
		}
	})
}
