package main

import (
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
		rows, err := admin.Query(t.Context(), "SHOW "+show)
		if err != nil {
			t.Fatal(err)
		}
		list, err := pgx.CollectRows(rows, pgx.RowToMap)
		if err != nil {
			t.Fatal(err)
		}
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
