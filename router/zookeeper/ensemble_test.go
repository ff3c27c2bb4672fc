package zookeeper_test

import (
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// An ensemble of three goes on without any one of its members, also without its
// leader: what it says then is followed, and nodes stay registered. A member
// that has lost the others and serves as read-only proves nothing.
func TestEnsemble(t *testing.T) {
	if testing.Short() || !cluster.ZooKeeperInstalled() {
		t.Skip("needs ZooKeeper, and takes seconds")
	}
	e := cluster.StartEnsemble(t, 3, cluster.ZooKeeperOptions{JavaFlags: []string{"-Dreadonlymode.enabled=true"}})
	noLeaks(t)
	ctx := t.Context()
	cfg := zookeeper.Config{Hosts: e.Hosts(), Path: "/p", SessionTimeout: 6 * time.Second}
	agent := register(t, cfg)
	must(t, agent.Node("n1", zookeeper.Node{Host: "h", Port: 1}))
	agent.wait()
	w := watch(t, cfg)
	w.until("n1", func(c router.Candidates) bool { return names(c) == "n1" })
	// Through a registry of its own each time: a call fails with its connection.
	name := func(n string) {
		t.Helper()
		eventually(t, n+" is named", func() bool {
			r, err := zookeeper.NewRegistry(ctx, zookeeper.Config{Hosts: e.Hosts(), Path: "/p"})
			must(t, err)
			defer r.Close()
			return r.SetPrimary(ctx, n) == nil
		})
		w.until(n+" as the primary of n1", func(c router.Candidates) bool { return c.Primary == n && names(c) == "n1" })
	}
	name("a")
	for i, z := range e.Members() {
		must(t, z.Kill())
		name("without " + string(rune('1'+i)))
		must(t, z.Start(ctx))
	}
	leader, err := e.Leader(ctx)
	must(t, err)
	must(t, leader.Kill())
	name("without a leader")
	must(t, leader.Start(ctx))

	// Two hang up: the third has no quorum, and serves who only wants to read.
	for _, z := range e.Members()[:2] {
		must(t, z.Kill())
	}
	last := e.Members()[2]
	eventually(t, "the last one is read-only", func() bool {
		answer, err := last.Ask("isro")
		return err == nil && answer == "ro"
	})
	alone := time.Now()
	eventually(t, "an old confirmation", func() bool {
		c, _ := w.state()
		return time.Since(c.Confirmed) > 2*cfg.SessionTimeout && time.Since(alone) > cfg.SessionTimeout
	})
	if c, _ := w.state(); names(c) != "n1" || c.Primary != "without a leader" {
		t.Errorf("without a quorum: %+v", c)
	}
	must(t, e.Start(ctx))
	name("at the end")
	if bad := w.told(); len(bad) != 0 {
		t.Errorf("told of %v", bad)
	}
}
