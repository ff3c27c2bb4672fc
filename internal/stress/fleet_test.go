package stress_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
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
// their number divided by the pace, whatever their clients do, and those whose
// clients do nothing ask nobody anything but at the slow pace of health.
func TestFleet(t *testing.T) {
	// A router has a monitor and one to ask for positions, and at times one more
	// to nudge, on the primary.
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1, Settings: map[string]string{
		"max_connections": strconv.Itoa(3**fleetFlag + 50), "max_wal_senders": "5"}})
	primary, replica := c.Primary(), c.Replicas()[0]
	for _, pace := range fleetPaces {
		t.Run(fmt.Sprintf("pace %v", pace), func(t *testing.T) {
			members := make([]*fleetMember, *fleetFlag)
			for i := range members {
				members[i] = startFleetMember(t, primary.Addr(), replica.Addr(), pace)
			}
			ctx, cancel := context.WithTimeout(t.Context(), *fleetForFlag)
			defer cancel()
			began, used := time.Now(), [2]time.Duration{fleetCPU(t, primary), fleetCPU(t, replica)}
			for _, m := range members {
				m.begin()
			}
			var cycles latencies
			var wg sync.WaitGroup
			for i, m := range members {
				if pause, works := fleetWork(i); works {
					// Ends with ctx; waited for below.
					wg.Go(func() { fleetClient(ctx, t, m.router, pause, &cycles) })
				}
			}
			<-ctx.Done()
			wg.Wait()
			var calls, questions, replicas uint64
			for _, m := range members {
				calls += m.router.Stats().PositionCalls - m.calls
				questions += m.primary.n.Load() - m.primary.before
				replicas += m.replica.n.Load() - m.replica.before
			}
			elapsed := time.Since(began)
			used[0], used[1] = fleetCPU(t, primary)-used[0], fleetCPU(t, replica)-used[1]
			perSecond := func(n uint64) float64 { return float64(n) / elapsed.Seconds() }
			percent := func(d time.Duration) float64 { return 100 * d.Seconds() / elapsed.Seconds() }
			t.Logf("%d routers, pace %v: %.0f write-and-read cycles/s, p50 %v, p99 %v", len(members), pace, perSecond(uint64(cycles.len())), us(cycles.percentile(50)), us(cycles.percentile(99)))
			t.Logf("primary: %.0f position calls/s, %.0f questions/s in all; %.1f%% of a processor; %d connections", perSecond(calls), perSecond(questions), percent(used[0]), len(fleetBackends(t, primary)))
			t.Logf("replica: %.0f questions/s; %.1f%% of a processor; %d connections", perSecond(replicas), percent(used[1]), len(fleetBackends(t, replica)))
			if cycles.len() == 0 || calls == 0 {
				t.Errorf("%d cycles, %d position calls: nothing was measured", cycles.len(), calls)
			}
			if pace > 0 {
				// What was begun before the count and ended in it is one call more.
				if most := uint64(len(members)) * (uint64(elapsed/pace) + 2); calls > most {
					t.Errorf("%d position calls in %v, the budget is %d", calls, elapsed, most)
				}
			}
			for i, m := range members {
				if _, works := fleetWork(i); works {
					continue
				}
				ticks := uint64(elapsed/m.router.Config().HealthInterval) + 2
				if n := m.replica.n.Load() - m.replica.before; n > ticks {
					t.Errorf("router %d, which nobody uses, asked the replica %d questions in %v, the budget is %d", i, n, elapsed, ticks)
				}
				// And once in a while the one who is asked for positions, too.
				if n := m.primary.n.Load() - m.primary.before; n > ticks+uint64(elapsed/time.Second)+2 {
					t.Errorf("router %d, which nobody uses, asked the primary %d questions in %v, the budget is %d", i, n, elapsed, ticks)
				}
			}
		})
	}
}

// fleetWork says whether a client uses router i, and how long that rests
// between two cycles.
func fleetWork(i int) (pause time.Duration, works bool) {
	switch i % fleetEvery {
	case 0:
		return 0, true
	case 1, 2:
		return fleetRare, true
	}
	return 0, false
}

