package pgxdb_test

import (
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

func TestBatches(t *testing.T) {
	c := common(t)
	table := tableOf(t, c, "k int")
	db := open(t, c)
	ctx := patience(t)
	catalogued(t, db)
	auto := db.Auto()
	var route pgxdb.Route
	trace := func(r pgxdb.Route) { route = r }
	insert, count := "insert into "+table+" values ($1)", "select count(*) from "+table
	for name, x := range map[string]struct {
		q    pgxdb.Queries
		sql  []string
		role router.Role
	}{
		"read":                 {db.Read(), []string{count, count}, router.RoleReplica},
		"auto, reads":          {auto, []string{count, "select 1"}, router.RoleReplica},
		"auto, one write":      {auto, []string{count, insert}, router.RolePrimary},
		"auto, hint":           {auto, []string{"/* pgroute: primary */ " + count}, router.RolePrimary},
		"write, though a read": {db.Write(), []string{count}, router.RolePrimary},
	} {
		b := &pgx.Batch{}
		for _, sql := range x.sql {
			if sql == insert {
				b.Queue(sql, 1)
			} else {
				b.Queue(sql)
			}
		}
		if err := x.q.Within(time.Minute, router.OnTimeoutError).Trace(trace).SendBatch(ctx, b).Close(); err != nil || route.Role != x.role {
			t.Errorf("%s: %v, by way of %+v", name, err, route)
		}
	}

	pause(t, c.Replicas()...)
	b := &pgx.Batch{}
	for i := range 10 {
		b.Queue(insert, i)
	}
	seen := 0
	b.Queue(count).QueryRow(func(r pgx.Row) error { return r.Scan(&seen) })
	must(t, db.SendBatch(ctx, b).Close())
	if n := one[int](t, db.Read().QueryRow(ctx, count)); n != seen || n < 10 {
		t.Errorf("%d rows are seen after a batch that saw %d", n, seen)
	}
	n, err := db.CopyFrom(ctx, pgx.Identifier{table}, []string{"k"}, pgx.CopyFromRows([][]any{{100}, {101}}))
	if err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
	if n := one[int](t, db.Read().QueryRow(ctx, count)); n != seen+2 {
		t.Errorf("%d rows are seen after a copy", n)
	}
	b = &pgx.Batch{}
	b.Queue(insert, 1)
	var pg *pgconn.PgError
	if err := db.Read().SendBatch(ctx, b).Close(); !errors.As(err, &pg) || pg.Code != "25006" {
		t.Errorf("a batch of reads that writes: %v", err)
	}
}

func TestBatchIsReadByResults(t *testing.T) {
	db := open(t, common(t))
	ctx := patience(t)
	for name, q := range map[string]pgxdb.Queries{"read": db.Read(), "write": db.Write()} {
		b := &pgx.Batch{}
		b.Queue("select 1")
		b.Queue("select 2")
		b.Queue("select 3")
		r := q.SendBatch(ctx, b)
		if tag, err := r.Exec(); err != nil || tag.String() != "SELECT 1" {
			t.Errorf("%s: %q, %v", name, tag, err)
		}
		if v := one[int](t, r.QueryRow()); v != 2 {
			t.Errorf("%s: %d", name, v)
		}
		rows, err := r.Query()
		must(t, err)
		if v, err := pgx.CollectOneRow(rows, pgx.RowTo[int]); err != nil || v != 3 {
			t.Errorf("%s: %d, %v", name, v, err)
		}
		must(t, r.Close())
		must(t, r.Close())
	}
	for _, p := range db.Stat().Pools {
		if p.AcquiredConns() != 0 {
			t.Errorf("%d connections to %s were not given back", p.AcquiredConns(), p.Node)
		}
	}
}

func TestBatchThatBegins(t *testing.T) {
	c := common(t)
	table := tableOf(t, c, "k int")
	db := open(t, c)
	ctx := patience(t)
	pause(t, c.Replicas()...)
	b := &pgx.Batch{}
	b.BeginTx(pgx.TxOptions{})
	b.Queue("insert into " + table + " values (1)")
	r := db.SendBatch(ctx, b)
	tx := r.Tx()
	must(t, r.Close())
	must(t, tx.Commit(ctx))
	if n := one[int](t, db.Read().QueryRow(ctx, "select count(*) from "+table)); n != 1 {
		t.Errorf("%d rows", n)
	}
	for _, p := range db.Stat().Pools {
		if p.AcquiredConns() != 0 {
			t.Errorf("%d connections to %s were not given back", p.AcquiredConns(), p.Node)
		}
	}
}
