package pgprobe_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

const (
	monitorDSN = "user=" + cluster.MonitorUser + " password=" + cluster.MonitorPassword + " dbname=postgres sslmode=disable"
	superDSN   = "user=" + cluster.SuperUser + " password=" + cluster.SuperPassword + " dbname=postgres sslmode=disable"
	patience   = 2 * time.Minute
)

func start(t testing.TB, opts cluster.Options) *cluster.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a PostgreSQL cluster")
	}
	return cluster.Start(t, opts)
}

func prober(t testing.TB, dsn string) *pgprobe.Prober {
	t.Helper()
	return proberWith(t, pgprobe.Config{DSN: dsn, ConnectTimeout: patience, CallTimeout: patience})
}

func proberWith(t testing.TB, cfg pgprobe.Config) *pgprobe.Prober {
	t.Helper()
	p, err := pgprobe.New(cfg)
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	return p
}

func addr(n *cluster.Node) router.Addr { return router.Addr{Name: n.Name, Host: n.Host, Port: n.Port} }

func connect(t testing.TB, dsn string, to router.Addr) router.Probe {
	t.Helper()
	c, err := prober(t, dsn).Connect(t.Context(), to)
	must(t, err)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Logf("close the probe: %v", err)
		}
	})
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func identify(t testing.TB, c router.Probe) router.Status {
	t.Helper()
	s, err := c.Identify(t.Context())
	must(t, err)
	return s
}

func ask(t testing.TB, n *cluster.Node, sql string) string {
	t.Helper()
	s, err := n.QueryString(t.Context(), sql)
	must(t, err)
	return s
}

func askInt(t testing.TB, n *cluster.Node, sql string) int64 {
	t.Helper()
	v, err := strconv.ParseInt(ask(t, n, sql), 10, 64)
	must(t, err)
	return v
}

// eventually waits for a condition that nobody announces.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waiting in vain for %s", what)
		}
	}
}

