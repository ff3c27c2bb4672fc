package cluster_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
)

// must fails the test if err is not nil.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func query(t *testing.T, n *cluster.Node, sql string, args ...any) string {
	t.Helper()
	value, err := n.QueryString(t.Context(), sql, args...)
	must(t, err)
	return value
}

// login connects over TCP and runs one query.
func login(ctx context.Context, dsn, sql string) (string, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	var value *string
	if err := conn.QueryRow(ctx, sql).Scan(&value); err != nil {
		return "", err
	}
	if value == nil {
		return "NULL", nil
	}
	return *value, nil
}

func TestClusterReplicates(t *testing.T) {
	begin := time.Now()
	c := cluster.Start(t, cluster.Options{})
	t.Logf("a primary and two replicas after %v", time.Since(begin))
	if len(c.Nodes()) != 3 || len(c.Replicas()) != 2 || c.Primary() != c.Nodes()[0] {
		t.Fatalf("nodes %v, replicas %v, primary %v", c.Nodes(), c.Replicas(), c.Primary())
	}
	conn, err := c.Primary().App(t.Context())
	must(t, err)
	_, err = conn.Exec(t.Context(), "CREATE TABLE t AS SELECT 7 AS v")
	must(t, err)
	must(t, conn.Close(t.Context()))
	must(t, c.WaitCaughtUp(t.Context()))
	for _, n := range c.Nodes() {
		value, err := login(t.Context(), n.DSN("app", "app-secret", "app"), "SELECT v || ' ' || pg_is_in_recovery() || ' ' || current_setting('cluster_name') FROM t")
		must(t, err)
		want := "7 true " + n.Name
		if n == c.Primary() {
			want = "7 false " + n.Name
		}
		if value != want {
			t.Errorf("%s at %s: %q, want %q", n, n.Addr(), value, want)
		}
		if _, err := login(t.Context(), n.DSN("app", "wrong", "app"), "SELECT ''"); err == nil || !strings.Contains(err.Error(), "28P01") {
			t.Errorf("%s lets a wrong password in: %v", n, err)
		}
	}
	// A server writes WAL by itself, too, for the hint bits of a read for example.
	for {
		lag, err := c.Replicas()[0].Lag(t.Context())
		must(t, err)
		if lag == 0 {
			return
		}
		must(t, c.WaitCaughtUp(t.Context()))
	}
}

// The monitor must see what it needs, and nobody else what only it may see.
func TestMonitorHasLeastPrivilege(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	must(t, c.Primary().Exec(t.Context(), "CREATE ROLE nologin PASSWORD 'x'", "CREATE ROLE expired LOGIN PASSWORD 'x' VALID UNTIL '2001-01-01'"))
	must(t, c.WaitCaughtUp(t.Context()))
	for _, tt := range []struct{ user, password, db, sql, want string }{
		{"pgroute_monitor", "monitor-secret", "postgres", "SELECT left(pgroute.verifier('app'), 14)", "SCRAM-SHA-256$"},
		{"pgroute_monitor", "monitor-secret", "app", "SELECT left(pgroute.verifier('app'), 14)", "SCRAM-SHA-256$"},
		{"pgroute_monitor", "monitor-secret", "app", "SELECT pgroute.verifier('nologin')", "NULL"},
		{"pgroute_monitor", "monitor-secret", "app", "SELECT pgroute.verifier('expired')", "NULL"},
		{"pgroute_monitor", "monitor-secret", "app", "SELECT pgroute.verifier('nobody')", "NULL"},
		{"pgroute_monitor", "monitor-secret", "app", "SELECT pgroute.timeline_history(1)", "NULL"},
		{"pgroute_monitor", "monitor-secret", "app", "SELECT (count(backend_start) = 1)::text FROM pg_stat_activity WHERE backend_type = 'checkpointer'", "true"},
		{"pgroute_monitor", "monitor-secret", "app", "SELECT rolpassword FROM pg_authid LIMIT 1", "42501"},
		{"pgroute_monitor", "monitor-secret", "app", "SELECT pg_read_file('PG_VERSION')", "42501"},
		{"app", "app-secret", "app", "SELECT pgroute.verifier('app')", "42501"},
		{"app", "app-secret", "app", "SELECT pgroute.timeline_history(1)", "42501"},
	} {
		for _, n := range c.Nodes() {
			got, err := login(t.Context(), n.DSN(tt.user, tt.password, tt.db), tt.sql)
			if err != nil {
				got = err.Error()
			}
			if got != tt.want && (err == nil || !strings.Contains(got, tt.want)) {
				t.Errorf("%s in %s on %s: %s: got %s, want %s", tt.user, tt.db, n, tt.sql, got, tt.want)
			}
		}
	}
}

// A replica refuses to start with smaller limits than its control file
// records, so settings must work in both directions.
func TestOptions(t *testing.T) {
	trusting := cluster.Start(t, cluster.Options{
		Replicas: 1, Trust: true, UniqueSystemID: true,
		Settings: map[string]string{"max_connections": "30", "max_prepared_transactions": "0", "search_path": `"it's", public`},
	})
	const ask = "SELECT system_identifier FROM pg_control_system()"
	for _, n := range trusting.Nodes() {
		value, err := login(t.Context(), n.DSN("app", "", "app"), "SELECT current_setting('max_connections') || current_setting('search_path')")
		must(t, err)
		if value != `30"it's", public` {
			t.Errorf("settings of %s: %s", n, value)
		}
	}
	durable := cluster.Start(t, cluster.Options{Replicas: -1, Durable: true})
	if len(durable.Nodes()) != 1 || len(durable.Replicas()) != 0 {
		t.Errorf("nodes %v", durable.Nodes())
	}
	if got := query(t, durable.Primary(), "SELECT current_setting('fsync') || current_setting('wal_segment_size')"); got != "on16MB" {
		t.Errorf("a durable server has %s", got)
	}
	if a, b := query(t, trusting.Primary(), ask), query(t, durable.Primary(), ask); a == b {
		t.Errorf("both clusters have the system identifier %s", a)
	}
	if a, b := query(t, trusting.Primary(), ask), query(t, trusting.Replicas()[0], ask); a != b {
		t.Errorf("one cluster has two system identifiers, %s and %s", a, b)
	}
	if _, err := cluster.New(t.Context(), cluster.Options{Settings: map[string]string{"no_such_setting": "1"}}); err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("an unknown setting: %v", err)
	}
	if _, err := cluster.New(t.Context(), cluster.Options{BinDir: t.TempDir()}); err == nil {
		t.Error("started without programs")
	}
}

func TestToolFindsPrograms(t *testing.T) {
	for _, name := range []string{"pgbench", "psql"} {
		if _, err := cluster.Tool(name); err != nil {
			t.Error(err)
		}
	}
	if path, err := cluster.Tool("no-such-program"); err == nil {
		t.Errorf("found %s", path)
	}
}
