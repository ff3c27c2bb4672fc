package pgxdb_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// DBTX is what sqlc generates for pgx, with the interfaces of its options.
type DBTX interface {
	Exec(context.Context, string, ...any) (pgconn.CommandTag, error)
	Query(context.Context, string, ...any) (pgx.Rows, error)
	QueryRow(context.Context, string, ...any) pgx.Row
	CopyFrom(context.Context, pgx.Identifier, []string, pgx.CopyFromSource) (int64, error)
	SendBatch(context.Context, *pgx.Batch) pgx.BatchResults
}

// beginner is what pgx.BeginFunc and pgx.BeginTxFunc take.
type beginner interface {
	Begin(context.Context) (pgx.Tx, error)
	BeginTx(context.Context, pgx.TxOptions) (pgx.Tx, error)
}

var (
	_ DBTX     = (*pgxdb.DB)(nil)
	_ DBTX     = pgxdb.Queries{}
	_ DBTX     = (*pgxdb.Conn)(nil)
	_ beginner = (*pgxdb.DB)(nil)
	_ beginner = pgxdb.Queries{}
	_ beginner = (*pgxdb.Conn)(nil)
)

func TestRowsAreThoseOfAPool(t *testing.T) {
	c := common(t)
	db := open(t, c)
	ctx := patience(t)
	for name, q := range map[string]pgxdb.Queries{"read": db.Read(), "write": db.Write(), "auto": db.Auto()} {
		t.Run(name, func(t *testing.T) {
			rows, err := q.Query(ctx, "select i, 'x' || i as name from generate_series(1, 3) i")
			must(t, err)
			if f := rows.FieldDescriptions(); len(f) != 2 || f[1].Name != "name" {
				t.Errorf("fields %v", f)
			}
			type item struct {
				I    int
				Name string
			}
			items, err := pgx.CollectRows(rows, pgx.RowToStructByName[item])
			if err != nil || fmt.Sprint(items) != "[{1 x1} {2 x2} {3 x3}]" {
				t.Errorf("%v, %v", items, err)
			}
			if tag := rows.CommandTag(); tag.String() != "SELECT 3" {
				t.Errorf("tag %q", tag)
			}

			rows, err = q.Query(ctx, "select 1 as one where false")
			must(t, err)
			if f := rows.FieldDescriptions(); len(f) != 1 || f[0].Name != "one" {
				t.Errorf("fields of nothing %v", f)
			}
			if rows.Next() || rows.Err() != nil {
				t.Errorf("a row of nothing, or %v", rows.Err())
			}
			rows.Close()

			rows, err = q.Query(ctx, "select i from generate_series(1, 100000) i")
			must(t, err)
			if !rows.Next() {
				t.Fatal(rows.Err())
			}
			if v, err := rows.Values(); err != nil || v[0] != int32(1) {
				t.Errorf("%v, %v", v, err)
			}
			rows.Close()
			rows.Close()

			if err := q.QueryRow(ctx, "select 1 where false").Scan(new(int)); !errors.Is(err, pgx.ErrNoRows) {
				t.Errorf("no row: %v", err)
			}
			var pg *pgconn.PgError
			if err := q.QueryRow(ctx, "select 1/0").Scan(new(int)); !errors.As(err, &pg) || pg.Code != "22012" {
				t.Errorf("division by zero: %v", err)
			}
			if err := q.QueryRow(ctx, "select 'x'").Scan(new(time.Time)); err == nil {
				t.Error("a text was scanned into a time")
			}
			rows, err = q.Query(ctx, "selekt")
			if rows == nil {
				t.Fatal("no rows to close")
			}
			rows.Close()
			if err == nil {
				err = rows.Err()
			}
			if !errors.As(err, &pg) || pg.Code != "42601" {
				t.Errorf("a syntax error: %v", err)
			}
			tag, err := q.Exec(ctx, "select 1")
			if err != nil || tag.String() != "SELECT 1" {
				t.Errorf("%q, %v", tag, err)
			}
			canceled, cancel := context.WithCancel(ctx)
			cancel()
			if err := q.QueryRow(canceled, "select 1").Scan(new(int)); !errors.Is(err, context.Canceled) {
				t.Errorf("with a context that has ended: %v", err)
			}
		})
	}
	for _, p := range db.Stat().Pools {
		if p.AcquiredConns() != 0 {
			t.Errorf("%d connections to %s were not given back", p.AcquiredConns(), p.Node)
		}
	}
}

