package router_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// Park holds the answer back like a server with WAIT FOR LSN.
func (p *probe) Park(ctx context.Context, target lsn.LSN, timeout time.Duration) (r router.Reading, err error) {
	end := time.Now().Add(timeout)
	for {
		err := p.trip(ctx, func() { r = router.Reading{Replay: p.s.st.Replay, InRecovery: p.s.st.InRecovery} })
		if err != nil || r.Replay >= target || !r.InRecovery || !time.Now().Before(end) {
			return r, err
		}
	}
}

// parking is a cluster with one replica that holds answers back.
func parking() *cluster {
	c := newCluster("a")
	c.servers["a"].set(func(st *router.Status) { st.Parks = true })
	return c
}

// wrote returns a client that has written at l and knows that it has.
func (w *world) wrote(l lsn.LSN) *client {
	w.Helper()
	c := w.client(nil)
	c.Wait = 10 * time.Second
	c.write(l)
	if _, err := w.r.WaitTicket(w.Context(), c.Ticket()); err != nil {
		w.Fatal(err)
	}
	return c
}

// later begins a read and returns where it will say how it went.
func (c *client) later() <-chan router.Decision {
	decided := make(chan router.Decision, 1)
	go func() {
		decided <- c.decide()
	}()
	synctest.Wait()
	return decided
}

// A replica that can hold its answer back is asked once, and hardly polled.
func TestParkedQuestionWakes(t *testing.T) {
	run(t, parking(), router.Config{}, func(w *world) {
		a := w.servers["a"]
		first := w.wrote(2000)
		decided := first.later() // opens the connection
		time.Sleep(20 * time.Millisecond)
		a.replay(2000)
		w.want(<-decided, "a waited")

		second := w.wrote(3000)
		before := w.r.Stats()
		decided = second.later()
		time.Sleep(300*time.Millisecond + 77*time.Microsecond)
		a.replay(3000)
		passed := time.Now()
		w.want(<-decided, "a waited")
		if late := time.Since(passed); late > 2*a.rtt {
			t.Errorf("woken %v after the replica was there", late)
		}
		after := w.r.Stats()
		if parked, polls := after.Parked-before.Parked, after.Readings-before.Readings; parked != 1 || polls > 13 {
			t.Errorf("%d questions were parked, %d readings asked for", parked, polls)
		}
	})
}

// Who waits for less than what the parked question is about is woken first.
func TestLowerPositionThanParkedFor(t *testing.T) {
	run(t, parking(), router.Config{}, func(w *world) {
		a := w.servers["a"]
		first := w.wrote(2000)
		decided := first.later()
		time.Sleep(20 * time.Millisecond)
		a.replay(2000)
		w.want(<-decided, "a waited")

		low, high := w.wrote(3000), w.wrote(4000)
		highDecided := high.later()
		time.Sleep(10 * time.Millisecond)
		parked := w.r.Stats().Parked
		lowDecided := low.later()
		time.Sleep(10 * time.Millisecond)
		a.replay(3000)
		passed := time.Now()
		w.want(<-lowDecided, "a waited")
		if late := time.Since(passed); late > 5*time.Millisecond {
			t.Errorf("woken %v after the replica was there", late)
		}
		select {
		case <-highDecided:
			t.Error("who waits for more was woken, too")
		default:
		}
		a.replay(4000)
		w.want(<-highDecided, "a waited")
		if w.r.Stats().Parked != parked {
			t.Error("the question that was parked was asked again")
		}
	})
}

// An answer that was held back in an earlier life of the server says nothing
// about this one, however late it comes.
func TestParkedAnswerDiesWithTheMonitorsConnection(t *testing.T) {
	c := parking()
	late := &latePark{cluster: c}
	synctest.Test(t, func(t *testing.T) {
		late.release = make(chan struct{})
		src := newSource(router.Candidates{Nodes: c.nodes})
		src.begin()
		r, err := router.New(router.Config{Source: src, Prober: late, Seed: 1, Logger: silent()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		}()
		w := &world{T: t, cluster: c, r: r}
		w.settle()
		decided := w.wrote(5000).later()
		time.Sleep(20 * time.Millisecond)
		if r.Stats().Parked == 0 {
			t.Fatal("nothing is parked")
		}
		c.servers["a"].restart(func(st *router.Status) { st.Replay = 1200 })
		w.settle()
		close(late.release)
		time.Sleep(20 * time.Millisecond)
		if got := w.node("a").Watermark(); got != 1200 {
			t.Errorf("the replica is believed to be at %s, it is at %s", got, lsn.LSN(1200))
		}
		<-decided // it went to the primary when the replica was gone
	})
}

// latePark is a cluster whose replica had answered a parked question right
// before its life ended; the answer arrives when it is released.
type latePark struct {
	*cluster
	release chan struct{}
}

func (c *latePark) Connect(ctx context.Context, addr router.Addr) (router.Probe, error) {
	p, err := c.cluster.Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &lateProbe{p.(*probe), c}, nil
}

type lateProbe struct {
	*probe
	c *latePark
}

func (p *lateProbe) Park(ctx context.Context, target lsn.LSN, timeout time.Duration) (router.Reading, error) {
	if p.life > 0 {
		return p.probe.Park(ctx, target, timeout)
	}
	// As long as this takes, no context or deadline ends it.
	<-p.c.release
	return router.Reading{Replay: target, InRecovery: true}, nil
}

// A promotion ends the wait, and is noticed by it.
func TestParkedQuestionTellsOfAPromotion(t *testing.T) {
	run(t, parking(), router.Config{}, func(w *world) {
		a := w.servers["a"]
		first := w.wrote(2000)
		decided := first.later()
		time.Sleep(20 * time.Millisecond)
		a.replay(2000)
		w.want(<-decided, "a waited")

		decided = w.wrote(3000).later()
		w.servers["p"].kill(true)
		a.set(func(st *router.Status) {
			st.InRecovery, st.Timeline, st.Begin, st.Insert, st.Flush, st.BeginKnown = false, 2, 2500, 2600, 2600, true
		})
		promoted := time.Now()
		for w.node("a").Role() != router.RolePrimary {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(promoted); took > 50*time.Millisecond {
			t.Errorf("noticed after %v", took)
		}
		<-decided
	})
}

// Nobody is asked for a replay position when nobody waits for one, but for what
// every look at a server's health brings.
func TestNoPollingWithoutWaiters(t *testing.T) {
	for name, c := range map[string]*cluster{"polling": newCluster("a"), "parking": parking()} {
		t.Run(name, func(t *testing.T) {
			run(t, c, router.Config{}, func(w *world) {
				a := w.servers["a"]
				decided := w.wrote(2000).later()
				time.Sleep(20 * time.Millisecond)
				a.replay(2000)
				w.want(<-decided, "a waited")
				time.Sleep(50 * time.Millisecond) // what is parked ends
				before, dials := w.r.Stats(), a.connects()
				time.Sleep(30 * time.Second)
				if after := w.r.Stats(); after.Readings != before.Readings || after.Parked != before.Parked || a.connects() != dials {
					t.Errorf("%d readings, %d parked questions, %d connections in 30 s without anybody who waits",
						after.Readings-before.Readings, after.Parked-before.Parked, a.connects()-dials)
				}
			})
		})
	}
}

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }
