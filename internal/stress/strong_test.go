package stress_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
)

// Strong reads over a slow link cost the primary one position call per round
// trip, however many there are (-stress.tickets says for how long; 10s is the
// goal).
func TestStrongOverASlowLink(t *testing.T) {
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
	r := startRouter(t, router.Config{Source: src, Prober: newProber(t), Wait: time.Minute})
	if err := r.WaitTopology(t.Context(), func(top *router.Topology) bool { return top.Primary != nil && top.Replicas() == 1 }); err != nil {
		t.Fatal(err)
	}
	if _, err := r.WaitTicket(t.Context(), r.Ticket()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), *ticketsFlag)
	defer cancel()
	calls, began := meter.calls(), time.Now()
	var took latencies
	var wg sync.WaitGroup
	for i := range oracleTakers {
		// Ends with ctx; waited for below.
		wg.Go(func() { readStrong(ctx, t, r, &took, i) })
	}
	wg.Wait()
	elapsed := time.Since(began)
	calls = meter.calls() - calls
	most := 1.1 * float64(elapsed) / float64(oracleRTT)
	t.Logf("%d strong reads in %v (%.0f/s): p50 %v, p99 %v; %d position calls, at most %.0f allowed",
		took.len(), elapsed.Round(time.Millisecond), float64(took.len())/elapsed.Seconds(), us(took.percentile(50)), us(took.percentile(99)), calls, most)
	if calls == 0 || float64(calls) > most {
		t.Errorf("%d position calls in %v, at most %.0f are allowed", calls, elapsed, most)
	}
	// None is served by an answer that was asked for before it came.
	if least := took.percentile(0); least < oracleRTT/2 {
		t.Errorf("a strong read was decided after %v, sooner than the link allows", least)
	}
	if *strictFlag && took.len() < int(0.95*oracleRate*elapsed.Seconds()) {
		t.Errorf("only %d reads in %v", took.len(), elapsed)
	}
}

// readStrong decides its share of the reads, evenly over time.
func readStrong(ctx context.Context, t *testing.T, r *router.Router, took *latencies, i int) {
	const period = time.Second * oracleTakers / oracleRate
	next := time.Now().Add(period * time.Duration(i) / oracleTakers)
	var chain router.Chain
	chain.Init(r, r.NewSession(), true)
	q := r.NewRequest(router.LevelStrong)
	for rest(ctx, time.Until(next)) {
		next = next.Add(period)
		began := time.Now()
		d, err := r.Pick(ctx, q, &chain)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			t.Errorf("strong read: %v", err)
			return
		}
		if d.Role != router.RoleReplica {
			t.Errorf("a strong read went to the %s (%s)", d.Role, d.Reason)
		}
		chain.SawReplica(d.Node)
		d.Done()
		took.add(time.Since(began))
	}
}
