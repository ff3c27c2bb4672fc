package stress_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// onlyStopped demands that clients of a kind saw nothing but the end of servers
// under what they were doing.
func onlyStopped(t *testing.T, when string, legs map[string]leg, kinds ...string) {
	t.Helper()
	for _, kind := range kinds {
		n := 0
		for text, times := range legs[kind].errors {
			n += times
			if !stoppedServer(text) {
				t.Errorf("%s: a %s saw %s", when, kind, text)
			}
		}
		// A statement that begins on a connection whose end has not arrived yet
		// gets an error, too: there are no more than connections.
		if connections := 20; n > connections {
			t.Errorf("%s: two clients saw %d errors, and there were %d connections: a %s: %v", when, n, connections, kind, legs[kind])
		}
	}
}

// TestScheduledSwitchoverIsHeldInTime: a switchover that is announced long
// before it happens holds nobody back until its time has come, and then nobody
// sees an error.
func TestScheduledSwitchoverIsHeldInTime(t *testing.T) {
	p, s := patroniLab(t, 2, nil)
	leader, err := p.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	next := p.Members()[0]
	if next == leader {
		next = p.Members()[1]
	}
	tr := startTraffic(t, s)
	at := time.Now().Add(12 * time.Second).Truncate(time.Second)
	if err := p.ScheduleSwitchover(t.Context(), next, at); err != nil {
		t.Fatal(err)
	}
	r := s.srv.Router()
	if err := r.WaitTopology(t.Context(), func(t *router.Topology) bool { return !t.Switchover.IsZero() }); err != nil {
		t.Fatal(err)
	}
	if announced := r.Topology().Switchover; !announced.At.Equal(at) || announced.Leader != leader.Name || announced.Candidate != next.Name {
		t.Errorf("announced is %+v", announced)
	}
	tr.goesOn("between the announcement and the switchover")
	early := time.Now()
	// When does new work begin to wait, and is the old primary's end later?
	var held time.Time
	err = until(t.Context(), "the switchover", func() (bool, error) {
		_, _, rerr := r.Primary()
		if e, ok := errors.AsType[*router.RouteError](rerr); ok && held.IsZero() && strings.HasPrefix(e.Detail, "a switchover from "+leader.Name) {
			held = time.Now()
		}
		n := r.Topology().Primary
		return n != nil && n.Name == next.Name, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	changed := time.Now()
	switch {
	case held.IsZero():
		t.Error("new work was not held back")
	case held.Before(at.Add(-600 * time.Millisecond)): // the lead, and that clocks of a computer differ by little
		t.Errorf("new work was held back %v too early", at.Sub(held))
	}
	t.Logf("clients went on until %v before; new work waited from %v on, the new primary took over after %v", at.Sub(early).Round(time.Millisecond),
		held.Sub(at).Round(time.Millisecond), changed.Sub(at).Round(time.Millisecond))
	tr.goesOn("after the switchover")
	noErrors(t, "scheduled switchover", tr.report("scheduled switchover"))
}

// TestNobodyTakesOverInMaintenance: while Patroni is paused nobody follows a
// primary that is gone: reads go on, writes wait until it is back.
func TestNobodyTakesOverInMaintenance(t *testing.T) {
	p, s := patroniLab(t, 3, nil)
	leader, err := p.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Configure(t.Context(), map[string]any{"pause": true}); err != nil {
		t.Fatal(err)
	}
	r := s.srv.Router()
	if err := r.WaitTopology(t.Context(), func(t *router.Topology) bool { return t.Management.Paused }); err != nil {
		t.Fatal(err)
	}
	tr := startTraffic(t, s)
	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	err = until(t.Context(), "Patroni would have failed over by now", func() (bool, error) {
		top := r.Topology()
		return time.Since(killed) > 12*time.Second && top.Primary == nil && strings.Contains(top.Reason, "paused"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range p.Members() {
		if m == leader {
			continue
		}
		if v, err := m.QueryString(t.Context(), "SELECT pg_is_in_recovery()"); v != "t" || err != nil {
			t.Errorf("%s: in recovery: %q, %v", m.Name, v, err)
		}
	}
	tr.goesOn("while nobody leads", "own read", "stale read", "eventual read")
	legs := tr.report("primary killed in maintenance mode")
	noErrors(t, "in maintenance", legs, "read", "own read", "stale read", "eventual read")
	onlyStopped(t, "in maintenance", legs, "write", "transaction")
	if err := errors.Join(leader.Start(), p.Configure(t.Context(), map[string]any{"pause": nil})); err != nil {
		t.Fatal(err)
	}
	tr.goesOn("after its return")
	legs = tr.report("after the primary's return")
	noErrors(t, "after its return", legs, "read", "own read", "stale read", "eventual read")
	onlyStopped(t, "after its return", legs, "write", "transaction")
}

// TestStandbyCluster: when a cluster is made to follow another one nobody takes
// writes: they wait. Reads go on for who knows the cluster; a proxy that starts
// then has no position to compare with, and serves nothing.
func TestStandbyCluster(t *testing.T) {
	p, s := patroniLab(t, 2, nil)
	tr := startTraffic(t, s)
	// There is nobody at that address: the servers keep what they have.
	if err := p.Configure(t.Context(), map[string]any{"standby_cluster": map[string]any{"host": "127.0.0.1", "port": 1}}); err != nil {
		t.Fatal(err)
	}
	r := s.srv.Router()
	err := r.WaitTopology(t.Context(), func(t *router.Topology) bool {
		return t.Primary == nil && strings.Contains(t.Reason, "standby cluster")
	})
	if err != nil {
		t.Fatal(err)
	}
	tr.goesOn("in the standby cluster", "own read", "stale read", "eventual read")
	legs := tr.report("standby cluster")
	noErrors(t, "standby cluster", legs, "read", "own read", "stale read", "eventual read")
	onlyStopped(t, "standby cluster", legs, "write", "transaction")

	src, err := zookeeper.NewPatroni(zookeeper.Config{Hosts: p.ZooKeeper().Addr(), Path: p.Path(), SessionTimeout: session})
	if err != nil {
		t.Fatal(err)
	}
	late := startSidecar(t, "late", src, func(cfg *proxy.Config) { cfg.Auth, cfg.PrimaryWait = proxy.AuthSCRAM, time.Second })
	conn, err := connect(t.Context(), late.addr, cluster.AppDatabase)
	if err == nil {
		_, err = simple(t.Context(), conn, probeSQL)
		hangUp(conn)
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "57P03" || !strings.Contains(e.Detail, "standby cluster") {
		t.Errorf("a client of a proxy that starts in a standby cluster: %v", err)
	}

	if err := p.Configure(t.Context(), map[string]any{"standby_cluster": nil}); err != nil {
		t.Fatal(err)
	}
	tr.goesOn("as a cluster of its own again")
	legs = tr.report("its promotion")
	noErrors(t, "its promotion", legs, "read", "own read", "stale read", "eventual read")
	onlyStopped(t, "its promotion", legs, "write", "transaction")
}

// TestPrimaryIsLost: the machine of the primary is lost, and Patroni promotes
// another server: nobody sees an error but who had something in flight there,
// and everybody goes on.
func TestPrimaryIsLost(t *testing.T) {
	p, s := patroniLab(t, 3, nil)
	leader, err := p.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tr := startTraffic(t, s)
	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}
	err = s.srv.Router().WaitTopology(t.Context(), func(t *router.Topology) bool { return t.Primary != nil && t.Primary.Name != leader.Name })
	if err != nil {
		t.Fatal(err)
	}
	tr.goesOn("after the failover")
	legs := tr.report("primary lost, another is promoted")
	noErrors(t, "the failover", legs, "read", "own read", "stale read", "eventual read")
	onlyStopped(t, "the failover", legs, "write", "transaction")
}
