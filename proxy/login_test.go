package proxy_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
)

func asPg(err error, pe **pgconn.PgError) bool { return errors.As(err, pe) }

// wantCode checks that err is an error of a server, or of the proxy, with one
// of the codes.
func wantCode(t testing.TB, err error, codes ...string) {
	t.Helper()
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		t.Errorf("got %v, want SQLSTATE %v", err, codes)
	} else if !slices.Contains(codes, pe.Code) {
		t.Errorf("got %s (%s), want SQLSTATE %v", pe.Code, pe.Message, codes)
	}
}

func TestLoginWithSCRAM(t *testing.T) {
	c := use(t, asking)
	s := start(t, proxy.Config{Source: source(c)})
	dsn := func(user, password, database, params string) string {
		return "postgres://" + user + ":" + password + "@" + s.addr() + "/" + database + "?sslmode=disable&" + params
	}
	conn := connect(t, dsn(cluster.AppUser, cluster.AppPassword, cluster.AppDatabase, ""))
	var user string
	for range 3 {
		if err := conn.QueryRow(t.Context(), "select current_user").Scan(&user); err != nil || user != cluster.AppUser {
			t.Fatalf("current_user is %q, %v", user, err)
		}
		if _, err := conn.Exec(t.Context(), "create temp table if not exists x (a int)"); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct{ reason, dsn, code string }{
		{"a wrong password", dsn(cluster.AppUser, "wrong", cluster.AppDatabase, ""), "28P01"},
		{"an unknown user", dsn("nobody", "x", cluster.AppDatabase, ""), "28P01"},
		{"an unknown database", dsn(cluster.AppUser, cluster.AppPassword, "nope", ""), "3D000"},
		{"a setting with a wrong value", dsn(cluster.AppUser, cluster.AppPassword, cluster.AppDatabase, "work_mem=much"), "22023"},
		{"an unknown setting", dsn(cluster.AppUser, cluster.AppPassword, cluster.AppDatabase, "nosuch=1"), "42704"},
		{"a setting that only a superuser may change", dsn(cluster.AppUser, cluster.AppPassword, cluster.AppDatabase, "log_statement=all"), "42501"},
		{"a pgroute setting with a wrong value", dsn(cluster.AppUser, cluster.AppPassword, cluster.AppDatabase, "pgroute.consistency=much"), "22023"},
		{"an unknown pgroute setting", dsn(cluster.AppUser, cluster.AppPassword, cluster.AppDatabase, "pgroute.nosuch=1"), "22023"},
		{"replication without the right to it", dsn(cluster.AppUser, cluster.AppPassword, cluster.AppDatabase, "replication=database"), "42501"},
	} {
		conn, err := pgx.Connect(t.Context(), x.dsn)
		if err == nil {
			conn.Close(t.Context())
			t.Errorf("%s is accepted", x.reason)
			continue
		}
		t.Run(x.reason, func(t *testing.T) { wantCode(t, err, x.code) })
	}
	// Whoever is logged in notices nothing.
	if err := conn.QueryRow(t.Context(), "select current_user").Scan(&user); err != nil {
		t.Error(err)
	}
}

func TestLoginWithTrust(t *testing.T) {
	s := use(t, plain)
	conn := connect(t, s.dsnOf(cluster.AppUser, cluster.AppDatabase, "application_name=me&options=-c%20work_mem%3D777kB"))
	var user, name, mem string
	if err := conn.QueryRow(t.Context(), "select current_user, current_setting('application_name'), current_setting('work_mem')").Scan(&user, &name, &mem); err != nil {
		t.Fatal(err)
	}
	if user != cluster.AppUser || name != "me" || mem != "777kB" {
		t.Errorf("got %q, %q, %q", user, name, mem)
	}
	if got := conn.PgConn().ParameterStatus("application_name"); got != "me" {
		t.Errorf("application_name is reported as %q", got)
	}
	for _, x := range []struct{ user, database, code string }{
		{"nobody", cluster.AppDatabase, "28000"},
		{cluster.AppUser, "nope", "3D000"},
	} {
		conn, err := pgx.Connect(t.Context(), s.dsnOf(x.user, x.database, ""))
		if err == nil {
			conn.Close(t.Context())
			t.Errorf("%s may enter %s", x.user, x.database)
			continue
		}
		wantCode(t, err, x.code)
	}
}

// TestStartupSettingsComeBack: RESET takes a setting back to what the client
// asked for when it logged in.
func TestStartupSettingsComeBack(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 1})
	a := s.connect(t, "application_name=a&work_mem=300kB&search_path=pg_catalog,public&timezone=Asia/Tokyo")
	b := s.connect(t, "application_name=b")
	show := func(c *pgx.Conn) string {
		t.Helper()
		var v string
		if err := c.QueryRow(context.Background(), "select concat_ws('|', current_setting('application_name'), current_setting('work_mem'), current_setting('search_path'), current_setting('timezone'))", pgx.QueryExecModeSimpleProtocol).Scan(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	const mine, theirs = "a|300kB|pg_catalog,public|Asia/Tokyo", `b|4MB|"$user", public|UTC`
	for _, sql := range [][]string{
		{"select 1"}, {"set work_mem = '1MB'", "reset work_mem"}, {"reset all"}, {"discard all"}, {"begin", "set timezone = 'UTC'", "rollback"},
		{"begin", "reset timezone", "commit"}, {"set search_path to public", "set application_name = 'x'", "reset all"}, {"set role app", "reset role"},
	} {
		for _, one := range sql {
			if _, err := a.Exec(t.Context(), one); err != nil {
				t.Fatalf("%s: %v", one, err)
			}
		}
		if got := show(a); got != mine {
			t.Errorf("after %q: %s, want %s", sql, got, mine)
		}
		if _, err := a.Exec(t.Context(), "discard all"); err != nil {
			t.Fatal(err)
		}
		if got := show(b); got != theirs {
			t.Errorf("after %q the other client has %s, want %s", sql, got, theirs)
		}
	}
}
