package pgxdb_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// losing is a cluster with a DB on it whose replica gets nothing from the moment
// on that cut is called.
type losing struct {
	*cluster.Cluster
	table string
	db    *pgxdb.DB
	cut   func()
}

func newLosing(t *testing.T, change ...func(*pgxdb.Config)) *losing {
	t.Helper()
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	l := &losing{Cluster: c, table: tableOf(t, c, "k text, n int")}
	relay, err := cluster.NewRelay(c.Primary().Addr(), 0)
	must(t, err)
	t.Cleanup(func() { relay.Close() })
	must(t, c.Replicas()[0].RepointAddr(patience(t), "127.0.0.1", relay.Port()))
	l.db = open(t, c, change...)
	l.cut = func() { must(t, relay.Close()) }
	return l
}

// passes waits until the router knows a position that lies beyond all that was
// written so far, and that the primary has not been restarted.
func (l *losing) passes(t *testing.T) {
	t.Helper()
	for range 2 {
		_, err := l.db.Router().WaitTicket(patience(t), l.db.Router().Ticket())
		must(t, err)
	}
}

// failover makes the replica the primary, and waits until the router knows.
func (l *losing) failover(t *testing.T) {
	t.Helper()
	ctx := patience(t)
	next := l.Replicas()[0]
	must(t, l.Failover(ctx, next))
	must(t, l.db.Router().WaitTopology(ctx, func(t *router.Topology) bool { return t.Primary != nil && t.Primary.Name == nameOf(next) }))
}

func (l *losing) count(t *testing.T, where string) int {
	t.Helper()
	return one[int](t, l.db.Read().At(router.LevelPrimary).QueryRow(router.WithSession(patience(t), router.NewSession()), "select count(*) from "+l.table+" where "+where))
}

