package main

import (
	"strings"
	"testing"

	"github.com/pgroute/pgroute/internal/cluster"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	primary := c.Primary()
	run := func(monitor string, more ...string) result {
		t.Helper()
		args := append([]string{"check", "--monitor", monitor}, more...)
		for _, a := range c.Addrs() {
			args = append(args, "--node", a)
		}
		return invoke(t, args...)
	}
	monitor := primary.DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres")

	r := run(monitor)
	if r.code != 0 || !strings.Contains(r.out, "All is ready for pgroute.") || strings.Count(r.out, " replica ") != 2 {
		t.Errorf("a good cluster: code %d\n%s%s", r.code, r.out, r.err)
	}

	r = run(monitor, "--node", "127.0.0.1:1")
	if r.code != 1 || !strings.Contains(r.out, "problem: 127.0.0.1:1: the monitor's role cannot log in") ||
		!strings.Contains(r.out, "3 of 4 servers are ready") {
		t.Errorf("an unreachable server: code %d\n%s%s", r.code, r.out, r.err)
	}

	r = run(primary.DSN(cluster.AppUser, cluster.AppPassword, cluster.AppDatabase))
	for _, want := range []string{"GRANT pg_monitor TO app;", "GRANT EXECUTE ON FUNCTION pgroute.verifier(text), pgroute.timeline_history(int) TO app;",
		"0 of 3 servers are ready"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("a role without rights: no %q", want)
		}
	}
	if r.code != 1 || strings.Count(r.out, "CREATE SCHEMA") != 1 {
		t.Errorf("a role without rights: code %d\n%s%s", r.code, r.out, r.err)
	}

	// The SQL that check prints helps.
	var sql []string
	for line := range strings.Lines(r.out) {
		if text, ok := strings.CutPrefix(line, "    "); ok {
			sql = append(sql, text)
		}
	}
	conn, err := primary.Super(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.PgConn().Exec(t.Context(), strings.Join(sql, "")).ReadAll(); err != nil {
		t.Fatalf("the SQL of check: %v", err)
	}
	if err := c.WaitCaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r = run(primary.DSN(cluster.AppUser, cluster.AppPassword, cluster.AppDatabase)); r.code != 0 {
		t.Errorf("after the SQL: code %d\n%s%s", r.code, r.out, r.err)
	}
}

func TestCheckPausedReplica(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	if err := c.Replicas()[0].PauseReplay(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := invoke(t, append([]string{"check"}, servers(c)...)...)
	if r.code != 0 || !strings.Contains(r.out, "warning: "+c.Replicas()[0].Addr()+": its replay is paused") {
		t.Errorf("code %d\n%s%s", r.code, r.out, r.err)
	}
}

func TestCheckForeignServer(t *testing.T) {
	t.Parallel()
	a := cluster.Start(t, cluster.Options{Replicas: -1})
	b := cluster.Start(t, cluster.Options{Replicas: 1, UniqueSystemID: true})
	r := invoke(t, append([]string{"check", "--node", b.Replicas()[0].Addr()}, servers(a)...)...)
	if r.code != 1 || !strings.Contains(r.out, "it belongs to another cluster: system id ") {
		t.Errorf("a replica of another cluster: code %d\n%s%s", r.code, r.out, r.err)
	}
	r = invoke(t, append([]string{"check", "--node", b.Primary().Addr()}, servers(a)...)...)
	if r.code != 1 || !strings.Contains(r.out, "several servers are primaries: ") {
		t.Errorf("two primaries: code %d\n%s%s", r.code, r.out, r.err)
	}
}

func TestCheckPrintsSQL(t *testing.T) {
	t.Parallel()
	if r := invoke(t, "check", "--sql"); r.code != 0 || r.out != cluster.MonitorSQL {
		t.Errorf("code %d\n%s", r.code, r.out)
	}
}
