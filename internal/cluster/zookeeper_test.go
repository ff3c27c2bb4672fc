package cluster_test

import (
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

func TestZooKeeper(t *testing.T) {
	if !cluster.ZooKeeperInstalled() {
		t.Skip("ZooKeeper is not installed")
	}
	begin := time.Now()
	z := cluster.StartZooKeeper(t, cluster.ZooKeeperOptions{Settings: map[string]string{"maxSessionTimeout": "7000"}})
	t.Logf("serving after %v", time.Since(begin))
	addr := z.Addr()
	serving := func() {
		t.Helper()
		if answer, err := z.Ask("ruok"); err != nil || answer != "imok" {
			t.Fatalf("ruok: %q, %v", answer, err)
		}
	}
	serving()
	must(t, z.Kill())
	if _, err := z.Ask("ruok"); err == nil || z.Running() {
		t.Error("it serves after Kill")
	}
	must(t, z.Start(t.Context()))
	serving()
	if err := z.Start(t.Context()); err == nil {
		t.Error("started twice")
	}
	must(t, z.Stop())
	must(t, z.Cont())
	serving()
	must(t, z.Stop()) // a hanging server can be closed
	pid := z.PID()
	must(t, z.Close())
	must(t, z.Close())
	if cluster.Alive(pid) || z.Addr() != addr {
		t.Errorf("process %d is left, or the address %s changed", pid, addr)
	}
}
