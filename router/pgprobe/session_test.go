package pgprobe_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router/pgprobe"
)

const monitorSessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgroute'"

func TestVerifier(t *testing.T) {
	c := start(t, cluster.Options{Replicas: 1})
	node := c.Primary()
	ctx := t.Context()
	must(t, node.Exec(ctx,
		"CREATE ROLE alive LOGIN PASSWORD 'x' VALID UNTIL '2999-01-01'",
		"CREATE ROLE forever LOGIN PASSWORD 'x' VALID UNTIL 'infinity'",
		"CREATE ROLE expired LOGIN PASSWORD 'x' VALID UNTIL '2001-01-01'",
		"CREATE ROLE group_role NOLOGIN PASSWORD 'x'",
		"CREATE ROLE passwordless LOGIN",
		`CREATE ROLE "Odd 'name" LOGIN PASSWORD 'x'`,
		"CREATE ROLE powerless LOGIN PASSWORD 'x'"))
	must(t, c.WaitCaughtUp(ctx))

	for _, tt := range []struct {
		reason, dsn string
		node        *cluster.Node
	}{
		{"by the function", monitorDSN, node},
		{"by the function on a standby", monitorDSN, c.Replicas()[0]},
		{"as a superuser with the function", superDSN, node},
		{"as a superuser without it", superDSN + " dbname=template1", node},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			p := prober(t, tt.dsn)
			for user, want := range map[string]bool{
				cluster.AppUser: true, "alive": true, "forever": true, "Odd 'name": true,
				"expired": false, "group_role": false, "passwordless": false, "unheard_of": false, "": false,
				"a\x00b": false, "\xff\xfe": false, "'; DROP ROLE alive; --": false,
			} {
				secret, found, err := p.Verifier(t.Context(), addr(tt.node), user)
				must(t, err)
				if found != want {
					t.Errorf("%q: found %v, want %v", user, found, want)
				}
				if want && secret != ask(t, node, "SELECT rolpassword FROM pg_authid WHERE rolname = '"+quote(user)+"'") {
					t.Errorf("%q: the verifier is %q", user, secret)
				}
			}
		})
	}

	t.Run("without a privilege", func(t *testing.T) {
		p := prober(t, "user=powerless password=x dbname=app sslmode=disable")
		for range 2 {
			_, _, err := p.Verifier(t.Context(), addr(node), "alive")
			if !errors.Is(err, pgprobe.ErrNoVerifierAccess) || !contains(err, "pgroute.verifier") || !contains(err, "pg_authid") {
				t.Fatalf("error %v", err)
			}
		}
		// What was missing is granted: the same Prober goes on with it.
		must(t, node.Exec(t.Context(), "GRANT SELECT ON pg_authid TO powerless"))
		if _, found, err := p.Verifier(t.Context(), addr(node), "alive"); err != nil || !found {
			t.Fatalf("after the grant: %v, %v", found, err)
		}
		// It is taken away again.
		must(t, node.Exec(t.Context(), "REVOKE SELECT ON pg_authid FROM powerless"))
		if _, _, err := p.Verifier(t.Context(), addr(node), "alive"); !errors.Is(err, pgprobe.ErrNoVerifierAccess) {
			t.Fatalf("after the revocation: %v", err)
		}
	})
}

func quote(s string) string {
	var q []byte
	for i := range len(s) {
		if s[i] == '\'' {
			q = append(q, '\'')
		}
		q = append(q, s[i])
	}
	return string(q)
}

