package cluster_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

// table makes a table of one counter, and waits until all nodes have it.
func table(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	must(t, c.Primary().Exec(t.Context(), "CREATE TABLE t AS SELECT 0 AS v"))
	must(t, c.WaitCaughtUp(t.Context()))
}

const increment = "UPDATE t SET v = v + 1"

// waitValue waits until a node shows v.
func waitValue(t *testing.T, n *cluster.Node, want string) {
	t.Helper()
	err := cluster.PollFor(patience, "wait until "+n.Name+" shows "+want, func() (bool, error) {
		got, err := n.QueryString(t.Context(), "SELECT v FROM t")
		return got == want, err
	})
	must(t, err)
}

// Each fault must really hold the replica back, and each cure must end it.
func TestReplicaFallsBehind(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	table(t, c)
	slow, quick := c.Replicas()[0], c.Replicas()[1]
	for i, tt := range []struct {
		name       string
		hold, cure func(context.Context) error
	}{
		{"paused replay", slow.PauseReplay, slow.ResumeReplay},
		{"apply delay",
			func(ctx context.Context) error { return slow.SetApplyDelay(ctx, time.Hour) },
			func(ctx context.Context) error { return slow.SetApplyDelay(ctx, 0) }},
		{"stopped replay", slow.StopReplay, func(context.Context) error { return slow.Thaw() }},
		{"stopped receiver", slow.StopReceiver, func(context.Context) error { return slow.Thaw() }},
		{"cut relay", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.hold == nil {
				relay, err := cluster.NewRelay(c.Primary().Addr(), 0)
				must(t, err)
				t.Cleanup(func() {
					must(t, relay.Close())
				})
				must(t, slow.RepointAddr(t.Context(), "127.0.0.1", relay.Port()))
				tt.hold = func(context.Context) error { relay.Cut(); return nil }
				tt.cure = func(context.Context) error { relay.Heal(); return nil }
			}
			must(t, tt.hold(t.Context()))
			must(t, c.Primary().Exec(t.Context(), increment))
			waitValue(t, quick, strconv.Itoa(i+1))
			if got := query(t, slow, "SELECT v FROM t"); got != strconv.Itoa(i) {
				t.Errorf("the replica shows %s although it is held at %d", got, i)
			}
			if lag, err := slow.Lag(t.Context()); err != nil || lag <= 0 {
				t.Errorf("lag %d, %v", lag, err)
			}
			begin := time.Now()
			must(t, tt.cure(t.Context()))
			waitValue(t, slow, strconv.Itoa(i+1))
			t.Logf("caught up after %v", time.Since(begin))
		})
	}
}

func TestFreezeHangsTheServer(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	replica := c.Replicas()[0]
	must(t, replica.Freeze())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := replica.QueryString(ctx, "SELECT 1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a frozen server answers: %v", err)
	}
	if !replica.Running() {
		t.Error("a frozen server does not run")
	}
	must(t, replica.Thaw())
	query(t, replica, "SELECT 1")
	must(t, c.WaitCaughtUp(t.Context()))
}

// What was committed before a crash is there after it, in every way to crash.
func TestServerComesBack(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	table(t, c)
	for i, mode := range []cluster.StopMode{cluster.Fast, cluster.Immediate, cluster.Kill} {
		for _, n := range c.Nodes() {
			must(t, c.Primary().Exec(t.Context(), increment))
			begin := time.Now()
			must(t, n.Stop(mode))
			if n.Running() || n.PID() != 0 {
				t.Errorf("%s runs after Stop", n)
			}
			must(t, n.Stop(mode)) // there is nothing to stop
			must(t, n.Start(t.Context()))
			t.Logf("%s back after stop in mode %d: %v", n, mode, time.Since(begin))
			if err := n.Start(t.Context()); err == nil {
				t.Error("started twice")
			}
			must(t, c.WaitCaughtUp(t.Context()))
		}
		for _, n := range c.Nodes() {
			waitValue(t, n, strconv.Itoa(2*i+2))
		}
	}
}

// The postmaster survives the death of a backend, and all other backends end.
func TestKillBackend(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	table(t, c)
	p := c.Primary()
	before := p.PID()
	conn, err := p.App(t.Context())
	must(t, err)
	defer conn.Close(t.Context())
	if err := p.KillBackend(t.Context(), c.Replicas()[0].PID()); err == nil {
		t.Fatal("killed another server's process")
	}
	must(t, p.KillBackend(t.Context(), int(conn.PgConn().PID())))
	err = cluster.PollFor(patience, "wait for the recovery", func() (bool, error) {
		return p.Exec(t.Context(), increment) == nil, nil
	})
	must(t, err)
	if p.PID() != before {
		t.Errorf("the postmaster changed from %d to %d", before, p.PID())
	}
	waitValue(t, c.Replicas()[0], "1")
}
