package pgxdb_test

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

func TestAutoTellsReadsFromWrites(t *testing.T) {
	c := common(t)
	table := tableOf(t, c, "k int")
	ctx := patience(t)
	conn, err := c.Primary().App(ctx)
	must(t, err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, `
		create or replace function auto_volatile() returns int language sql volatile as 'insert into `+table+` values (1) returning k';
		create or replace function auto_stable() returns int language sql stable as 'select 5';
		drop sequence if exists auto_sequence; create sequence auto_sequence`)
	must(t, err)
	must(t, c.WaitCaughtUp(ctx))
	db := open(t, c, patient)
	catalogued(t, db)
	var route pgxdb.Route
	auto := db.Auto().Trace(func(r pgxdb.Route) { route = r })
	count := "select count(*) from " + table
	for _, x := range []struct {
		sql    string
		role   router.Role
		reason router.Reason
	}{
		{count, router.RoleReplica, router.ReasonCovered},
		{"select auto_stable()", router.RoleReplica, router.ReasonCovered},
		{"select now(), random()", router.RoleReplica, router.ReasonCovered},
		{"/* pgroute: eventual, wait=5ms on_timeout=stale max_staleness=1min */ " + count, router.RoleReplica, router.ReasonCovered},
		{"/* pgroute: primary */ " + count, router.RolePrimary, router.ReasonHint},
		{"select auto_volatile()", router.RolePrimary, router.ReasonWrite},
		{"select nextval('auto_sequence')", router.RolePrimary, router.ReasonWrite},
		{"select pg_advisory_xact_lock(1)", router.RolePrimary, router.ReasonWrite},
		{"insert into " + table + " values (1)", router.RolePrimary, router.ReasonWrite},
		{"select * from " + table + " for update", router.RolePrimary, router.ReasonWrite},
		{"with x as (delete from " + table + " returning k) select count(*) from x", router.RolePrimary, router.ReasonWrite},
		{"set statement_timeout = 0", router.RolePrimary, router.ReasonWrite},
		{"begin read only", router.RolePrimary, router.ReasonWrite},
	} {
		for range 2 { // scanned, then remembered
			must(t, c.WaitCaughtUp(ctx))
			if _, err := auto.Exec(ctx, x.sql); err != nil {
				t.Errorf("%s: %v", x.sql, err)
			}
			if route.Role != x.role || route.Reason != x.reason && x.role == router.RolePrimary {
				t.Errorf("%s: ran by way of %+v", x.sql, route)
			}
		}
	}
	if n := one[int](t, auto.QueryRow(ctx, count)); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// TestAutoFollowsTheCatalogue makes a function volatile that was stable: its
// next call is a write.
func TestAutoFollowsTheCatalogue(t *testing.T) {
	c := common(t)
	ctx := patience(t)
	db := open(t, c, patient)
	catalogued(t, db)
	var route pgxdb.Route
	auto := db.Auto().Trace(func(r pgxdb.Route) { route = r })
	for i, kind := range []string{"stable", "volatile", "stable"} {
		run := auto.Exec
		if i == 1 {
			run = db.Exec // told by the tag
		}
		if _, err := run(ctx, "create or replace function auto_turns() returns int language sql "+kind+" as 'select 1'"); err != nil {
			t.Fatal(err)
		}
		one[int](t, auto.QueryRow(ctx, "select auto_turns()"))
		if kind == "volatile" && route.Role != router.RolePrimary {
			t.Errorf("a function that has just become volatile ran on a replica: %+v", route)
		}
		for kind == "stable" && route.Role != router.RoleReplica && ctx.Err() == nil {
			one[int](t, auto.QueryRow(ctx, "select auto_turns()"))
		}
	}
	must(t, ctx.Err())
}

// TestAutoCorrectsItself takes a write for a read, once. The replica refuses
// it, it runs on the primary, and the text is remembered.
func TestAutoCorrectsItself(t *testing.T) {
	c := common(t)
	table := tableOf(t, c, "k int")
	ctx := patience(t)
	db := open(t, c, patient)
	catalogued(t, db)
	var routes []pgxdb.Route
	auto := db.Auto().Trace(func(r pgxdb.Route) { routes = append(routes, r) })
	query := "insert into " + table + " values (1) returning k"
	exec := "insert into " + table + " values (2)"
	pgxdb.TakeForRead(db, query)
	pgxdb.TakeForRead(db, exec)
	for range 3 {
		one[int](t, auto.QueryRow(ctx, query))
		_, err := auto.Exec(ctx, exec)
		must(t, err)
	}
	for _, r := range routes {
		if r.Role != router.RolePrimary || r.Reason != router.ReasonWrite {
			t.Errorf("ran by way of %+v", r)
		}
	}
	if n := one[int](t, auto.QueryRow(ctx, "select count(*) from "+table)); n != 6 {
		t.Errorf("%d rows were written by 6 statements", n)
	}
	if s := db.Stat(); s.Redone != 2 {
		t.Errorf("%d statements were run again, not the first of each", s.Redone)
	}
}

func TestAutoWithTransactionsAndHints(t *testing.T) {
	c := common(t)
	table := tableOf(t, c, "k int")
	var log bytes.Buffer
	db := open(t, c, func(cfg *pgxdb.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	ctx := patience(t)
	pause(t, c.Replicas()...)
	auto := db.Auto()
	must(t, pgx.BeginFunc(ctx, auto, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "insert into "+table+" values (1)")
		return err
	}))
	count := "select count(*) from " + table
	if n := one[int](t, auto.QueryRow(ctx, count)); n != 1 {
		t.Errorf("%d rows", n)
	}
	if n := one[int](t, auto.QueryRow(ctx, "/* pgroute: eventual */ "+count)); n != 0 {
		t.Errorf("an eventual read saw %d rows", n)
	}
	if n := one[int](t, auto.QueryRow(ctx, "/* pgroute: nonsense */ "+count)); n != 1 {
		t.Errorf("%d rows", n)
	}
	if !bytes.Contains(log.Bytes(), []byte("nonsense")) {
		t.Error("nobody was told of a hint that is unknown")
	}
}
