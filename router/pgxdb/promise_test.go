package pgxdb_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// TestTransactionBeginsBeforeWrite: the snapshot of a transaction is that of
// its first statement, and so is what it must see.
func TestTransactionBeginsBeforeWrite(t *testing.T) {
	c := common(t)
	for _, level := range []pgx.TxIsoLevel{"", pgx.RepeatableRead} {
		t.Run(string(level), func(t *testing.T) {
			table := tableOf(t, c, "k int")
			db := open(t, c)
			ctx := patience(t)
			warm(t, db)
			tx, err := db.BeginTx(ctx, pgx.TxOptions{IsoLevel: level, AccessMode: pgx.ReadOnly})
			must(t, err)
			defer tx.Rollback(ctx)
			pause(t, c.Replicas()...)
			write(t, db, ctx, "insert into "+table+" values (1)")
			if n := one[int](t, tx.QueryRow(ctx, "select count(*) from "+table)); n != 1 {
				t.Errorf("the first statement saw %d rows after a write", n)
			}
			must(t, tx.Commit(ctx))
		})
	}
}

// TestTransactionThatCannotMove: when no place is left for the first statement,
// the transaction is over, and its connection given back.
func TestTransactionThatCannotMove(t *testing.T) {
	c := common(t)
	table := tableOf(t, c, "k int")
	db := open(t, c, func(cfg *pgxdb.Config) { cfg.DSN += "&pool_max_conns=1" })
	ctx := patience(t)
	warm(t, db)
	q := db.Read().Within(10*time.Millisecond, router.OnTimeoutError)
	tx, err := begin(ctx, q)
	must(t, err)
	pause(t, c.Replicas()...)
	write(t, db, ctx, "insert into "+table+" values (1)")
	var pg *pgconn.PgError
	if err := tx.QueryRow(ctx, "select 1").Scan(new(int)); !errors.As(err, &pg) || pg.Code != "PR001" {
		t.Errorf("the first statement: %v", err)
	}
	if _, err := tx.Exec(ctx, "select 1"); !errors.Is(err, pgx.ErrTxClosed) {
		t.Errorf("the second statement: %v", err)
	}
	if err := tx.Commit(ctx); !errors.Is(err, pgx.ErrTxClosed) {
		t.Errorf("the commit: %v", err)
	}
	_ = tx.Rollback(ctx)
	for range 5 {
		one[int](t, db.Read().At(router.LevelEventual).QueryRow(ctx, "select 1"))
	}
}

// begin begins a transaction as soon as a replica is there in time.
func begin(ctx context.Context, q pgxdb.Queries) (pgx.Tx, error) {
	for {
		tx, err := q.Begin(ctx)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "PR001" {
			return tx, err
		}
	}
}

// TestCommitByHand: what a transaction commits in so many words is seen by
// whoever reads next, before the transaction is given back.
func TestCommitByHand(t *testing.T) {
	c := common(t)
	for _, end := range []string{"commit", "commit and chain", "end"} {
		for _, how := range []string{"Exec", "Query", "QueryRow", "SendBatch"} {
			t.Run(end+" by "+how, func(t *testing.T) {
				table := tableOf(t, c, "k int")
				db := open(t, c)
				ctx := patience(t)
				warm(t, db)
				pause(t, c.Replicas()...)
				tx, err := db.Begin(ctx)
				must(t, err)
				defer tx.Rollback(ctx)
				_, err = tx.Exec(ctx, "insert into "+table+" values (1)")
				must(t, err)
				switch how {
				case "Exec":
					_, err = tx.Exec(ctx, end)
				case "Query":
					var r pgx.Rows
					if r, err = tx.Query(ctx, end); err == nil {
						r.Close()
						err = r.Err()
					}
				case "QueryRow":
					if err = tx.QueryRow(ctx, end).Scan(); errors.Is(err, pgx.ErrNoRows) {
						err = nil
					}
				case "SendBatch":
					b := &pgx.Batch{}
					b.Queue(end)
					err = tx.SendBatch(ctx, b).Close()
				}
				must(t, err)
				if n := one[int](t, db.Read().QueryRow(ctx, "select count(*) from "+table)); n != 1 {
					t.Errorf("%d rows after the commit", n)
				}
			})
		}
	}
}

// TestReadTransactionOnOldPrimary: a statement of a read-only transaction on a
// primary that has been replaced, but is alive, must not miss what was written
// to the new one.
func TestReadTransactionOnOldPrimary(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Replicas: 2})
	table := tableOf(t, c, "k int")
	old, next := c.Primary(), c.Replicas()[0]
	source := newNamed(c, old)
	db := open(t, c, func(cfg *pgxdb.Config) { cfg.Source = source })
	ctx := patience(t)
	write(t, db, ctx, "insert into "+table+" values (0)")
	must(t, c.WaitCaughtUp(ctx))
	tx, err := db.Read().At(router.LevelPrimary).Begin(ctx)
	must(t, err)
	defer tx.Rollback(ctx)
	if n := one[int](t, tx.QueryRow(ctx, "select count(*) from "+table)); n != 1 {
		t.Fatal(n)
	}
	source.name("")
	must(t, db.Router().WaitTopology(ctx, func(t *router.Topology) bool { return t.Primary == nil }))
	must(t, next.Promote(ctx))
	source.name(nameOf(next))
	must(t, db.Router().WaitTopology(ctx, func(t *router.Topology) bool { return t.Primary != nil && t.Primary.Name == nameOf(next) }))
	write(t, db, ctx, "insert into "+table+" values (1)")
	var n int
	var pg *pgconn.PgError
	switch err := tx.QueryRow(ctx, "select count(*) from "+table).Scan(&n); {
	case errors.As(err, &pg) && pg.Code == "40001":
		t.Log(err)
	case err != nil:
		t.Error(err)
	default:
		t.Errorf("the old primary showed %d rows", n)
	}
}

