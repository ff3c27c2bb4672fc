package cluster_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

// until returns when done says so. The test's own time limit ends it.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal(what, ": ", t.Context().Err())
		}
	}
}

// TestClocks: a server of Patroni's lives with a clock that is set forward and
// back, also through a crash, and nobody else's is touched.
func TestClocks(t *testing.T) {
	if testing.Short() || !cluster.PatroniInstalled() || !cluster.ClocksInstalled() {
		t.Skip("needs Patroni, ZooKeeper and libfaketime, and takes seconds")
	}
	p := cluster.StartPatroni(t, 2, cluster.PatroniOptions{Clocks: true, TTL: 60}) // nobody else is to lead
	ctx := t.Context()
	leader, err := p.Leader(ctx)
	must(t, err)
	pid := leader.PostgresPID()
	wrong := func(m *cluster.PatroniMember, what string) time.Duration {
		t.Helper()
		text, err := m.QueryString(ctx, "SELECT extract(epoch FROM "+what+")::text")
		must(t, err)
		seconds, err := strconv.ParseFloat(text, 64)
		must(t, err)
		return time.Until(time.UnixMicro(int64(seconds * 1e6))).Round(10 * time.Minute)
	}
	const started = "(SELECT max(backend_start) FROM pg_stat_activity WHERE backend_type = 'checkpointer')"
	for _, d := range []time.Duration{time.Hour, -2 * time.Hour} {
		must(t, leader.SetClock(d))
		until(t, "the clock is wrong", func() bool { return wrong(leader, "clock_timestamp()") == d })
		was, err := leader.QueryString(ctx, "SELECT "+started+"::text")
		must(t, err)
		must(t, leader.CrashPostgres(ctx))
		until(t, "another life begins", func() bool {
			is, err := leader.QueryString(ctx, "SELECT coalesce("+started+"::text, '')")
			return err == nil && is != "" && is != was
		})
		if w := wrong(leader, started); w != d {
			t.Errorf("the clock is wrong by %v, and the life that has begun by %v", d, w)
		}
		for _, m := range p.Members() {
			if w := wrong(m, "clock_timestamp()"); m != leader && w != 0 {
				t.Errorf("the clock of %s is wrong by %v", m, w)
			}
		}
	}
	must(t, p.WaitSteady(ctx))
	if now, err := p.Leader(ctx); err != nil || now != leader || leader.PostgresPID() != pid {
		t.Errorf("%v leads with process %d, want %v with %d: %v", now, leader.PostgresPID(), leader, pid, err)
	}
}
