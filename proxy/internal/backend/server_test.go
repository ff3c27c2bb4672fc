package backend_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy/internal/auth"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
)

// A fixture is a real cluster and a front door that lets clients in by the
// verifiers that its primary stores.
type fixture struct {
	*cluster.Cluster
	front  net.Listener
	logins chan login
}

// A login is what the front door learned of one client.
type login struct {
	startup *handshake.Startup
	keys    *auth.Keys
	err     error
}

func target(n *cluster.Node) backend.Target { return backend.Target{Host: n.Host, Port: n.Port} }

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{Cluster: cluster.Start(t, cluster.Options{}), logins: make(chan login, 4)}
	if err := f.WaitCaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	var err error
	if f.front, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.front.Close() })
	cfg := handshake.Config{
		Lookup: auth.NewCache(f.verifier, auth.CacheConfig{}),
		Mock:   auth.NewMock(),
	}
	ctx := t.Context()
	go acceptLoop(f.front, func(conn net.Conn) { // ends with the listener
		f.logins <- admit(ctx, conn, cfg)
	})
	return f
}

// verifier asks as the monitor does, who is no superuser.
func (f *fixture) verifier(ctx context.Context, user string) (secret string, err error) {
	conn, err := pgx.Connect(ctx, f.Primary().DSN(cluster.MonitorUser, cluster.MonitorPassword, cluster.AppDatabase))
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, "SELECT coalesce(pgroute.verifier($1), '')", user).Scan(&secret)
	return secret, err
}

// admit logs one client in and hangs up.
func admit(ctx context.Context, conn net.Conn, cfg handshake.Config) (l login) {
	outcome, err := handshake.Accept(ctx, conn, cfg)
	if err == nil {
		l.startup = outcome.Startup
		l.keys, err = handshake.Authenticate(ctx, conn, l.startup, cfg)
	}
	if err != nil {
		l.err = err
		handshake.Refuse(conn, err)
		return l
	}
	l.err = handshake.Welcome(conn, nil, 1, []byte("key4"))
	return l
}

// enter lets a pgx client in through the front door.
func (f *fixture) enter(t *testing.T, user, password, options string) (login, error) {
	t.Helper()
	cfg, err := pgconn.ParseConfig(fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", user, password, f.front.Addr(), cluster.AppDatabase))
	if err != nil {
		t.Fatal(err)
	}
	if options != "" {
		cfg.RuntimeParams["options"] = options
	}
	conn, err := pgconn.ConnectConfig(t.Context(), cfg)
	if err == nil {
		conn.Close(t.Context())
	}
	return <-f.logins, err
}

// query runs a statement on a raw connection and returns the one value.
func query(t *testing.T, h *backend.Hello, sql string) string {
	t.Helper()
	values, err := queryAll(t, h, sql)
	if err != nil || len(values) != 1 {
		t.Fatalf("%s: %q, %v", sql, values, err)
	}
	return values[0]
}

// queryAll hands the connection to pgconn, which shows that it is in a state
// in which somebody else can go on with it, to the byte.
func queryAll(t *testing.T, h *backend.Hello, sql string) (values []string, err error) {
	t.Helper()
	cfg, err := pgconn.ParseConfig("sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgconn.Construct(&pgconn.HijackedConn{Conn: h.Conn, PID: h.PID, SecretKey: h.Secret, TxStatus: 'I', Config: cfg,
		Frontend: cfg.BuildFrontend(h.Conn, h.Conn), ParameterStatuses: map[string]string{}})
	if err != nil {
		t.Fatal(err)
	}
	results, err := conn.Exec(t.Context(), sql).ReadAll()
	if err != nil {
		return nil, err
	}
	for _, row := range results[len(results)-1].Rows {
		values = append(values, string(slices.Concat(row...)))
	}
	return values, nil
}

