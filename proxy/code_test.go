package proxy_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
)

// pinOf returns what SHOW CLIENTS says pins a client, empty if nothing does.
func (s *served) pinOf(t testing.TB, admin, conn *pgx.Conn) string {
	t.Helper()
	rows, err := admin.Query(t.Context(), "show clients")
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToMap)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range list {
		if row["remote_pid"] == int64(conn.PgConn().PID()) {
			pin, _ := row["pin"].(string)
			return pin
		}
	}
	t.Fatalf("SHOW CLIENTS does not show the client: %v", list)
	return ""
}

// role returns where the client's last statement ran.
func role(t testing.TB, conn *pgx.Conn) string {
	t.Helper()
	var node, role, reason, waited string
	if err := conn.QueryRow(t.Context(), "show pgroute.last_route").Scan(&node, &role, &reason, &waited); err != nil {
		t.Fatal(err)
	}
	return role
}

func must(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// onReplica waits until a client's reads run on a replica, as they do only where
// the catalogue is known.
func onReplica(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	eventually(t, func() error {
		must(t, conn, sql)
		if role(t, conn) != "replica" {
			return errString("no read runs on a replica yet")
		}
		return nil
	})
}

const codeObjects = `create table code_t (a int);
create function code_write() returns int language plpgsql as 'begin insert into code_t values (1); return 1; end';
create function code_set() returns text language sql as $$ select set_config('code.a', 'x', false) $$;
create procedure code_plain() language plpgsql as 'begin insert into code_t values (1); commit; set local code.a = 1; end';
create procedure code_leaves() language plpgsql as 'begin perform code_set(); end'`

// TestCode: DO and CALL pin a client if they may leave something behind in the
// session, and only then.
func TestCode(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Replicas: 1, Trust: true})
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust})
	const simple = "default_query_exec_mode=simple_protocol"
	admin, err := pgx.Connect(t.Context(), s.dsnOf(cluster.SuperUser, "pgroute", simple))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	conn := s.connect(t, simple)
	must(t, conn, codeObjects)
	must(t, conn, "set pgroute.consistency = eventual")
	conn = s.connect(t, simple) // several statements, one a CREATE FUNCTION, pin
	must(t, conn, "set pgroute.consistency = eventual")
	onReplica(t, conn, "select count(*) from code_t")
	for _, sql := range []string{
		"do 'begin null; end'", "do $$ declare n int; begin select count(*) into n from code_t; if (n > 0) then perform code_write(); end if; end $$",
		"do language plpgsql $$ begin insert into code_t values (2); commit; set local work_mem = '9MB'; execute 'insert into code_t values (3)'; end $$",
		"call code_plain()", "do 'begin call code_plain(); end'", "do $$ begin create table if not exists code_u (a int); end $$",
	} {
		must(t, conn, sql)
		if pin := s.pinOf(t, admin, conn); pin != "" {
			t.Errorf("%s: the client is pinned: %s", sql, pin)
		}
	}
	onReplica(t, conn, "select count(*) from code_u")
	for _, sql := range []string{
		"call code_leaves()", "do 'begin call code_leaves(); end'", "do 'begin perform code_set(); end'", "do 'begin set work_mem = 1024; end'",
		"do 'begin create temp table code_x (a int); end'", "do 'begin perform pg_advisory_lock(1); end'", "do 'begin listen code_x; end'",
		"do $$ begin execute 'set work_mem ' || '= 1024'; end $$", "do $$ begin execute 'set work_mem = 1024'; end $$", "do 'begin load ''plpgsql''; end'",
		"do 'begin perform set_config(''code.a'', ''x'', false); end'",
	} {
		conn := s.connect(t, simple)
		must(t, conn, sql)
		if s.pinOf(t, admin, conn) == "" {
			t.Errorf("%s: the client is not pinned", sql)
		}
		conn.Close(t.Context())
	}
}

// TestTemporaryTablesOfOthers: a client that makes and drops temporary tables is
// pinned itself, and the reads of others go on running on replicas.
func TestTemporaryTablesOfOthers(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Replicas: 1, Trust: true})
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust})
	const simple = "default_query_exec_mode=simple_protocol"
	maker, reader := s.connect(t, simple), s.connect(t, simple)
	must(t, maker, "create table others (a int)")
	must(t, reader, "set pgroute.consistency = eventual")
	onReplica(t, reader, "select count(*) from others")
	for _, sql := range []string{
		"create temp table x (a int primary key, b serial)", "create temporary table y as select 1 as a", "create temp view v as select 1 as a",
		"create temp sequence q", "begin; create temp table z (a int) on commit drop; commit", "drop view pg_temp.v", "drop table pg_temp.x, pg_temp.y",
	} {
		for range 3 {
			must(t, maker, sql)
			must(t, reader, "select count(*) from others")
			if role(t, reader) != "replica" {
				t.Errorf("%s: the next read of another client runs on the primary", sql)
			}
			if sql[0] != 'b' {
				break
			}
		}
	}
}