// fleetMember is one router and what it asks.
type fleetMember struct {
	router           *router.Router
	primary, replica questions
	calls            uint64 // position calls at the beginning
}

// questions counts what was sent to one server, before those of the beginning.
type questions struct {
	n      atomic.Uint64
	before uint64
}

// startFleetMember returns a router that has settled. The next one begins only
// then: a hundred at once would have a slow machine busy with their logins for
// longer than they wait for them.
func startFleetMember(t *testing.T, primary, replica string, pace time.Duration) *fleetMember {
	t.Helper()
	const patience = time.Minute // how fast servers answer is not judged
	prober, err := pgprobe.New(pgprobe.Config{DSN: monitorDSN, CallTimeout: patience, StatementTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := prober.Close(); err != nil {
			t.Errorf("close the prober: %v", err)
		}
	})
	src, err := router.Static(primary, replica)
	if err != nil {
		t.Fatal(err)
	}
	m := &fleetMember{}
	m.router = startRouter(t, router.Config{Source: src, PositionPace: pace, Wait: time.Second, ProbeTimeout: patience,
		Prober: countingProber{prober, map[string]*questions{primary: &m.primary, replica: &m.replica}}})
	if err := m.router.WaitTopology(t.Context(), func(top *router.Topology) bool { return top.Primary != nil && top.Replicas() == 1 }); err != nil {
		t.Fatal(err)
	}
	if _, err := m.router.WaitTicket(t.Context(), m.router.Ticket()); err != nil {
		t.Fatal(err)
	}
	return m
}

// begin begins to count.
func (m *fleetMember) begin() {
	m.calls = m.router.Stats().PositionCalls
	m.primary.before, m.replica.before = m.primary.n.Load(), m.replica.n.Load()
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

// fleetBackends returns the server processes of n that serve routers now.
func fleetBackends(t *testing.T, n *cluster.Node) []string {
	t.Helper()
	pids, err := n.QueryString(t.Context(), "SELECT coalesce(string_agg(pid::text, ' '), '') FROM pg_stat_activity WHERE application_name = 'pgroute'")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(pids)
}

// fleetCPU is the processor time of these.
func fleetCPU(t *testing.T, n *cluster.Node) time.Duration {
	t.Helper()
	var sum time.Duration
	for _, pid := range fleetBackends(t, n) {
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

// countingProber counts the questions to each server, by its name.
type countingProber struct {
	router.Prober
	questions map[string]*questions
}

func (p countingProber) Connect(ctx context.Context, addr router.Addr) (router.Probe, error) {
	probe, err := p.Prober.Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	return countingProbe{probe.(able), p.questions[addr.Name]}, nil
}

// able is all that a probe of pgprobe can do.
type able interface {
	router.Probe
	router.Parker
	router.Napper
	router.Witness
}

type countingProbe struct {
	able
	q *questions
}

func (p countingProbe) Identify(ctx context.Context) (router.Status, error) {
	p.q.n.Add(1)
	return p.able.Identify(ctx)
}

func (p countingProbe) Replay(ctx context.Context) (router.Reading, error) {
	p.q.n.Add(1)
	return p.able.Replay(ctx)
}

func (p countingProbe) Insert(ctx context.Context) (insert, flush lsn.LSN, err error) {
	p.q.n.Add(1)
	return p.able.Insert(ctx)
}

func (p countingProbe) Nudge(ctx context.Context) error {
	p.q.n.Add(1)
	return p.able.Nudge(ctx)
}

func (p countingProbe) Park(ctx context.Context, target lsn.LSN, timeout time.Duration) (router.Reading, error) {
	p.q.n.Add(1)
	return p.able.Park(ctx, target, timeout)
}

func (p countingProbe) Snapshot(ctx context.Context) (router.Snapshot, error) {
	p.q.n.Add(1)
	return p.able.Snapshot(ctx)
}

func (p countingProbe) Early(ctx context.Context, s router.Snapshot) ([]uint64, error) {
	p.q.n.Add(1)
	return p.able.Early(ctx, s)
}
