package cluster_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

func startPatroni(t *testing.T) *cluster.PatroniCluster {
	t.Helper()
	if testing.Short() || !cluster.PatroniInstalled() {
		t.Skip("needs Patroni and ZooKeeper, and takes seconds")
	}
	return cluster.StartPatroni(t, 3, cluster.PatroniOptions{})
}

func TestPatroni(t *testing.T) {
	begin := time.Now()
	p := startPatroni(t)
	t.Logf("steady after %v", time.Since(begin))
	ctx := t.Context()
	leader, err := p.Leader(ctx)
	must(t, err)
	if leader != p.Member("pg1") || len(p.Members()) != 3 || p.Member("pg4") != nil {
		t.Fatalf("%v leads %v", leader, p.Members())
	}
	must(t, leader.Exec(ctx, "CREATE TABLE t AS SELECT 42 AS v"))
	out, err := p.Ctl(ctx, "list")
	must(t, err)
	if strings.Count(out, "Replica") != 2 || strings.Count(out, "Leader") != 1 {
		t.Errorf("patronictl list: %s", out)
	}

	// The machine of a replica is lost and comes back.
	lost := p.Member("pg3")
	pid := lost.PostgresPID()
	must(t, lost.Kill())
	if pid == 0 || lost.PostgresPID() != 0 || lost.Running() || cluster.Alive(pid) {
		t.Errorf("PostgreSQL %d is left of a killed member", pid)
	}
	must(t, p.WaitSteady(ctx))
	must(t, lost.Start())
	must(t, p.WaitSteady(ctx))

	must(t, p.Switchover(ctx, lost))
	must(t, p.WaitSteady(ctx))
	if leader, err := p.Leader(ctx); err != nil || leader != lost {
		t.Errorf("%v leads after the switchover: %v", leader, err)
	}
	if v, err := lost.QueryString(ctx, "SELECT v FROM t"); err != nil || v != "42" {
		t.Errorf("the new leader has %q: %v", v, err)
	}
	pids := []int{p.Member("pg1").PostgresPID(), p.Member("pg2").PostgresPID(), lost.PostgresPID()}
	must(t, p.Close())
	must(t, p.Close())
	for _, pid := range pids {
		if pid == 0 || cluster.Alive(pid) {
			t.Errorf("PostgreSQL %d is left", pid)
		}
	}
}