// terminateMonitors ends every monitor connection and waits until they are gone.
func terminateMonitors(t testing.TB, n *cluster.Node) {
	t.Helper()
	must(t, n.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgroute'"))
	eventually(t, "the end of the monitor connections", func() bool { return askInt(t, n, monitorSessions) == 0 })
}

const checkpointerStart = "SELECT (extract(epoch FROM backend_start) * 1000000)::bigint FROM pg_stat_activity WHERE backend_type = 'checkpointer'"

func TestIdentifyPrimaryAndStandby(t *testing.T) {
	c := start(t, cluster.Options{Replicas: 1})
	primary, replica := c.Primary(), c.Replicas()[0]
	systemID := uint64(askInt(t, primary, "SELECT system_identifier FROM pg_control_system()"))
	version := int(askInt(t, primary, "SELECT current_setting('server_version_num')"))

	for _, role := range []string{monitorDSN, superDSN} {
		before, err := lsn.Parse(ask(t, primary, "SELECT pg_current_wal_insert_lsn()"))
		must(t, err)
		s := identify(t, connect(t, role, addr(primary)))
		if s.SystemID != systemID || s.InRecovery || s.Timeline != 1 || s.Begin != 0 || !s.BeginKnown || len(s.History) != 0 {
			t.Errorf("primary: %+v", s)
		}
		if s.Insert < before || s.Flush == 0 || s.Flush > s.Insert || s.Replay != 0 {
			t.Errorf("primary: positions %+v, insert was %s before", s, before)
		}
		if s.Incarnation != askInt(t, primary, checkpointerStart) {
			t.Errorf("primary: incarnation %d", s.Incarnation)
		}
		if s.PostmasterStart != askInt(t, primary, "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint") {
			t.Errorf("primary: postmaster start %d", s.PostmasterStart)
		}
		if s.Version != version || s.BlockSize != 8192 || time.Since(s.At) > patience || s.ReplayPaused || s.ApplyDelay != 0 {
			t.Errorf("primary: %+v", s)
		}

		must(t, c.WaitCaughtUp(t.Context()))
		probe := connect(t, role, addr(replica))
		s = identify(t, probe)
		if s.SystemID != systemID || !s.InRecovery || s.Timeline != 1 || s.Replay == 0 || s.Insert != 0 || s.Flush != 0 {
			t.Errorf("standby: %+v", s)
		}
		if s.Incarnation != askInt(t, replica, checkpointerStart) || s.ReplayPaused || s.ApplyDelay != 0 {
			t.Errorf("standby: %+v", s)
		}
		must(t, replica.PauseReplay(t.Context()))
		must(t, replica.SetApplyDelay(t.Context(), 2500*time.Millisecond))
		eventually(t, "the pause and the delay", func() bool {
			s := identify(t, probe)
			return s.ReplayPaused && s.ApplyDelay == 2500*time.Millisecond
		})
		must(t, replica.SetApplyDelay(t.Context(), 0))
		must(t, replica.ResumeReplay(t.Context()))
	}
}

func TestIdentifyNamesTheMissingPrivilege(t *testing.T) {
	c := start(t, cluster.Options{Replicas: -1})
	must(t, c.Primary().Exec(t.Context(), "CREATE ROLE nobody LOGIN PASSWORD 'x'"))
	probe := connect(t, "user=nobody password=x dbname=postgres sslmode=disable", addr(c.Primary()))
	_, err := probe.Identify(t.Context())
	if err == nil || !contains(err, "pg_monitor") {
		t.Fatalf("error %v does not name pg_monitor", err)
	}
}

func contains(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }

func TestIdentifyAfterPromotions(t *testing.T) {
	c := start(t, cluster.Options{Replicas: 2})
	replicas := c.Replicas()
	first, second := replicas[0], replicas[1]
	must(t, c.WaitCaughtUp(t.Context()))
	probe := connect(t, monitorDSN, addr(first))
	if s := identify(t, probe); !s.InRecovery {
		t.Fatalf("before the promotion: %+v", s)
	}
	must(t, first.Promote(t.Context()))

	// The connection from before the promotion sees all of it.
	s := identify(t, probe)
	if s.InRecovery || s.Timeline != 2 || !s.BeginKnown || s.Begin == 0 || len(s.History) != 1 ||
		s.History[0].Timeline != 1 || s.History[0].End != s.Begin || s.Insert < s.Begin || s.Recovered != s.Begin {
		t.Fatalf("after the promotion: %+v", s)
	}
	if r, err := probe.Replay(t.Context()); err != nil || r.InRecovery || r.Replay == 0 {
		t.Fatalf("replay position of a promoted server: %+v, %v", r, err)
	}
	if insert, flush, err := probe.Insert(t.Context()); err != nil || insert < s.Insert || flush == 0 {
		t.Fatalf("insert position of a promoted server: %s, %s, %v", insert, flush, err)
	}

	// Without the function: a superuser reads the file, another role knows nothing.
	elsewhere := " dbname=template1"
	if got := identify(t, connect(t, superDSN+elsewhere, addr(first))); !got.BeginKnown || got.Begin != s.Begin || len(got.History) != 1 {
		t.Errorf("superuser: %+v", got)
	}
	if got := identify(t, connect(t, monitorDSN+elsewhere, addr(first))); got.BeginKnown || got.Begin != 0 || got.Timeline != 2 || got.History != nil {
		t.Errorf("monitor without the function: %+v", got)
	}
	must(t, first.Exec(t.Context(), "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO "+cluster.MonitorUser))
	if got := identify(t, connect(t, monitorDSN+" dbname=app", addr(first))); !got.BeginKnown || got.Begin != s.Begin {
		t.Errorf("monitor with pg_read_file: %+v", got)
	}

	// A standby that follows says which timeline it receives.
	must(t, second.Repoint(t.Context(), first))
	follower := connect(t, monitorDSN, addr(second))
	eventually(t, "the follower on timeline 2", func() bool {
		s := identify(t, follower)
		return s.InRecovery && s.Timeline == 2 && s.History == nil
	})
	must(t, second.Promote(t.Context()))
	s3 := identify(t, follower)
	if s3.Timeline != 3 || !s3.BeginKnown || s3.Begin <= s.Begin || len(s3.History) != 2 || s3.History[0] != s.History[0] ||
		s3.History[1].Begin != s.Begin || s3.History[1].End != s3.Begin || s3.Recovered != s3.Begin {
		t.Fatalf("after the second promotion: %+v", s3)
	}
}

func TestBrokenHistoryFunctionIsNoError(t *testing.T) {
	c := start(t, cluster.Options{Replicas: 1})
	replica := c.Replicas()[0]
	must(t, c.WaitCaughtUp(t.Context()))
	must(t, replica.Promote(t.Context()))
	for _, body := range []string{"SELECT 'garbage'::text", "SELECT (1/0)::text", "SELECT ''::text", "SELECT NULL::text"} {
		conn, err := replica.Super(t.Context())
		must(t, err)
		// The function is in the database of the monitor's DSN.
		cfg := conn.Config().Copy()
		must(t, conn.Close(t.Context()))
		cfg.Database = "postgres"
		pg, err := pgconn.ConnectConfig(t.Context(), &cfg.Config)
		must(t, err)
		_, err = pg.Exec(t.Context(), "CREATE OR REPLACE FUNCTION pgroute.timeline_history(tli int) RETURNS text LANGUAGE sql AS $$"+body+"$$").ReadAll()
		must(t, err)
		must(t, pg.Close(t.Context()))
		probe := connect(t, monitorDSN, addr(replica))
		for range 2 {
			if s := identify(t, probe); s.Timeline != 2 || s.BeginKnown || s.Begin != 0 {
				t.Errorf("%s: %+v", body, s)
			}
		}
	}
}

// A standby that has learned of timeline 2 and is promoted before it has replayed
// up to where that began writes a history in which 2 was left before it began.
func TestTimelineThatWasLeftBeforeItBegan(t *testing.T) {
	c := start(t, cluster.Options{Replicas: 2})
	ctx := t.Context()
	ahead, behind := c.Replicas()[0], c.Replicas()[1]
	must(t, behind.StopReceiver(ctx))
	must(t, c.Primary().Exec(ctx, "CREATE TABLE unseen AS SELECT generate_series(1, 1000)"))
	end, err := c.Primary().QueryString(ctx, "SELECT pg_current_wal_insert_lsn()")
	must(t, err)
	eventually(t, "pg2 has it", func() bool {
		v, err := ahead.QueryString(ctx, "SELECT pg_last_wal_replay_lsn() >= $1", end)
		return err == nil && v == "t"
	})
	must(t, c.Primary().Stop(cluster.Kill))
	must(t, ahead.Promote(ctx))
	from, err := ahead.QueryString(ctx, "SHOW data_directory")
	must(t, err)
	to, err := behind.QueryString(ctx, "SHOW data_directory")
	must(t, err)
	must(t, behind.Stop(cluster.Kill))
	history, err := os.ReadFile(filepath.Join(from, "pg_wal", "00000002.history"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(to, "pg_wal", "00000002.history"), history, 0o644))
	must(t, behind.Start(ctx))
	must(t, behind.Promote(ctx))
	s := identify(t, connect(t, monitorDSN, addr(behind)))
	if s.Timeline != 3 || !s.BeginKnown || len(s.History) != 2 {
		t.Fatalf("%+v", s)
	}
	one, two := s.History[0], s.History[1]
	if two.Timeline != 2 || two.Begin <= two.End || two.End != s.Begin || one.End != s.Begin {
		t.Errorf("the history is %v, timeline 3 begins at %s", s.History, s.Begin)
	}
}

func TestIncarnationChangesWithACrash(t *testing.T) {
	c := start(t, cluster.Options{Replicas: -1})
	node := c.Primary()
	ctx := t.Context()
	probe := connect(t, monitorDSN, addr(node))
	before := identify(t, probe)
	// What a commit has flushed is there afterwards. A flush position can also
	// lie within a record, of which nothing is left.
	insert, _, err := probe.Insert(ctx)
	must(t, err)
	must(t, probe.Nudge(ctx))

	victim, err := node.Super(ctx)
	must(t, err)
	defer victim.Close(context.WithoutCancel(ctx))
	must(t, node.KillBackend(ctx, int(victim.PgConn().PID())))

	eventually(t, "the end of the probe", func() bool {
		_, _, err := probe.Insert(ctx)
		return err != nil
	})
	if _, err := probe.Identify(ctx); err == nil {
		t.Fatal("a probe lived on after the crash of its server")
	}
	p := prober(t, monitorDSN)
	var after router.Status
	eventually(t, "the recovery", func() bool {
		again, err := p.Connect(ctx, addr(node))
		if err != nil {
			return false
		}
		defer again.Close()
		after, err = again.Identify(ctx)
		return err == nil
	})
	if after.PostmasterStart != before.PostmasterStart {
		t.Fatal("the postmaster was restarted; the test proves nothing")
	}
	if after.Incarnation <= before.Incarnation {
		t.Fatalf("incarnation %d after the crash, %d before", after.Incarnation, before.Incarnation)
	}
	if before.Recovered != 0 || after.Recovered < insert || after.Recovered > after.Insert {
		t.Errorf("replay ended at %s before and at %s after the crash; %s was flushed, the new life has %s",
			before.Recovered, after.Recovered, insert, after.Insert)
	}
}

func TestReplayReachesInsert(t *testing.T) {
	c := start(t, cluster.Options{Replicas: 1})
	primary, replica := connect(t, monitorDSN, addr(c.Primary())), connect(t, monitorDSN, addr(c.Replicas()[0]))
	ctx := t.Context()
	must(t, c.Primary().Exec(ctx, "CREATE TABLE t (v int)"))
	var lastInsert, lastReplay lsn.LSN
	for i := range 50 {
		must(t, c.Primary().Exec(ctx, "INSERT INTO t VALUES ("+strconv.Itoa(i)+")"))
		must(t, primary.Nudge(ctx))
		insert, flush, err := primary.Insert(ctx)
		must(t, err)
		if insert <= lastInsert || flush > insert {
			t.Fatalf("insert %s after %s, flush %s", insert, lastInsert, flush)
		}
		lastInsert = insert
		eventually(t, "the replay", func() bool {
			r, err := replica.Replay(ctx)
			must(t, err)
			if !r.InRecovery || r.Replay < lastReplay {
				t.Fatalf("%+v after %s", r, lastReplay)
			}
			lastReplay = r.Replay
			return r.Replay >= flush
		})
	}
	if n := askInt(t, c.Replicas()[0], "SELECT count(*) FROM t"); n != 50 {
		t.Fatalf("%d rows replayed", n)
	}
	// A primary that never was a standby has no replay position.
	if r, err := primary.Replay(ctx); err != nil || r.InRecovery || r.Replay != 0 {
		t.Fatalf("replay position of a primary: %+v, %v", r, err)
	}
	// A standby has no insert position, and the probe is dead after the error.
	_, _, err := replica.Insert(ctx)
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "55000" {
		t.Fatalf("insert position of a standby: %v", err)
	}
	if _, err := replica.Replay(ctx); err == nil {
		t.Fatal("a probe lived on after an error")
	}
}

func TestNudgeFlushes(t *testing.T) {
	c := start(t, cluster.Options{Replicas: -1, Settings: map[string]string{"wal_writer_delay": "10s", "wal_writer_flush_after": "1GB"}})
	node := c.Primary()
	ctx := t.Context()
	probe := connect(t, monitorDSN, addr(node))
	must(t, node.Exec(ctx, "CREATE TABLE t (v int)"))
	for i := range 5 {
		must(t, node.Exec(ctx, "SET synchronous_commit = off", "INSERT INTO t VALUES (1)"))
		insert, flush, err := probe.Insert(ctx)
		must(t, err)
		if flush >= insert {
			t.Logf("round %d: nothing was left to flush (%s)", i, insert)
		}
		must(t, probe.Nudge(ctx))
		_, flush, err = probe.Insert(ctx)
		must(t, err)
		if flush < insert {
			t.Fatalf("after the nudge %s is flushed, want at least %s", flush, insert)
		}
	}
}

// The settings of roles, databases and files must not reach the monitor.
func TestForeignSettingsDoNotDisturb(t *testing.T) {
	c := start(t, cluster.Options{Replicas: -1})
	node := c.Primary()
	const idle = 200 * time.Millisecond
	var sql []string
	sql = append(sql, "CREATE SCHEMA evil", "GRANT USAGE ON SCHEMA evil TO PUBLIC",
		"CREATE FUNCTION evil.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT true'",
		"CREATE FUNCTION evil.pg_current_wal_insert_lsn() RETURNS pg_lsn LANGUAGE sql AS $$SELECT '0/0'::pg_lsn$$",
		"CREATE FUNCTION evil.mul(numeric, int) RETURNS numeric LANGUAGE sql AS 'SELECT 0::numeric'",
		"CREATE OPERATOR evil.* (LEFTARG = numeric, RIGHTARG = int, FUNCTION = evil.mul)")
	for name, value := range map[string]string{
		"search_path": "evil, pg_catalog", "default_transaction_read_only": "on", "statement_timeout": "'1ms'", "lock_timeout": "'1ms'",
		"synchronous_commit": "remote_apply", "default_transaction_isolation": "serializable",
		"default_transaction_deferrable": "on", "client_encoding": "LATIN1", "extra_float_digits": "-15", "\"DateStyle\"": "German",
		"\"TimeZone\"": "'Asia/Kathmandu'", "\"IntervalStyle\"": "sql_standard", "bytea_output": "escape", "lc_numeric": "'C'",
	} {
		sql = append(sql, fmt.Sprintf("ALTER ROLE %s SET %s = %s", cluster.MonitorUser, name, value))
	}
	if askInt(t, node, "SELECT current_setting('server_version_num')") >= 140000 {
		sql = append(sql, fmt.Sprintf("ALTER ROLE %s SET idle_session_timeout = %d", cluster.MonitorUser, idle.Milliseconds()))
	}
	must(t, node.Exec(t.Context(), sql...))
	probe := connect(t, monitorDSN+" dbname=app", addr(node))
	for range 3 {
		s := identify(t, probe)
		if s.InRecovery || s.Insert == 0 || s.Incarnation != askInt(t, node, checkpointerStart) {
			t.Fatalf("%+v", s)
		}
		must(t, probe.Nudge(t.Context()))
		insert, _, err := probe.Insert(t.Context())
		must(t, err)
		if insert == 0 {
			t.Fatal("the insert position is 0")
		}
		// Long enough for the server to end a session that it takes for idle.
		quiet := time.Now()
		eventually(t, "the idle timeout", func() bool { return time.Since(quiet) > 2*idle })
	}
	p := prober(t, monitorDSN+" dbname=app")
	for name, want := range map[string]string{
		"search_path": "pg_catalog, pg_temp", "statement_timeout": "5s", "lock_timeout": "5s",
		"synchronous_commit": "local", "default_transaction_isolation": "read committed", "default_transaction_read_only": "on",
		"client_encoding": "UTF8", "application_name": "pgroute",
	} {
		rows, err := p.Query(t.Context(), addr(node), "app", "SHOW "+name)
		must(t, err)
		if got := *rows[0][0]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
