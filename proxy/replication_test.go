package proxy_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

// The role with which replicas of the test clusters replicate.
const replicator, replicatorPassword = "replicator", "repl-secret"

// A base backup, with the WAL streamed beside it: two physical replication
// connections at once, the one with gigabytes in real life.
func TestBaseBackup(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, asking))})
	tool, err := cluster.Tool("pg_basebackup")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "backup")
	cmd := exec.CommandContext(t.Context(), tool, "--pgdata="+dir, "--wal-method=stream", "--checkpoint=fast", "--no-sync",
		"--dbname=postgres://"+replicator+"@"+s.addr()+"/?sslmode=disable")
	cmd.Env = append(os.Environ(), "PGPASSWORD="+replicatorPassword)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"PG_VERSION", "backup_label", "backup_manifest", "pg_wal"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// replicate opens a logical replication connection.
func (s *served) replicate(t *testing.T) *pgconn.PgConn {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), s.dsn("replication=database&application_name=walker"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func TestLogicalReplicationConnection(t *testing.T) {
	s := use(t, plain)
	conn := s.replicate(t)
	results, err := conn.Exec(t.Context(), "IDENTIFY_SYSTEM").ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if row := results[0].Rows[0]; len(row) != 4 || string(row[3]) != cluster.AppDatabase {
		t.Errorf("IDENTIFY_SYSTEM says %q", row)
	}
	results, err = conn.Exec(t.Context(), "SELECT pg_is_in_recovery(), current_setting('application_name')").ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if row := results[0].Rows[0]; string(row[0]) != "f" || string(row[1]) != "walker" {
		t.Errorf("the connection leads to %q", row)
	}
}

func TestCancelOnReplicationConnection(t *testing.T) {
	s := use(t, plain)
	conn := s.replicate(t)
	answer := conn.Exec(t.Context(), "SELECT pg_sleep(600)")
	side := s.connect(t, "")
	eventually(t, func() error {
		var n int
		const asleep = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'walker' AND wait_event = 'PgSleep'"
		if err := side.QueryRow(t.Context(), asleep).Scan(&n); err != nil || n > 0 {
			return err
		}
		return errString("it does not sleep yet")
	})
	if err := conn.CancelRequest(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := answer.ReadAll()
	wantCode(t, err, "57014")
	if _, err := conn.Exec(t.Context(), "IDENTIFY_SYSTEM").ReadAll(); err != nil {
		t.Error(err)
	}
}

// named is a source that says who may take writes.
type named struct {
	nodes []router.Candidate
	word  chan string
}

func (n *named) Watch(ctx context.Context, publish func(router.Candidates)) error {
	for {
		select {
		case primary := <-n.word:
			publish(router.Candidates{Nodes: n.nodes, NamesPrimary: true, Primary: primary, Confirmed: time.Now()})
		case <-ctx.Done():
			return nil
		}
	}
}

// What was promoted instead is another history: whoever replicates has to
// find out where he is in it, although the old primary would go on.
func TestReplicationEndsWithThePrimary(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	src := &named{word: make(chan string, 2)}
	for _, n := range c.Nodes() {
		src.nodes = append(src.nodes, router.Candidate{Addr: router.Addr{Name: n.Name, Host: n.Host, Port: n.Port}})
	}
	old, next := c.Primary(), c.Replicas()[0]
	src.word <- old.Name
	s := start(t, proxy.Config{Source: src, Auth: proxy.AuthTrust})
	conn := s.replicate(t)
	if err := next.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "IDENTIFY_SYSTEM").ReadAll(); err != nil {
		t.Fatalf("before the source says so: %v", err)
	}
	src.word <- next.Name
	eventually(t, func() error {
		if _, err := conn.Exec(t.Context(), "IDENTIFY_SYSTEM").ReadAll(); err != nil {
			return nil
		}
		return errString("it goes on")
	})
	if !old.Running() {
		t.Error("the old primary has ended: nothing was shown")
	}
}