func TestSessionsAreSharedAndHeal(t *testing.T) {
	c := start(t, cluster.Options{Replicas: -1})
	node := c.Primary()
	p := proberWith(t, pgprobe.Config{DSN: monitorDSN, ConnectTimeout: patience, CallTimeout: patience, StatementTimeout: patience})

	crowd := func() {
		t.Helper()
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				if _, found, err := p.Verifier(t.Context(), addr(node), cluster.AppUser); err != nil || !found {
					t.Errorf("verifier: %v, %v", found, err)
				}
			})
		}
		wg.Wait()
	}
	crowd()
	if n := askInt(t, node, monitorSessions); n != 1 {
		t.Fatalf("a crowd of logins made %d monitor connections", n)
	}
	// The kept connection is gone without our knowledge.
	terminateMonitors(t, node)
	crowd()
	must(t, node.Restart(t.Context(), cluster.Fast))
	crowd()

	// Who waits for a turn waits no longer than its context.
	holder, err := pgx.Connect(t.Context(), node.DSN(cluster.SuperUser, cluster.SuperPassword, "postgres"))
	must(t, err)
	defer holder.Close(context.Background())
	_, err = holder.Exec(t.Context(), "SELECT pg_advisory_lock(1)")
	must(t, err)
	block := make(chan error, 1)
	go func() {
		_, err := p.Query(t.Context(), addr(node), "postgres", "SELECT pg_advisory_lock(1)")
		block <- err
	}()
	eventually(t, "the query that has to wait", func() bool {
		return askInt(t, node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 1
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := p.Verifier(ctx, addr(node), cluster.AppUser); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("waiting for a turn: %v", err)
	}
	must(t, holder.Close(t.Context()))
	must(t, <-block)

	// A query that its context ends costs the connection, not the Prober.
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Query(ctx, addr(node), "postgres", "SELECT pg_sleep(60)"); err == nil {
		t.Fatal("a query outlived its context")
	}
	crowd()

	must(t, p.Close())
	eventually(t, "the end of the connections", func() bool {
		return askInt(t, node, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgroute' AND state = 'idle'") == 0
	})
	if _, _, err := p.Verifier(t.Context(), addr(node), cluster.AppUser); err == nil {
		t.Fatal("a closed Prober answers")
	}
}

func TestIdleSessionsEnd(t *testing.T) {
	c := start(t, cluster.Options{Replicas: -1})
	p, err := pgprobe.New(pgprobe.Config{DSN: monitorDSN, SessionIdle: 20 * time.Millisecond})
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	for range 5 {
		for _, database := range []string{"postgres", "app"} {
			_, err := p.Query(t.Context(), addr(c.Primary()), database, "SELECT 1")
			must(t, err)
		}
		eventually(t, "the end of idle connections", func() bool { return askInt(t, c.Primary(), monitorSessions) == 0 })
	}
}

func TestQuery(t *testing.T) {
	c := start(t, cluster.Options{Replicas: -1})
	node := c.Primary()
	p := prober(t, monitorDSN)
	query := func(database, sql string) ([][]*string, error) {
		return p.Query(t.Context(), addr(node), database, sql)
	}
	rows, err := query("app", "SELECT current_database(), NULL, '', 1; SELECT 'ü' WHERE false; SELECT 'second'")
	must(t, err)
	if len(rows) != 2 || *rows[0][0] != "app" || rows[0][1] != nil || *rows[0][2] != "" || *rows[0][3] != "1" || *rows[1][0] != "second" {
		t.Fatalf("rows %v", rows)
	}
	for _, tt := range []struct{ reason, database, sql, code string }{
		{"an error of the statement", "app", "SELECT 1/0", "22012"},
		{"a write", "app", "CREATE TABLE t ()", "25006"},
		{"an unknown database", "nowhere", "SELECT 1", "3D000"},
	} {
		_, err := query(tt.database, tt.sql)
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || pgErr.Code != tt.code {
			t.Errorf("%s: %v, want SQLSTATE %s", tt.reason, err, tt.code)
		}
	}
	if _, err := query("app", "BEGIN"); err == nil {
		t.Error("a transaction may stay open")
	}
	// After all that the session is as new.
	rows, err = query("app", "SELECT now() = statement_timestamp()")
	must(t, err)
	if *rows[0][0] != "t" {
		t.Error("a later query ran in an earlier one's transaction")
	}
	// Many rows, larger than a hot call may ever read.
	rows, err = query("app", "SELECT repeat('x', 3000000) FROM generate_series(1, 3)")
	must(t, err)
	if len(rows) != 3 || len(*rows[2][0]) != 3000000 {
		t.Errorf("%d rows", len(rows))
	}
}
