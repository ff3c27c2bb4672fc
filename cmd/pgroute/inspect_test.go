package main

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
)

// SHOW CLIENTS, SERVERS and POOLS tell who has what.
func TestAdminShowsWhoHasWhat(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Replicas: -1})
	r := start(t, append(servers(c), "--listen", "127.0.0.1:0", "--loops", "2")...)
	r.ready(t)
	admin := r.connect(t, "pgroute")
	pinned := r.connect(t, cluster.AppDatabase)
	if _, err := pinned.Exec(t.Context(), "CREATE TEMP TABLE news (a int)"); err != nil {
		t.Fatal(err)
	}
	find := func(show, column string, value any) map[string]any {
		t.Helper()
		list := shown(t, admin, show)
		for _, row := range list {
			if row[column] == value {
				return row
			}
		}
		t.Fatalf("SHOW %s has no row with %s = %v: %v", show, column, value, list)
		return nil
	}
	cl := find("CLIENTS", "remote_pid", int64(pinned.PgConn().PID()))
	if cl["state"] != "active" || cl["pin"] != "temporary table" || cl["user"] != cluster.AppUser || cl["addr"] != "127.0.0.1" {
		t.Errorf("SHOW CLIENTS: %v", c)
	}
	b := find("SERVERS", "remote_pid", cl["link"])
	if b["state"] != "active" || b["role"] != "primary" || b["link"] != cl["remote_pid"] || b["database"] != cluster.AppDatabase {
		t.Errorf("SHOW SERVERS: %v", b)
	}
	p := find("POOLS", "node", cl["node"])
	if p["sv_active"] != int64(1) || p["user"] != cluster.AppUser || p["pool_mode"] != "auto" {
		t.Errorf("SHOW POOLS: %v", p)
	}
	if err := pinned.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Nor does who waits to hear what became of a COMMIT keep SHOW from telling.
func TestAdminShowsWhoWaitsForAnOutcome(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := cluster.Start(t, cluster.Options{Replicas: -1})
	r := start(t, append(servers(c), "--listen", "127.0.0.1:0", "--failover-wait", "5m")...)
	r.ready(t)
	admin, doubtful := r.connect(t, "pgroute"), r.connect(t, cluster.AppDatabase)
	if _, err := doubtful.Exec(ctx, "CREATE TABLE doubt (a int); SET application_name = 'doubtful'", pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	if err := c.Primary().SetSynchronous(ctx, "nobody"); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"BEGIN", "INSERT INTO doubt VALUES (1)"} {
		if _, err := doubtful.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	answered := make(chan struct{})
	ctx, hangUp := context.WithCancel(ctx)
	defer func() { <-answered }()
	defer hangUp()
	go func() { // ends when the test hangs up
		defer close(answered)
		_, _ = doubtful.Exec(ctx, "COMMIT") // nobody will ever say
	}()
	eventually(t, "the COMMIT waits", func() bool {
		v, err := c.Primary().QueryString(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
		return err == nil && v == "1"
	})
	if err := c.Primary().Stop(cluster.Kill); err != nil {
		t.Fatal(err)
	}
	eventually(t, "SHOW CLIENTS tells what the client waits for", func() bool {
		list := shown(t, admin, "CLIENTS")
		for _, row := range list {
			if row["remote_pid"] == int64(doubtful.PgConn().PID()) && row["waits_for"] == "the outcome of a COMMIT" {
				return true
			}
		}
		return false
	})
	if !strings.HasPrefix(queryText(t, admin, "SHOW VERSION"), "pgroute") {
		t.Error("the proxy does not go on")
	}
}

// shown are the rows of a SHOW, by the names of their columns.
func shown(t *testing.T, admin *pgx.Conn, what string) []map[string]any {
	t.Helper()
	rows, err := admin.Query(t.Context(), "SHOW "+what)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToMap)
	if err != nil {
		t.Fatal(err)
	}
	return list
}
