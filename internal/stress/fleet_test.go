package stress_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
)

var (
	fleetFlag    = flag.Int("stress.fleet", 12, "how many routers TestFleet runs against one cluster; the goal is 200")
	fleetForFlag = flag.Duration("stress.fleet-for", time.Second, "how long TestFleet measures each pace")
)

// fleetPaces are the paces that TestFleet compares, by position_pace.
var fleetPaces = []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 50 * time.Millisecond}

const (
	// Of ten routers of the fleet one writes and reads all the time, two now and
	// then, and the others only watch.
	fleetEvery = 10
	fleetRare  = 20 * time.Millisecond
)

// A fleet of routers asks the primary for its position no more often than
// their number divided by the pace, whatever their clients do.
func TestFleet(t *testing.T) {
	// A router has a monitor and one to ask for positions, and at times one more
	// to nudge, on the primary.
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1, Settings: map[string]string{
		"max_connections": strconv.Itoa(3**fleetFlag + 50), "max_wal_senders": "5"}})
	for _, pace := range fleetPaces {
		t.Run(fmt.Sprintf("pace %v", pace), func(t *testing.T) {
			routers := make([]*router.Router, *fleetFlag)
			for i := range routers {
				src, err := router.Static(c.Primary().Addr(), c.Replicas()[0].Addr())
				if err != nil {
					t.Fatal(err)
				}
				routers[i] = startRouter(t, router.Config{Source: src, Prober: newProber(t), PositionPace: pace, Wait: time.Second})
			}
			for _, r := range routers {
				if err := r.WaitTopology(t.Context(), func(top *router.Topology) bool { return top.Primary != nil && top.Replicas() == 1 }); err != nil {
					t.Fatal(err)
				}
				if _, err := r.WaitTicket(t.Context(), r.Ticket()); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), *fleetForFlag)
			defer cancel()
			calls, before, began := positionCalls(routers), clusterCPU(t, c), time.Now()
			var cycles latencies
			var wg sync.WaitGroup
			for i, r := range routers {
				var pause time.Duration
				switch i % fleetEvery {
				case 0:
				case 1, 2:
					pause = fleetRare
				default:
					continue
				}
				// Ends with ctx; waited for below.
				wg.Go(func() { fleetClient(ctx, t, r, pause, &cycles) })
			}
			<-ctx.Done()
			wg.Wait()
			elapsed := time.Since(began)
			calls = positionCalls(routers) - calls
			cpu := clusterCPU(t, c) - before
			var conns [2]string
			for i, n := range c.Nodes() {
				var err error
				conns[i], err = n.QueryString(t.Context(), "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'pgroute'")
				if err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("%d routers, pace %v: %.0f position calls/s; %.0f write-and-read cycles/s, p50 %v, p99 %v; the primary's server processes used %.1f%% of a processor; connections: primary %s, replica %s",
				len(routers), pace, float64(calls)/elapsed.Seconds(), float64(cycles.len())/elapsed.Seconds(), us(cycles.percentile(50)), us(cycles.percentile(99)),
				100*cpu.Seconds()/elapsed.Seconds(), conns[0], conns[1])
			if cycles.len() == 0 || calls == 0 {
				t.Errorf("%d cycles, %d position calls: nothing was measured", cycles.len(), calls)
			}
			if pace > 0 {
				// What was begun before the count and ended in it is one call more.
				if most := uint64(len(routers)) * (uint64(elapsed/pace) + 2); calls > most {
					t.Errorf("%d position calls in %v, the budget is %d", calls, elapsed, most)
				}
			}
		})
	}
}

// fleetClient says that it has written and waits until a read is decided. It
// writes nothing, so that all the work that the servers have is the fleet's.
func fleetClient(ctx context.Context, t *testing.T, r *router.Router, pause time.Duration, cycles *latencies) {
	session := r.NewSession()
	for rest(ctx, pause) {
		began := time.Now()
		session.Wrote(r)
		chain := session.Borrow(r)
		d, err := r.Pick(ctx, r.NewRequest(router.LevelSession), chain)
		session.Return(chain)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			t.Errorf("route: %v", err)
			return
		}
		d.Done()
		cycles.add(time.Since(began))
	}
}

func positionCalls(routers []*router.Router) uint64 {
	var n uint64
	for _, r := range routers {
		n += r.Stats().PositionCalls
	}
	return n
}

// clusterCPU is the processor time of the primary's server processes for
// pgroute that live now.
func clusterCPU(t *testing.T, c *cluster.Cluster) time.Duration {
	t.Helper()
	pids, err := c.Primary().QueryString(t.Context(), "SELECT coalesce(string_agg(pid::text, ' '), '') FROM pg_stat_activity WHERE application_name = 'pgroute'")
	if err != nil {
		t.Fatal(err)
	}
	var sum time.Duration
	for _, pid := range strings.Fields(pids) {
		stat, err := os.ReadFile("/proc/" + pid + "/schedstat") // nanoseconds on a processor first
		if err != nil {
			continue // it has ended, or this is not Linux
		}
		var ns int64
		if _, err := fmt.Sscan(string(stat), &ns); err != nil {
			t.Fatalf("read /proc/%s/schedstat: %v", pid, err)
		}
		sum += time.Duration(ns)
	}
	return sum
}
