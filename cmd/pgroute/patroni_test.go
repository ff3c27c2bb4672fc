package main

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

// psql runs statements through a proxy and returns what psql printed.
func (r *running) psql(t *testing.T, sql ...string) (string, error) {
	t.Helper()
	psql, err := cluster.Tool("psql")
	if err != nil {
		t.Skip(err)
	}
	args := []string{"-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", r.dsn(cluster.AppDatabase)}
	for _, s := range sql {
		args = append(args, "-c", s)
	}
	cmd := exec.CommandContext(t.Context(), psql, args...)
	cmd.Env = environment()
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// pgroute proxy follows a real cluster of Patroni through a switchover.
func TestProxyFollowsPatroni(t *testing.T) {
	if testing.Short() || !cluster.PatroniInstalled() {
		t.Skip("needs Patroni and ZooKeeper, and takes seconds")
	}
	ctx := t.Context()
	p := cluster.StartPatroni(t, 2, cluster.PatroniOptions{})
	leader, err := p.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, "--zookeeper", p.ZooKeeper().Addr(), "--patroni", p.Path(), "--listen", "127.0.0.1:0",
		"--monitor", leader.DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres"))
	r.ready(t)
	// Where does a write run, and does a read see it?
	where := func(value string) string {
		t.Helper()
		var out string
		eventually(t, "a write", func() bool {
			var err error
			out, err = r.psql(t, "INSERT INTO t VALUES ('"+value+"')", "SHOW pgroute.last_route", "SELECT count(*) FROM t WHERE v = '"+value+"'", "SHOW pgroute.last_route")
			if err != nil {
				t.Logf("psql: %v: %s", err, out)
			}
			return err == nil
		})
		t.Logf("psql, %s:\n%s", value, out)
		lines := strings.Split(out, "\n")
		if len(lines) != 4 || !strings.HasPrefix(lines[1], "pg") || lines[2] != "1" {
			t.Fatalf("%s: psql printed %q", value, lines)
		}
		name, rest, _ := strings.Cut(lines[1], "|")
		if !strings.HasPrefix(rest, "primary|") {
			t.Errorf("%s: the write ran on %s", value, lines[1])
		}
		return name
	}
	eventually(t, "a table", func() bool { _, err := r.psql(t, "CREATE TABLE t (v text)"); return err == nil })
	if name := where("before"); name != leader.Name {
		t.Errorf("the write ran on %s, %s leads", name, leader.Name)
	}
	conn := r.connect(t, cluster.AppDatabase) // it lives through all of it
	next := p.Member("pg2")
	began := time.Now()
	if err := p.Switchover(ctx, next); err != nil {
		t.Fatal(err)
	}
	t.Logf("Patroni switched over within %v", time.Since(began))
	if name := where("after"); name != next.Name {
		t.Errorf("the write ran on %s, %s leads", name, next.Name)
	}
	t.Logf("the first write after the switchover was done %v after its begin", time.Since(began))
	var n int
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM t").Scan(&n); err != nil || n < 2 {
		t.Errorf("the client that was there before sees %d rows: %v", n, err)
	}
	if err := p.WaitSteady(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a read on the new replica", func() bool {
		out, err := r.psql(t, "SELECT count(*) FROM t", "SHOW pgroute.last_route")
		return err == nil && strings.Contains(out, leader.Name+"|replica|")
	})
	if code := r.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("log of pgroute:\n%s", r.log)
}