// TestLostWriteIsTold: each session whose acknowledged write a failover has lost
// is told once, by its next call, which runs nothing. Nobody else is told.
func TestLostWriteIsTold(t *testing.T) {
	l := newLosing(t, func(cfg *pgxdb.Config) {
		cfg.OnLostWrite = func(_ context.Context, lost *pgxdb.LostWriteError) error { return lost }
	})
	db, insert := l.db, "insert into "+l.table+" values ($1, 1)"
	pool := sql.OpenDB(pgxdb.NewConnector(db.Auto()))
	t.Cleanup(func() { must(t, pool.Close()) })
	inTx := func(ctx context.Context, do func(pgx.Tx)) {
		must(t, pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
			do(tx)
			return nil
		}))
	}
	batch := func(k string) *pgx.Batch {
		b := &pgx.Batch{}
		b.Queue(insert, k)
		b.Queue("select 1")
		return b
	}
	type sender struct {
		name string
		does func(ctx context.Context, k string)
		want string // SQLSTATE
	}
	before := []sender{{"a write that the replica has", func(ctx context.Context, k string) { write(t, db, ctx, insert, k) }, ""}}
	after := []sender{
		{"Exec", func(ctx context.Context, k string) { write(t, db, ctx, insert, k) }, "PR002"},
		{"QueryRow", func(ctx context.Context, k string) { one[string](t, db.QueryRow(ctx, insert+" returning k", k)) }, "PR002"},
		{"Auto", func(ctx context.Context, k string) {
			_, err := db.Auto().Exec(ctx, insert, k)
			must(t, err)
		}, "PR002"},
		{"SendBatch", func(ctx context.Context, k string) { must(t, db.SendBatch(ctx, batch(k)).Close()) }, "PR002"},
		{"CopyFrom", func(ctx context.Context, k string) {
			_, err := db.CopyFrom(ctx, pgx.Identifier{l.table}, []string{"k", "n"}, pgx.CopyFromRows([][]any{{k, 1}}))
			must(t, err)
		}, "PR002"},
		{"an acquired connection", func(ctx context.Context, k string) {
			conn, err := db.Acquire(ctx)
			must(t, err)
			defer conn.Release()
			_, err = conn.Exec(ctx, insert, k)
			must(t, err)
		}, "PR002"},
		{"a transaction with Exec", func(ctx context.Context, k string) {
			inTx(ctx, func(tx pgx.Tx) {
				_, err := tx.Exec(ctx, insert, k)
				must(t, err)
				one[int](t, tx.QueryRow(ctx, "select 1"))
			})
		}, "PR002"},
		{"a transaction with QueryRow", func(ctx context.Context, k string) {
			inTx(ctx, func(tx pgx.Tx) { one[string](t, tx.QueryRow(ctx, insert+" returning k", k)) })
		}, "PR002"},
		{"a transaction with a batch", func(ctx context.Context, k string) {
			inTx(ctx, func(tx pgx.Tx) { must(t, tx.SendBatch(ctx, batch(k)).Close()) })
		}, "PR002"},
		{"a transaction that is committed by hand", func(ctx context.Context, k string) {
			tx, err := db.Begin(ctx)
			must(t, err)
			defer tx.Rollback(ctx)
			_, err = tx.Exec(ctx, insert, k)
			must(t, err)
			_, err = tx.Exec(ctx, "commit")
			must(t, err)
		}, "PR002"},
		{"database/sql", func(ctx context.Context, k string) {
			_, err := pool.ExecContext(ctx, insert, k)
			must(t, err)
		}, "PR002"},
		{"a transaction of database/sql", func(ctx context.Context, k string) {
			tx, err := pool.BeginTx(ctx, nil)
			must(t, err)
			_, err = tx.ExecContext(ctx, insert, k)
			must(t, err)
			must(t, tx.Commit())
		}, "PR002"},
		{"what changed no row", func(ctx context.Context, _ string) { write(t, db, ctx, "update "+l.table+" set n = 2 where false") }, "PR003"},
		{"a transaction whose savepoint was rolled back", func(ctx context.Context, k string) {
			inTx(ctx, func(tx pgx.Tx) {
				inner, err := tx.Begin(ctx)
				must(t, err)
				one[string](t, inner.QueryRow(ctx, insert+" returning k", k))
				must(t, inner.Rollback(ctx))
			})
		}, "PR003"},
		{"a transaction that was rolled back", func(ctx context.Context, k string) {
			tx, err := db.Begin(ctx)
			must(t, err)
			_, err = tx.Exec(ctx, insert, k)
			must(t, err)
			must(t, tx.Rollback(ctx))
		}, ""},
		{"a write that failed", func(ctx context.Context, _ string) {
			if _, err := db.Exec(ctx, "insert into "+l.table+" values ('failed', 1/0)"); err == nil {
				t.Error("it succeeded")
			}
		}, ""},
		{"a read", func(ctx context.Context, _ string) { one[int](t, db.Read().QueryRow(ctx, "select 1")) }, ""},
	}
	contexts := map[string]context.Context{}
	run := func(list []sender) {
		for _, s := range list {
			contexts[s.name] = router.WithSession(patience(t), router.NewSession())
			s.does(contexts[s.name], s.name)
		}
	}
	run(before)
	l.passes(t)
	must(t, l.WaitCaughtUp(patience(t)))
	l.cut()
	write(t, db, router.WithSession(patience(t), router.NewSession()), insert, "nobody asks")
	l.passes(t)
	run(after)
	// The DB's own session wrote as well.
	all := append(before, append(after, sender{"the DB", nil, "PR002"})...)
	contexts["the DB"] = patience(t)
	write(t, db, contexts["the DB"], insert, "the DB")
	l.passes(t)
	l.failover(t)
	if n := l.count(t, "true"); n != 1 {
		t.Fatalf("%d rows have survived", n)
	}
	var lost, maybe uint64
	for i, s := range all {
		t.Run(s.name, func(t *testing.T) {
			ctx := contexts[s.name]
			next := func() error {
				if i%2 == 0 {
					return db.Read().QueryRow(ctx, "select 1").Scan(new(int))
				}
				_, err := db.Exec(ctx, insert, "again")
				return err
			}
			switch s.want {
			case "PR002":
				lost++
			case "PR003":
				maybe++
			}
			rows := l.count(t, "true")
			err := next()
			if s.want == "" {
				must(t, err)
				return
			}
			var told *pgxdb.LostWriteError
			var pg *pgconn.PgError
			if !errors.As(err, &told) || told.SQLState() != s.want || !errors.As(err, &pg) || pg.Code != s.want || !pgconn.SafeToRetry(err) {
				t.Fatalf("%v, want %s", err, s.want)
			}
			if n := l.count(t, "true"); n != rows {
				t.Errorf("the call ran: there are %d rows instead of %d", n, rows)
			}
			if err := next(); err != nil {
				t.Errorf("it is said again: %v", err)
			}
		})
	}
	if s := db.Router().Stats(); s.Lost != lost || s.MaybeLost != maybe {
		t.Errorf("%d are counted as lost and %d as perhaps lost, want %d and %d", s.Lost, s.MaybeLost, lost, maybe)
	}
}

// TestLostWriteIsAWarning: without a hook the log says that a write was lost,
// and with one that returns nothing it does; the call goes on.
func TestLostWriteIsAWarning(t *testing.T) {
	var log strings.Builder
	var hooked []string
	l := newLosing(t, func(cfg *pgxdb.Config) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	hooks, err := pgxdb.Open(patience(t), pgxdb.Config{Router: l.db.Router(), DSN: appDSN, MonitorDSN: monitorDSN, Logger: quiet,
		OnLostWrite: func(_ context.Context, lost *pgxdb.LostWriteError) error {
			hooked = append(hooked, lost.SQLState())
			return nil
		}})
	must(t, err)
	t.Cleanup(hooks.Close)
	must(t, l.WaitCaughtUp(patience(t)))
	l.cut()
	ctx, insert := patience(t), "insert into "+l.table+" values ($1, 1)"
	write(t, l.db, router.WithSession(ctx, router.NewSession()), insert, "nobody asks")
	l.passes(t)
	write(t, l.db, ctx, insert, "logged")
	write(t, hooks, ctx, insert, "hooked")
	l.passes(t)
	l.failover(t)
	for range 2 {
		write(t, l.db, ctx, insert, "again")
		write(t, hooks, ctx, insert, "again")
	}
	if n := l.count(t, "k = 'again'"); n != 4 {
		t.Errorf("%d of 4 writes were run", n)
	}
	if n := strings.Count(log.String(), "sqlstate=PR002"); n != 1 {
		t.Errorf("the log has it %d times:\n%s", n, log.String())
	}
	if len(hooked) != 1 || hooked[0] != "PR002" {
		t.Errorf("the hook was called with %v", hooked)
	}
}
