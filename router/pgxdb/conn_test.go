package pgxdb_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestAcquiredConnection(t *testing.T) {
	c := common(t)
	table := tableOf(t, c, "k int")
	db := open(t, c)
	ctx := patience(t)
	pause(t, c.Replicas()...)
	conn, err := db.Acquire(ctx)
	must(t, err)
	must(t, conn.Ping(ctx))
	_, err = conn.Exec(ctx, "create temporary table own (k int)")
	must(t, err)
	insert := "insert into " + table + " values (1)"
	wrote := 0
	for name, use := range map[string]func() error{
		"Exec": func() error { _, err := conn.Exec(ctx, insert); return err },
		"Query": func() error {
			rows, err := conn.Query(ctx, insert+" returning k")
			if err != nil {
				return err
			}
			rows.Close()
			return rows.Err()
		},
		"QueryRow": func() error { return conn.QueryRow(ctx, insert+" returning k").Scan(new(int)) },
		"Begin": func() error {
			return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { _, err := tx.Exec(ctx, insert); return err })
		},
		"SendBatch": func() error {
			b := &pgx.Batch{}
			b.Queue(insert)
			return conn.SendBatch(ctx, b).Close()
		},
		"CopyFrom": func() error {
			_, err := conn.CopyFrom(ctx, pgx.Identifier{table}, []string{"k"}, pgx.CopyFromRows([][]any{{1}}))
			return err
		},
	} {
		if err := use(); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wrote++
		if n := one[int](t, db.Read().QueryRow(ctx, "select count(*) from "+table)); n != wrote {
			t.Errorf("%s: %d rows are seen after %d writes", name, n, wrote)
		}
	}
	if n := one[int](t, conn.QueryRow(ctx, "select count(*) from own")); n != 0 {
		t.Errorf("%d rows in the temporary table", n)
	}
	_, err = conn.Conn().Exec(context.WithoutCancel(ctx), insert)
	must(t, err)
	conn.Release()
	conn.Release()
	if n := one[int](t, db.Read().QueryRow(ctx, "select count(*) from "+table)); n != wrote+1 {
		t.Errorf("%d rows are seen after the release", n)
	}
}
