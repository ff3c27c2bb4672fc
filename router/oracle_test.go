package router_test

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

func TestOracleAsksOncePerRoundTrip(t *testing.T) {
	c := newCluster("a")
	const rtt, tickets = 5 * time.Millisecond, 10_000
	c.servers["p"].rtt = rtt
	run(t, c, router.Config{}, func(w *world) {
		before, began := w.r.Stats().PositionCalls, time.Now()
		var worst atomic.Int64
		var wg sync.WaitGroup
		for range tickets { // 10,000 per second, each waited for
			time.Sleep(time.Second / tickets)
			asked := time.Now()
			gen := w.r.Ticket()
			wg.Go(func() {
				if _, err := w.r.WaitTicket(w.Context(), gen); err != nil {
					t.Error(err)
				}
				if d := int64(time.Since(asked)); d > worst.Load() {
					worst.Store(d)
				}
			})
		}
		wg.Wait()
		calls, elapsed := w.r.Stats().PositionCalls-before, time.Since(began)
		if most := uint64(1.1 * float64(elapsed) / float64(rtt)); calls > most || calls < most/2 {
			t.Errorf("%d position calls in %s, at most %d are allowed", calls, elapsed, most)
		}
		if d := time.Duration(worst.Load()); d > 2*rtt+2*time.Millisecond {
			t.Errorf("the slowest ticket took %s", d)
		}
	})
}

func TestOraclePacesTicketsThatNobodyWaitsFor(t *testing.T) {
	run(t, newCluster("a"), router.Config{TicketPace: 10 * time.Millisecond}, func(w *world) {
		before := w.r.Stats().PositionCalls
		for range 1000 {
			time.Sleep(time.Millisecond)
			w.r.Ticket()
		}
		if n := w.r.Stats().PositionCalls - before; n < 90 || n > 110 {
			t.Errorf("%d position calls in a second", n)
		}
		gen := w.r.Ticket()
		asked := time.Now()
		if _, err := w.r.WaitTicket(w.Context(), gen); err != nil {
			t.Error(err)
		}
		if d := time.Since(asked); d > time.Millisecond {
			t.Errorf("who waits was kept waiting for %s", d)
		}
	})
}

func TestOracleNormalisesInsertPosition(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		// A record ends with its page: insert points behind the next header.
		w.servers["p"].set(func(st *router.Status) { st.Insert, st.Flush = 8192+24, 8192 })
		c.Wrote()
		w.servers["a"].replay(8192)
		w.want(c.read(), "a waited")
	})
}

func TestPositionFlush(t *testing.T) {
	run(t, newCluster("a"), router.Config{Position: router.PositionFlush}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		w.servers["p"].set(func(st *router.Status) { st.Insert, st.Flush = 3000, 2000 })
		c.Wrote()
		w.servers["a"].replay(2000)
		w.want(c.read(), "a waited")
		// A token of a neighbour that works with insert positions is none of
		// the future.
		answer, err := w.r.WaitTicket(w.Context(), c.Ticket())
		if err != nil {
			t.Fatal(err)
		}
		pos := w.r.TokenPosition(answer)
		if pos.LSN != 2000 {
			t.Errorf("position %s", pos)
		}
		pos.LSN = 3000
		if _, err := w.r.TokenFloor(pos, answer); err != nil {
			t.Error(err)
		}
	})
}

func TestNudge(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		p, a := w.servers["p"], w.servers["a"]
		c := w.client(nil)
		first(w, c)
		// The replica follows what is flushed.
		go func() {
			for w.Context().Err() == nil {
				time.Sleep(100 * time.Microsecond)
				p.mu.Lock()
				flush := p.st.Flush
				p.mu.Unlock()
				a.set(func(st *router.Status) { st.Replay = max(st.Replay, flush) })
				if flush >= 3000 {
					return
				}
			}
		}()
		p.set(func(st *router.Status) { st.Insert = 2000 }) // not flushed
		c.Wrote()
		d := c.read()
		w.want(d, "a waited")
		if d.Waited > 5*time.Millisecond {
			t.Errorf("waited %s", d.Waited)
		}
		if n := w.r.Stats().Nudges; n != 1 {
			t.Errorf("%d nudges, want 1", n)
		}
		// What is flushed needs none.
		p.insert(3000)
		c.Wrote()
		w.want(c.read(), "a waited")
		if n := w.r.Stats().Nudges; n != 1 {
			t.Errorf("%d nudges, want still 1", n)
		}
	})
}

func TestOracleSurvivesItsConnection(t *testing.T) {
	run(t, newCluster("a"), router.Config{}, func(w *world) {
		c := w.client(nil)
		first(w, c)
		era := w.r.Topology().Era()
		for i := range 20 {
			l := lsn.LSN(2000 + i)
			w.servers["a"].replay(l)
			w.servers["p"].kill(false)
			c.write(l)
			c.Wait = time.Second
			w.want(c.read(), "a waited")
			time.Sleep(time.Second)
		}
		if e := w.r.Topology().Era(); e != era {
			t.Errorf("era %d instead of %d although the primary is the same", e, era)
		}
	})
}

// racing is a Prober of a primary that commits as fast as it can, without any
// delay, so that real goroutines race.
type racing struct{ commit atomic.Uint64 }

func (p *racing) Connect(context.Context, router.Addr) (router.Probe, error) { return p, nil }

func (p *racing) Identify(context.Context) (router.Status, error) {
	l := lsn.LSN(p.commit.Load())
	return router.Status{SystemID: 1, Timeline: 1, BeginKnown: true, Incarnation: 1, Insert: l, Flush: l}, nil
}

func (p *racing) Replay(context.Context) (router.Reading, error) { return router.Reading{}, nil }

func (p *racing) Insert(context.Context) (lsn.LSN, lsn.LSN, error) {
	l := lsn.LSN(p.commit.Load())
	return l, l, nil
}

func (p *racing) Nudge(context.Context) error { return nil }
func (p *racing) Close() error                { return nil }

func TestTicketIsAnsweredByLaterQuery(t *testing.T) {
	src, err := router.Static("p:1")
	if err != nil {
		t.Fatal(err)
	}
	prober := new(racing)
	prober.commit.Store(1 << 20)
	r, err := router.New(router.Config{Source: src, Prober: prober, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 2000 {
				// Multiples of a page are their own normal form.
				mine := lsn.LSN(prober.commit.Add(8192))
				gen := r.Ticket()
				if i%50 == 0 {
					if _, err := r.WaitTicket(ctx, gen); err != nil {
						t.Error(err)
						return
					}
				}
				if f, ok := r.Answer(gen); ok && f.LSN < mine {
					t.Errorf("ticket %d after a commit at %s was answered with %s", gen, mine, f.LSN)
					return
				}
			}
		})
	}
	wg.Wait()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