func TestRealServers(t *testing.T) {
	f := newFixture(t)
	app, err := f.enter(t, cluster.AppUser, cluster.AppPassword, "")
	if err != nil || app.err != nil {
		t.Fatal(err, app.err)
	}
	cred := backend.Credentials{User: cluster.AppUser, Keys: app.keys}

	t.Run("client's key opens every server", func(t *testing.T) { f.testKeys(t, cred) })
	t.Run("settings arrive in order", func(t *testing.T) { f.testSettings(t, cred) })
	t.Run("refusals", func(t *testing.T) { f.testRefusals(t, cred) })
	t.Run("other ways in", func(t *testing.T) { f.testWays(t, cred) })
	t.Run("cancel", func(t *testing.T) { f.testCancel(t, cred) })
	t.Run("who may follow transactions", func(t *testing.T) { f.testMayCapture(t, cred) })
	t.Run("hostile search_path", func(t *testing.T) { f.testSearchPath(t) })
	t.Run("options like PostgreSQL", func(t *testing.T) { f.testOptions(t, cred) })
	t.Run("changed password", func(t *testing.T) { f.testChangedPassword(t) })
}

func (f *fixture) testKeys(t *testing.T, cred backend.Credentials) {
	var system uint64
	starts := map[int64]bool{}
	for _, n := range f.Nodes() {
		begin := time.Now()
		h, err := backend.Dial(t.Context(), target(n), cred, cluster.AppDatabase, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Conn.Close()
		dialled := time.Since(begin)
		if err = backend.Identify(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: logged in after %v, identified after %v", n, dialled, time.Since(begin))
		replica := n != f.Primary()
		if h.InRecovery != replica || (h.Replay != 0) != replica || h.SystemID == 0 || system != 0 && h.SystemID != system {
			t.Errorf("%s: %+v", n, *h)
		}
		system = h.SystemID
		starts[h.PostmasterStart] = true
		want, err := n.QueryString(t.Context(), "SELECT (extract(epoch FROM pg_postmaster_start_time())*1000000)::bigint")
		if err != nil || want != fmt.Sprint(h.PostmasterStart) {
			t.Errorf("%s: started at %d, the server says %s, %v", n, h.PostmasterStart, want, err)
		}
		if got := query(t, h, "SELECT pg_backend_pid()"); got != fmt.Sprint(h.PID) {
			t.Errorf("%s: process %d instead of %s", n, h.PID, got)
		}
		// PostgreSQL 13 does not report in_hot_standby yet.
		lie := map[bool]string{true: "off", false: "on"}[replica]
		if slices.Contains(h.Params, handshake.Param{Name: "in_hot_standby", Value: lie}) || len(h.Params) < 11 {
			t.Errorf("%s: parameters %v", n, h.Params)
		}
	}
	if len(starts) != len(f.Nodes()) {
		t.Errorf("servers cannot be told apart: %v", starts)
	}
}

func (f *fixture) testSettings(t *testing.T, cred backend.Credentials) {
	h, err := backend.Dial(t.Context(), target(f.Replicas()[0]), cred, cluster.AppDatabase, []handshake.Param{
		{Name: "default_transaction_read_only", Value: "on"},
		{Name: "application_name", Value: "first"},
		{Name: "a.b", Value: ""},
		{Name: "application_name", Value: "second"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Conn.Close()
	const sql = "SELECT current_setting('default_transaction_read_only') || current_setting('application_name') || current_setting('a.b')"
	if got := query(t, h, sql); got != "onsecond" {
		t.Errorf("settings %q", got)
	}
}

func (f *fixture) testRefusals(t *testing.T, cred backend.Credentials) {
	wrong := *cred.Keys
	wrong.ClientKey[0]++
	impostor := *cred.Keys
	impostor.ServerKey[0]++
	for _, tc := range []struct {
		why, user, database string
		keys                *auth.Keys
		code                string
	}{
		{"wrong key", cluster.AppUser, cluster.AppDatabase, &wrong, "28P01"},
		{"unknown user", "nobody", cluster.AppDatabase, cred.Keys, "28P01"},
		{"unknown database", cluster.AppUser, "nowhere", cred.Keys, "3D000"},
		{"no trust", cluster.AppUser, cluster.AppDatabase, nil, ""},
		{"wrong server", cluster.AppUser, cluster.AppDatabase, &impostor, ""},
	} {
		_, err := backend.Dial(t.Context(), target(f.Primary()), backend.Credentials{User: tc.user, Keys: tc.keys}, tc.database, nil)
		e, ok := errors.AsType[*backend.ServerError](err)
		if err == nil || ok != (tc.code != "") || ok && e.SQLState() != tc.code {
			t.Errorf("%s: %v", tc.why, err)
		}
		if ok && (e.Elsewhere(false) || !e.Elsewhere(true)) {
			t.Errorf("%s: the primary has the last word", tc.why)
		}
	}
	_, err := backend.Dial(t.Context(), target(f.Primary()), cred, cluster.AppDatabase, []handshake.Param{{Name: "work_mem", Value: "much"}})
	if e, ok := errors.AsType[*backend.ServerError](err); !ok || e.SQLState() != "22023" {
		t.Errorf("a malformed setting: %v", err)
	}
	_, err = backend.Dial(t.Context(), target(f.Primary()), cred, cluster.AppDatabase, []handshake.Param{{Name: "work_memory", Value: "1"}})
	if e, ok := errors.AsType[*backend.ServerError](err); !ok || e.SQLState() != "42704" {
		t.Errorf("an unknown setting: %v", err)
	}
}

// A session may take on any role, so what only its login may call is not called.
func (f *fixture) testMayCapture(t *testing.T, cred backend.Credentials) {
	const function, other = "FUNCTION pg_catalog.pg_current_wal_insert_lsn()", "FUNCTION pg_catalog.pg_current_wal_flush_lsn()"
	for _, tc := range []struct {
		sql  string
		want bool
	}{
		{"SELECT", true},
		{"REVOKE EXECUTE ON " + function + " FROM public", false},
		{"GRANT EXECUTE ON " + function + " TO " + cluster.AppUser, false},
		{"GRANT EXECUTE ON " + function + " TO public", true},
		{"REVOKE EXECUTE ON " + other + " FROM public", false},
		{"GRANT EXECUTE ON " + other + " TO public", true},
	} {
		if err := f.Primary().Exec(t.Context(), tc.sql); err != nil {
			t.Fatal(err)
		}
		h, err := backend.Dial(t.Context(), target(f.Primary()), cred, cluster.AppDatabase, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Conn.Close()
		if err := backend.MayCapture(t.Context(), h); err != nil || h.Captures != tc.want {
			t.Errorf("after %s: %v, %v", tc.sql, h.Captures, err)
		}
	}
}

func (f *fixture) testWays(t *testing.T, cred backend.Credentials) {
	sockets, err := f.Primary().QueryString(t.Context(), "SHOW unix_socket_directories")
	if err != nil {
		t.Fatal(err)
	}
	unix := backend.Target{Host: sockets, Port: f.Primary().Port}
	for why, try := range map[string]struct {
		target backend.Target
		cred   backend.Credentials
	}{
		"keys over a Unix socket":  {unix, cred},
		"trust over a Unix socket": {unix, backend.Credentials{User: cluster.SuperUser}},
		"a password":               {target(f.Primary()), backend.Credentials{User: cluster.AppUser, Password: cluster.AppPassword}},
	} {
		h, err := backend.Dial(t.Context(), try.target, try.cred, cluster.AppDatabase, nil)
		if err != nil {
			t.Errorf("%s: %v", why, err)
			continue
		}
		if got := query(t, h, "SELECT current_user"); got != try.cred.User {
			t.Errorf("%s: logged in as %q", why, got)
		}
		h.Conn.Close()
	}
}

func (f *fixture) testCancel(t *testing.T, cred backend.Credentials) {
	for _, n := range []*cluster.Node{f.Primary(), f.Replicas()[0]} {
		h, err := backend.Dial(t.Context(), target(n), cred, cluster.AppDatabase, nil)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { // ends when it is cancelled, or with the connection
			_, err := queryAll(t, h, "SELECT pg_sleep(600)")
			done <- err
		}()
		waitFor(t, "the query runs", func() bool {
			state, err := n.QueryString(t.Context(), "SELECT state FROM pg_stat_activity WHERE pid = $1", int(h.PID))
			return err == nil && state == "active"
		})
		if err = backend.Cancel(t.Context(), target(n), h.PID, []byte("none")); err != nil {
			t.Errorf("a wrong key: %v", err)
		}
		select {
		case err = <-done:
			t.Errorf("a wrong key cancels: %v", err)
		default:
		}
		if err = backend.Cancel(t.Context(), target(n), h.PID, h.Secret); err != nil {
			t.Error(err)
		}
		if e, ok := errors.AsType[*pgconn.PgError](<-done); !ok || e.Code != "57014" {
			t.Errorf("the query ended with %v", e)
		}
		h.Conn.Close()
	}
}

// waitFor asks again and again, without a fixed pause, until it is so.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for !so() {
		if ctx.Err() != nil {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// testSearchPath plants better matching functions and operators in front of
// pg_catalog, and looks from a role that may do nothing.
func (f *fixture) testSearchPath(t *testing.T) {
	err := f.Primary().Exec(t.Context(),
		"CREATE ROLE stranger LOGIN PASSWORD 'stranger-secret' CONNECTION LIMIT 2",
		"ALTER ROLE stranger SET search_path = evil, pg_catalog",
		"CREATE SCHEMA evil",
		"GRANT USAGE ON SCHEMA evil TO stranger",
		"CREATE FUNCTION evil.bad() RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE 'evil'; END$$",
		"CREATE FUNCTION evil.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT evil.bad()'",
		"CREATE FUNCTION evil.pg_last_wal_replay_lsn() RETURNS pg_lsn LANGUAGE sql AS 'SELECT evil.bad()::text::pg_lsn'",
		"CREATE FUNCTION evil.date_part(text, timestamptz) RETURNS float8 LANGUAGE sql AS 'SELECT evil.bad()::int::float8'",
		"CREATE FUNCTION evil.times(float8, float8) RETURNS float8 LANGUAGE sql AS 'SELECT evil.bad()::int::float8'",
		"CREATE OPERATOR evil.* (LEFTARG = float8, RIGHTARG = float8, FUNCTION = evil.times)",
	)
	if err == nil {
		err = f.WaitCaughtUp(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	cred := backend.Credentials{User: "stranger", Password: "stranger-secret"}
	for _, n := range f.Nodes() {
		h, err := backend.Dial(t.Context(), target(n), cred, cluster.AppDatabase, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err = backend.Identify(t.Context(), h); err != nil || h.InRecovery != (n != f.Primary()) {
			t.Errorf("%s: %+v, %v", n, *h, err)
		}
		if _, err = queryAll(t, h, "SELECT pg_is_in_recovery()"); err == nil {
			t.Error("the trap does not work")
		}
		h.Conn.Close()
	}
	// A server that is full for this role, or in this database.
	var held []*backend.Hello
	for range 2 {
		h, err := backend.Dial(t.Context(), target(f.Primary()), cred, cluster.AppDatabase, nil)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, h)
	}
	_, err = backend.Dial(t.Context(), target(f.Primary()), cred, cluster.AppDatabase, nil)
	if e, ok := errors.AsType[*backend.ServerError](err); !ok || e.SQLState() != "53300" || !e.Elsewhere(false) || !e.Crowded() {
		t.Errorf("one connection too many: %v", err)
	}
	if err := f.Primary().Exec(t.Context(), "CREATE DATABASE crowded CONNECTION LIMIT 0"); err != nil {
		t.Fatal(err)
	}
	_, err = backend.Dial(t.Context(), target(f.Primary()), cred, "crowded", nil)
	if e, ok := errors.AsType[*backend.ServerError](err); !ok || e.SQLState() != "53300" || !e.Elsewhere(false) || !e.Crowded() {
		t.Errorf("a full database: %v", err)
	}
	for _, h := range held {
		h.Conn.Close()
	}
}

// testOptions compares what we make of "options" with what PostgreSQL does. (It
// differs for names like _pq_.x, which cannot be said in a startup packet.)
func (f *fixture) testOptions(t *testing.T, cred backend.Credentials) {
	const changed = "SELECT name || '=' || setting FROM pg_settings WHERE source = 'client' AND name <> 'client_encoding' ORDER BY 1"
	for _, options := range []string{
		"",
		"   ",
		"-c work_mem=2MB",
		"-cwork_mem=2MB",
		"--work_mem=2MB",
		"--work-mem=2MB -c search-path=x",
		"-c work_mem=2MB -c work_mem=3MB",
		"\t-c\napplication_name=a\\ b\\\\c\\-d -e",
		"-c application_name=a=b",
		"-c application_name=",
		"-c a.b='x' --c.d=\"y\"",
		"-S 128 -eF",
		"-S128 -s -W 0",
		"-f s -fh -t pa -tpl -t e",
		"-f x",
		"-t q",
		"-n -T x -j",
		"-C x -D y -r z -v 3 -E -b",
		"-d 0",
		"-B 100",
		"-e -c",
		"-c x",
		"--x",
		"-c",
		"-S",
		"-Z",
		"-e -Z",
		"--",
		"-- -e",
		"-e -- x",
		"-",
		"app",
		"app -e",
		"app other",
		"\\",
		"-e \\",
		"-c \\",
		"-c =x",
		"-c nothing=x",
		"-c user=postgres",
		"-c replication=true",
		"-c options=x",
		"-c work_mem=much",
		"-O",
		"-P",
		"-p 1",
		"-N 1",
		"-h x",
		"-k x",
		"-i",
		"-l",
	} {
		// PostgreSQL's own view.
		cfg, err := pgconn.ParseConfig(f.Primary().DSN(cluster.AppUser, cluster.AppPassword, cluster.AppDatabase))
		if err != nil {
			t.Fatal(err)
		}
		cfg.RuntimeParams["options"] = options
		theirs := ""
		conn, err := pgconn.ConnectConfig(t.Context(), cfg)
		if err == nil {
			var results []*pgconn.Result
			if results, err = conn.Exec(t.Context(), changed).ReadAll(); err == nil {
				for _, row := range results[0].Rows {
					theirs += string(row[0]) + "\n"
				}
			}
			conn.Close(t.Context())
		}
		if err != nil {
			theirs = describe(err)
		}

		// Ours: parsed by the front door, told to the server one by one.
		ours := ""
		l, err := f.enter(t, cluster.AppUser, cluster.AppPassword, options)
		if err == nil {
			var h *backend.Hello
			if h, err = backend.Dial(t.Context(), target(f.Primary()), cred, cluster.AppDatabase, l.startup.Params); err == nil {
				var values []string
				if values, err = queryAll(t, h, changed); err == nil {
					ours = strings.Join(append(values, ""), "\n")
				}
				h.Conn.Close()
			}
		}
		if err != nil {
			ours = describe(err)
		}
		if ours != theirs {
			t.Errorf("options %q:\nPostgreSQL: %s\nwe:         %s", options, theirs, ours)
		}
	}
}

// describe is an error as the client sees it.
func describe(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Severity + " " + e.Code + " " + e.Message + " " + e.Hint
	}
	if e, ok := errors.AsType[*backend.ServerError](err); ok {
		return e.Severity + " " + e.Code + " " + e.Message + " " + e.Hint
	}
	return err.Error()
}

func (f *fixture) testChangedPassword(t *testing.T) {
	if err := f.Primary().Exec(t.Context(), "CREATE ROLE changing LOGIN PASSWORD 'one'"); err != nil {
		t.Fatal(err)
	}
	old, err := f.enter(t, "changing", "one", "")
	if err != nil {
		t.Fatal(err)
	}
	if err = f.Primary().Exec(t.Context(), "ALTER ROLE changing PASSWORD 'two'"); err != nil {
		t.Fatal(err)
	}
	_, err = f.enter(t, "changing", "one", "")
	if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "28P01" {
		t.Errorf("the old password: %v", err)
	}
	changed, err := f.enter(t, "changing", "two", "")
	if err != nil {
		t.Fatalf("the new password: %v", err)
	}
	_, err = backend.Dial(t.Context(), target(f.Primary()), backend.Credentials{User: "changing", Keys: old.keys}, cluster.AppDatabase, nil)
	if e, ok := errors.AsType[*backend.ServerError](err); !ok || !e.BadLogin() {
		t.Errorf("the old keys: %v", err)
	}
	h, err := backend.Dial(t.Context(), target(f.Primary()), backend.Credentials{User: "changing", Keys: changed.keys}, cluster.AppDatabase, nil)
	if err != nil {
		t.Fatalf("the new keys: %v", err)
	}
	h.Conn.Close()

	// Nobody gets in whose password PostgreSQL would not take any more.
	if err = f.Primary().Exec(t.Context(), "ALTER ROLE changing VALID UNTIL '2001-01-01'"); err != nil {
		t.Fatal(err)
	}
	_, err = f.enter(t, "changing", "two", "")
	if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "28P01" || e.Message != `password authentication failed for user "changing"` {
		t.Errorf("an expired password: %v", err)
	}
}