// recovered runs f and returns what it panicked with.
func recovered(f func()) (r any) {
	defer func() { r = recover() }()
	f()
	return nil
}

// TestPanicsGiveBack: when the caller's own code panics (an encoder, a Trace, a
// callback), the connection is given back. There is only one.
func TestPanicsGiveBack(t *testing.T) {
	c := common(t)
	table := tableOf(t, c, "k int")
	db := open(t, c, func(cfg *pgxdb.Config) { cfg.DSN += "&pool_max_conns=1" })
	ctx := patience(t)
	loud := func(pgxdb.Route) { panic("trace") }
	run := map[string]func(q pgxdb.Queries){
		"Exec":     func(q pgxdb.Queries) { q.Exec(ctx, "select $1::int", explosive{}) },
		"Query":    func(q pgxdb.Queries) { q.Query(ctx, "select $1::int", explosive{}) },
		"QueryRow": func(q pgxdb.Queries) { q.QueryRow(ctx, "select $1::int", explosive{}).Scan(new(int)) },
		"SendBatch": func(q pgxdb.Queries) {
			b := &pgx.Batch{}
			b.Queue("select $1::int", explosive{})
			q.SendBatch(ctx, b).Close()
		},
		"callback": func(q pgxdb.Queries) {
			b := &pgx.Batch{}
			b.Queue("select 1").Exec(func(pgconn.CommandTag) error { panic("callback") })
			q.SendBatch(ctx, b).Close()
		},
		"trace Exec":     func(q pgxdb.Queries) { q.Trace(loud).Exec(ctx, "select 1") },
		"trace Query":    func(q pgxdb.Queries) { q.Trace(loud).Query(ctx, "select 1") },
		"trace QueryRow": func(q pgxdb.Queries) { q.Trace(loud).QueryRow(ctx, "select 1").Scan(new(int)) },
		"trace Batch": func(q pgxdb.Queries) {
			b := &pgx.Batch{}
			b.Queue("select 1")
			q.Trace(loud).SendBatch(ctx, b).Close()
		},
		"trace Begin": func(q pgxdb.Queries) { q.Trace(loud).Begin(ctx) },
		"trace Copy": func(q pgxdb.Queries) {
			q.Trace(loud).CopyFrom(ctx, pgx.Identifier{table}, []string{"k"}, pgx.CopyFromRows(nil))
		},
	}
	for name, f := range run {
		for verb, q := range map[string]pgxdb.Queries{"read": db.Read().At(router.LevelPrimary), "write": db.Write()} {
			t.Run(name+" by "+verb, func(t *testing.T) {
				if recovered(func() { f(q) }) == nil {
					t.Error("nothing panicked")
				}
				for range 3 {
					one[int](t, q.QueryRow(ctx, "select 1"))
				}
			})
		}
	}
}

// explosive panics when it is encoded.
type explosive struct{}

func (explosive) Int64Value() (v pgtype.Int8, err error) { panic("encode") }

// TestSessionMeetsTwoClusters: a context's session belongs to one cluster. A DB
// of another one must not take its tickets for its own.
func TestSessionMeetsTwoClusters(t *testing.T) {
	here, there := common(t), cluster.Start(t, cluster.Options{Replicas: 1})
	table := tableOf(t, there, "k int")
	first, second := open(t, here), open(t, there)
	ctx := router.WithSession(patience(t), router.NewSession())
	// The first cluster is behind in its tickets: the second has answered all of
	// those long ago.
	for range 50 {
		if _, err := second.Router().WaitTicket(ctx, second.Router().Ticket()); err != nil {
			t.Fatal(err)
		}
	}
	warm(t, second)
	one[int](t, first.Read().QueryRow(ctx, "select 1"))
	pause(t, there.Replicas()...)
	write(t, second, ctx, "insert into "+table+" values (1)")
	if n := one[int](t, second.Read().QueryRow(ctx, "select count(*) from "+table)); n != 1 {
		t.Errorf("a session that knows another cluster saw %d rows after a write", n)
	}
	if _, err := second.Token(ctx); err != nil {
		t.Error(err)
	}
}

// TestHookThatUndoesReadOnly: a hook that makes every connection writable is
// an error, not a storm of connections.
func TestHookThatUndoesReadOnly(t *testing.T) {
	c := common(t)
	needsReadOnlyReport(t, c)
	db := open(t, c, func(cfg *pgxdb.Config) {
		cfg.Pool = func(p *pgxpool.Config) {
			p.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, "set default_transaction_read_only = off")
				return err
			}
		}
	})
	ctx, cancel := context.WithTimeout(patience(t), 30*time.Second)
	defer cancel()
	var n int
	if err := db.Read().QueryRow(ctx, "select 1").Scan(&n); err == nil || ctx.Err() != nil {
		t.Errorf("%v", err)
	} else {
		t.Log(err)
	}
}

// TestRowsAfterClose: nothing comes any more.
func TestRowsAfterClose(t *testing.T) {
	db := open(t, common(t))
	rows, err := db.Read().Query(patience(t), "select 1")
	must(t, err)
	rows.Close()
	if rows.Next() {
		t.Error("there is a row after Close")
	}
	rows.Close()
}