func TestReadMayNotWrite(t *testing.T) {
	c := common(t)
	table := tableOf(t, c, "k int")
	db := open(t, c)
	ctx := patience(t)
	for _, level := range []router.Level{router.LevelSession, router.LevelPrimary} {
		for _, sql := range []string{"insert into " + table + " values (1)", "insert into " + table + " values (1) returning k", "create table nope ()"} {
			_, err := db.Read().At(level).Exec(ctx, sql)
			var pg *pgconn.PgError
			if !errors.As(err, &pg) || pg.Code != "25006" || pg.Hint == "" || !strings.Contains(err.Error(), "use Write or Auto") {
				t.Errorf("%s: %s: %v", level, sql, err)
			}
		}
		if err := db.Read().At(level).QueryRow(ctx, "insert into "+table+" values (1) returning k").Scan(new(int)); err == nil {
			t.Error("a read has written")
		}
		if _, err := db.Read().At(level).CopyFrom(ctx, pgx.Identifier{table}, []string{"k"}, pgx.CopyFromRows([][]any{{1}})); err == nil {
			t.Error("a read has copied")
		}
	}
	if n := one[int](t, db.QueryRow(ctx, "select count(*) from "+table)); n != 0 {
		t.Errorf("%d rows were written by reads", n)
	}
}

// TestReadOnlyStaysReadOnly spoils a connection: it must not be used again.
func TestReadOnlyStaysReadOnly(t *testing.T) {
	c := common(t)
	needsReadOnlyReport(t, c)
	table := tableOf(t, c, "k int")
	db := open(t, c, func(cfg *pgxdb.Config) { cfg.DSN += "&pool_max_conns=1" })
	ctx := patience(t)
	primary := db.Read().At(router.LevelPrimary)
	_, err := primary.Exec(ctx, "set default_transaction_read_only = off")
	must(t, err)
	if _, err := primary.Exec(ctx, "insert into "+table+" values (1)"); err == nil {
		t.Error("a read has written on a connection that was spoilt")
	}
}

// TestReadSeesWhatOnlyThePrimaryHas: a name that a replica does not know yet
// is looked up on the primary.
func TestReadSeesWhatOnlyThePrimaryHas(t *testing.T) {
	c := common(t)
	db := open(t, c)
	ctx := patience(t)
	pause(t, c.Replicas()...)
	conn, err := c.Primary().App(ctx)
	must(t, err)
	defer conn.Close(ctx)
	table := fmt.Sprint("brand_new_", time.Now().UnixNano())
	_, err = conn.Exec(ctx, "create table "+table+" as select 7 as v")
	must(t, err)
	var route pgxdb.Route
	q := db.Read().At(router.LevelEventual).Trace(func(r pgxdb.Route) { route = r })
	if v := one[int](t, q.QueryRow(ctx, "select v from "+table)); v != 7 || route.Role != router.RolePrimary || route.Reason != router.ReasonRedo {
		t.Errorf("%d by way of %+v", v, route)
	}
	// A function that works on a primary only.
	if v := one[bool](t, q.QueryRow(ctx, "select pg_current_wal_lsn() > '0/0'")); !v || route.Role != router.RolePrimary {
		t.Errorf("%v by way of %+v", v, route)
	}
	var pg *pgconn.PgError
	if err := q.QueryRow(ctx, "select v from no_such_table").Scan(new(int)); !errors.As(err, &pg) || pg.Code != "42P01" {
		t.Errorf("a table that nobody has: %v", err)
	}
}
