package stress_test

import (
	"context"
	"flag"
	"sync"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
)

var (
	ticketsFlag = flag.Duration("stress.tickets", 3*time.Second, "how long TestOracle takes tickets; the goal is 10s")
	strictFlag  = flag.Bool("stress.strict", false, "hold TestOracle to its times on the clock, TestOffload to the default wait, TestSwitchover to no transaction cut off and to -stress.pause-more, and TestFailovers to -stress.resolved and -stress.resume, for a machine that does nothing else")
)

const (
	oracleRTT    = 5 * time.Millisecond
	oracleTakers = 200
	oracleRate   = 10000 // tickets per second
)

// However many tickets are taken, the primary is asked for its position once
// per round trip, and nobody waits for much more than two of them: the one
// that is under way and the one's own.
func TestOracle(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	meter := startMeter(t, c.Primary().Addr())
	relay, err := cluster.NewRelay(meter.addr(), oracleRTT/2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = relay.Close() })
	src, err := router.Static(relay.Addr(), c.Replicas()[0].Addr())
	if err != nil {
		t.Fatal(err)
	}
	var asked latencies
	r := startRouter(t, router.Config{Source: src, Prober: newProber(t), Trace: router.Trace{
		Position: func(took time.Duration, err error) { asked.add(took) },
	}})
	if _, err := r.WaitTicket(t.Context(), r.Ticket()); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), *ticketsFlag)
	defer cancel()
	asked.reset()
	calls, counted, began := meter.calls(), r.Stats().PositionCalls, time.Now()
	var waits, sleeps latencies
	var wg sync.WaitGroup
	for i := range oracleTakers {
		// Ends with ctx; waited for below.
		wg.Go(func() { takeTickets(t, ctx, r, &waits, &sleeps, i) })
	}
	wg.Wait()
	elapsed := time.Since(began)
	calls, counted = meter.calls()-calls, r.Stats().PositionCalls-counted

	most := 1.1 * float64(elapsed) / float64(oracleRTT)
	t.Logf("%d tickets in %v (%.0f/s); %d position calls at the server, %d counted by the router, at most %.0f allowed",
		waits.len(), elapsed.Round(time.Millisecond), float64(waits.len())/elapsed.Seconds(), calls, counted, most)
	t.Logf("ticket: p50 %v, p99 %v, most %v; position call: p50 %v, p99 %v (%v were asked for)", waits.percentile(50), waits.percentile(99),
		waits.percentile(100), asked.percentile(50), asked.percentile(99), oracleRTT)
	if float64(calls) > most {
		t.Errorf("%d position calls in %v: more than %.0f", calls, elapsed, most)
	}
	if calls == 0 || calls+2 < int64(counted) {
		t.Errorf("the meter saw %d position calls, the router sent %d", calls, counted)
	}
	// On a busy machine the round trip is longer than the relay makes it, and
	// whoever is woken has to wait for a processor, as after a sleep.
	rtt, late := max(oracleRTT, asked.percentile(100)), sleeps.percentile(100)
	t.Logf("sleeps ended up to %v late", late)
	if *strictFlag {
		rtt, late = oracleRTT, 0
		if waits.len() < int(0.95*oracleRate*elapsed.Seconds()) {
			t.Errorf("only %d tickets in %v", waits.len(), elapsed)
		}
	}
	if got, limit := waits.percentile(99), 2*rtt+2*time.Millisecond+late; got > limit {
		t.Errorf("99%% of the tickets were answered within %v, %v is asked for", got, limit)
	}
}

// takeTickets takes its share of the tickets, evenly over time, and waits for
// each. It notes how long that took, and how late its sleeps in between ended.
func takeTickets(t *testing.T, ctx context.Context, r *router.Router, waits, sleeps *latencies, i int) {
	const period = time.Second * oracleTakers / oracleRate
	next := time.Now().Add(period * time.Duration(i) / oracleTakers)
	for {
		asleep := time.Now()
		if !rest(ctx, next.Sub(asleep)) {
			return
		}
		began := time.Now()
		sleeps.add(began.Sub(asleep) - max(0, next.Sub(asleep)))
		next = next.Add(period)
		_, err := r.WaitTicket(ctx, r.Ticket())
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			t.Errorf("ticket: %v", err)
			return
		}
		waits.add(time.Since(began))
	}
}

// startRouter runs a router without a proxy.
func startRouter(t testing.TB, cfg router.Config) *router.Router {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = logger("router")
	}
	r, err := router.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	// Ends with ctx; the cleanup waits for it.
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("router: %v", err)
		}
	})
	return r
}
