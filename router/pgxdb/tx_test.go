package pgxdb_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

func TestWhereTransactionsRun(t *testing.T) {
	c := common(t)
	db := open(t, c, patient)
	ctx := patience(t)
	readOnly := pgx.TxOptions{AccessMode: pgx.ReadOnly}
	for name, x := range map[string]struct {
		begin   func(context.Context, pgx.TxOptions) (pgx.Tx, error)
		options pgx.TxOptions
		replica bool
	}{
		"db":                            {db.BeginTx, pgx.TxOptions{}, false},
		"db, read only":                 {db.BeginTx, readOnly, true},
		"db, read only serializable":    {db.BeginTx, pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: pgx.Serializable}, false},
		"auto":                          {db.Auto().BeginTx, pgx.TxOptions{}, false},
		"auto, read only":               {db.Auto().BeginTx, readOnly, true},
		"write, read only":              {db.Write().BeginTx, readOnly, false},
		"read":                          {db.Read().BeginTx, pgx.TxOptions{}, true},
		"read, repeatable":              {db.Read().BeginTx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, true},
		"read, serializable":            {db.Read().BeginTx, pgx.TxOptions{IsoLevel: pgx.Serializable}, false},
		"read, at the level of primary": {db.Read().At(router.LevelPrimary).BeginTx, pgx.TxOptions{}, false},
	} {
		tx, err := x.begin(ctx, x.options)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := one[bool](t, tx.QueryRow(ctx, "select pg_is_in_recovery()")); got != x.replica {
			t.Errorf("%s: on a replica: %v", name, got)
		}
		must(t, tx.Commit(ctx))
		if err := tx.Rollback(ctx); !errors.Is(err, pgx.ErrTxClosed) {
			t.Errorf("%s: after the end: %v", name, err)
		}
	}
	if _, err := db.Read().BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadWrite}); err == nil {
		t.Error("a read began a transaction that writes")
	}
}

func TestTransactionIsSeenAtOnce(t *testing.T) {
	c := common(t)
	table := tableOf(t, c, "k int")
	db := open(t, c)
	ctx := patience(t)
	warm(t, db) // or the first write shares the ticket that was taken by Open
	pause(t, c.Replicas()...)
	count := "select count(*) from " + table
	before := db.Session().Ticket()
	must(t, pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "insert into "+table+" values (1)")
		return errors.Join(err, pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "insert into "+table+" values (2)")
			return err
		}))
	}))
	if db.Session().Ticket() == before {
		t.Error("the commit took no ticket")
	}
	if n := one[int](t, db.Read().QueryRow(ctx, count)); n != 2 {
		t.Errorf("%d rows after the commit", n)
	}
	before = db.Session().Ticket()
	boom := errors.New("boom")
	err := pgx.BeginFunc(ctx, db.Write(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "insert into "+table+" values (3)"); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Error(err)
	}
	if db.Session().Ticket() != before {
		t.Error("the rollback took a ticket")
	}
	tx, err := db.Begin(ctx)
	must(t, err)
	_, err = tx.Exec(ctx, "insert into "+table+" values (4)")
	must(t, err)
	_, err = tx.Exec(ctx, "commit")
	must(t, err)
	_ = tx.Rollback(ctx)
	if n := one[int](t, db.Read().QueryRow(ctx, count)); n != 3 {
		t.Errorf("%d rows after a commit by hand", n)
	}
}

func TestReadCommittedOnAReplicaSeesWhatTheSessionWrites(t *testing.T) {
	c := common(t)
	table := tableOf(t, c, "k int")
	db := open(t, c)
	ctx := patience(t)
	count := "select count(*) from " + table
	err := pgx.BeginTxFunc(ctx, db, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		for i := range 20 {
			var n int
			if err := tx.QueryRow(ctx, count).Scan(&n); err != nil {
				return err
			}
			if n != i {
				t.Errorf("%d rows are seen after %d writes", n, i)
			}
			write(t, db, ctx, "insert into "+table+" values ($1)", i)
		}
		return nil
	})
	// The replica may be late on a loaded machine: then it must say so.
	var pg *pgconn.PgError
	if err != nil && (!errors.As(err, &pg) || pg.Code != "40001") {
		t.Error(err)
	}

	// On a loaded machine no replica may be there in so short a time.
	var tx pgx.Tx
	before := -1
	for before < 0 {
		tx, err = db.Read().Within(20*time.Millisecond, router.OnTimeoutError).Begin(ctx)
		if err == nil {
			if err = tx.QueryRow(ctx, count).Scan(&before); err != nil {
				_ = tx.Rollback(ctx)
			}
		}
		if err != nil && (!errors.As(err, &pg) || pg.Code != "PR001" && pg.Code != "40001") {
			t.Fatal(err)
		}
	}
	defer tx.Rollback(ctx)
	repeatable, err := db.Read().BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	must(t, err)
	defer repeatable.Rollback(ctx)
	snapshot := one[int](t, repeatable.QueryRow(ctx, count))
	resume := pause(t, c.Replicas()...)
	write(t, db, ctx, "insert into "+table+" values (100)")
	err = tx.QueryRow(ctx, count).Scan(new(int))
	if !errors.As(err, &pg) || pg.Code != "40001" {
		t.Errorf("a transaction whose replica is behind the session: %v", err)
	}
	if n := one[int](t, repeatable.QueryRow(ctx, count)); n != snapshot {
		t.Errorf("a snapshot showed %d rows, then %d", snapshot, n)
	}
	resume()
	must(t, c.WaitCaughtUp(ctx))
	// That the replica is there again has to reach the router, too.
	n := 0
	for {
		if err := tx.QueryRow(ctx, count).Scan(&n); !errors.As(err, &pg) || pg.Code != "40001" {
			must(t, err)
			break
		}
	}
	if n != before+1 {
		t.Errorf("%d rows after the replica had caught up, %d before", n, before)
	}
}

func TestSavepointsOnAReplica(t *testing.T) {
	db := open(t, common(t), patient)
	ctx := patience(t)
	tx, err := db.Read().Begin(ctx)
	must(t, err)
	inner, err := tx.Begin(ctx)
	must(t, err)
	if _, err := inner.Exec(ctx, "select 1/0"); err == nil {
		t.Error("no error")
	}
	must(t, inner.Rollback(ctx))
	if v := one[bool](t, tx.QueryRow(ctx, "select pg_is_in_recovery()")); !v {
		t.Error("not on a replica")
	}
	must(t, tx.Commit(ctx))
}

func TestMayEnd(t *testing.T) {
	for sql, want := range map[string]bool{
		"select 1": false, "": false, "co": false, "e": false, "insert into t values (1)": false,
		"COMMIT": true, "select 1; commit": true, "End": true, "prepare transaction 'x'": true, "select case when a then b end": true,
	} {
		if got := pgxdb.MayEnd(sql); got != want {
			t.Errorf("%q: %v", sql, got)
		}
	}
}
