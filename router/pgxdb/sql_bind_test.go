package pgxdb_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// single leaves each pool one connection, so that whoever comes next meets
// what the last one has left.
func single(cfg *pgxdb.Config) {
	cfg.DSN = strings.Replace(cfg.DSN, "pool_max_conns=10", "pool_max_conns=1", 1)
}

// sessionStates are statements that bind a session. see shows the state and
// returns 1 where it is.
var sessionStates = []struct{ name, bind, see string }{
	{"SET", `set work_mem = '3MB'`, `select count(*) from pg_settings where name = 'work_mem' and setting = '3072'`},
	{"set_config", `select set_config('work_mem', '3MB', false)`, `select count(*) from pg_settings where name = 'work_mem' and setting = '3072'`},
	{"several statements", `set work_mem = '3MB'; select 1`, `select count(*) from pg_settings where name = 'work_mem' and setting = '3072'`},
	{"temporary table", `create temp table sql_kept (a int)`, `select count(*) from pg_class where relname = 'sql_kept'`},
	{"advisory lock", `select pg_advisory_lock(4711)`, `select count(*) from pg_locks where locktype = 'advisory' and objid = 4711 and pid = pg_backend_pid()`},
	{"LISTEN", `listen sql_channel`, `select count(*) from pg_listening_channels() c where c = 'sql_channel'`},
	{"PREPARE", `prepare sql_prepared as select 1`, `select count(*) from pg_prepared_statements where name = 'sql_prepared'`},
	{"DO", `do $$ begin perform set_config('work_mem', '3MB', false); end $$`, `select count(*) from pg_settings where name = 'work_mem' and setting = '3072'`},
	{"cursor", `begin; declare sql_cursor cursor for select 1`, `select count(*) from pg_cursors where name = 'sql_cursor'`},
}

// TestSQLBound: what a statement leaves in its session is there for what
// follows on the same sql.Conn or sql.Tx, and for nobody afterwards.
func TestSQLBound(t *testing.T) {
	db := open(t, common(t), single)
	sqlDB := sqlOpen(t, db.Auto())
	ctx := patience(t)
	gone := func(t *testing.T, see string) {
		t.Helper()
		if n := sqlOne[int](t, sqlDB, "/* pgroute: primary */ "+see); n != 0 {
			t.Error("the next user inherits it")
		}
		if n := one[int](t, db.Write().QueryRow(ctx, see)); n != 0 {
			t.Error("the next user of the pool inherits it")
		}
	}
	for _, s := range sessionStates {
		t.Run(s.name, func(t *testing.T) {
			conn := sqlConn(t, sqlDB)
			pid := 0
			for i := range 3 {
				if i == 0 {
					_, err := conn.ExecContext(ctx, s.bind)
					must(t, err)
				}
				var n, now int
				must(t, conn.QueryRowContext(ctx, s.see).Scan(&n))
				must(t, conn.QueryRowContext(ctx, `select pg_backend_pid()`).Scan(&now))
				if n != 1 || pid != 0 && pid != now {
					t.Fatalf("the state is seen %d times, by %d after %d", n, now, pid)
				}
				pid = now
			}
			must(t, conn.Close())
			gone(t, s.see)

			// By a sql.DB, the state ends with the statement.
			_, err := sqlDB.ExecContext(ctx, s.bind)
			must(t, err)
			gone(t, s.see)

			// By a transaction, with it.
			if s.name == "cursor" {
				return
			}
			for _, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback} {
				tx, err := sqlDB.BeginTx(ctx, nil)
				must(t, err)
				_, err = tx.ExecContext(ctx, s.bind)
				must(t, err)
				must(t, end(tx))
				gone(t, s.see)
			}
		})
	}
}

// TestSQLTransactionAsText: BEGIN, COMMIT and ROLLBACK as statements of a
// sql.Conn mean what they say, and whoever forgets the end has rolled back.
func TestSQLTransactionAsText(t *testing.T) {
	name := tableOf(t, common(t), "a int")
	sqlDB := sqlOpen(t, open(t, common(t), single).Auto())
	ctx := patience(t)
	want := 0
	for _, end := range []string{"commit", "rollback", ""} {
		conn := sqlConn(t, sqlDB)
		for _, query := range []string{"begin", "insert into " + name + " values (1)", "savepoint s", "insert into " + name + " values (2)", "rollback to s", end} {
			_, err := conn.ExecContext(ctx, query)
			must(t, err)
		}
		must(t, conn.Close())
		if end == "commit" {
			want++
		}
		if n := sqlOne[int](t, sqlDB, "select count(*) from "+name); n != want {
			t.Errorf("after %q: %d rows, not %d", end, n, want)
		}
	}
}

// TestSQLLocalIsNotBound: SET LOCAL ends with its transaction by itself, so
// that the connection keeps what pgx has prepared on it.
func TestSQLLocalIsNotBound(t *testing.T) {
	sqlDB := sqlOpen(t, open(t, common(t), single).Auto())
	ctx := patience(t)
	for _, x := range []struct {
		set  string
		want int
	}{{`set local work_mem = '3MB'`, 1}, {`set work_mem = '3MB'`, 0}} {
		tx, err := sqlDB.BeginTx(ctx, nil)
		must(t, err)
		_, err = tx.ExecContext(ctx, x.set)
		must(t, err)
		must(t, tx.QueryRowContext(ctx, `select $1::int as sql_marked`, 1).Scan(new(int)))
		must(t, tx.Commit())
		n := sqlOne[int](t, sqlDB, `/* pgroute: primary */ select count(*) from pg_prepared_statements where statement like '%as sql\_marked'`)
		if n != x.want {
			t.Errorf("%s: %d statements are still prepared, not %d", x.set, n, x.want)
		}
	}
}

// TestSQLReplicaBound: a read-only transaction leaves nothing on its replica
// either, and a sql.Conn says so rather than to go on without.
func TestSQLReplicaBound(t *testing.T) {
	db := open(t, common(t), single)
	sqlDB := sqlOpen(t, db.Auto())
	ctx := patience(t)
	conn := sqlConn(t, sqlDB)
	for range 4 { // both replicas
		tx, err := conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		must(t, err)
		var name string
		must(t, tx.QueryRowContext(ctx, `select current_setting('work_mem')`).Scan(&name))
		if name == "3MB" {
			t.Fatal("the replica's session has the setting of an earlier transaction")
		}
		_, err = tx.ExecContext(ctx, `set work_mem = '3MB'`)
		must(t, err)
		must(t, tx.QueryRowContext(ctx, `select current_setting('work_mem')`).Scan(&name))
		must(t, tx.Commit())
		if name != "3MB" {
			t.Errorf("SET has no effect in its transaction: %s", name)
		}
		if _, err := conn.ExecContext(ctx, `select 1`); err == nil || !strings.Contains(err.Error(), "SET LOCAL") {
			t.Errorf("a statement goes on without its settings: %v", err)
		}
		must(t, conn.Close())
		conn = sqlConn(t, sqlDB)
	}
	must(t, conn.Close())
}

// TestSQLHookStays: what a pool's hook has set up is there after a session was
// bound.
func TestSQLHookStays(t *testing.T) {
	db := open(t, common(t), single, func(cfg *pgxdb.Config) {
		cfg.Pool = func(p *pgxpool.Config) {
			p.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
				_, err := c.Exec(ctx, `set work_mem = '5MB'`)
				return err
			}
		}
	})
	sqlDB := sqlOpen(t, db.Auto())
	for range 3 {
		if v := sqlOne[string](t, sqlDB, `/* pgroute: primary */ select current_setting('work_mem')`); v != "5MB" {
			t.Fatalf("work_mem is %s", v)
		}
		_, err := sqlDB.ExecContext(patience(t), `set work_mem = '3MB'`)
		must(t, err)
	}
}

// TestSQLRefusals: what cannot work says so.
func TestSQLRefusals(t *testing.T) {
	db := open(t, common(t))
	ctx := patience(t)
	for _, c := range []struct {
		q   pgxdb.Queries
		sql string
	}{
		{db.Auto(), `set pgroute.consistency = 'strong'`}, {db.Write(), `show pgroute.token`}, {db.Read(), `set work_mem = '3MB'`}, {db.Read(), `listen x`}, {db.Read(), `begin`},
	} {
		_, err := sqlOpen(t, c.q).ExecContext(ctx, c.sql)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "0A000" || pg.Hint == "" {
			t.Errorf("%s: %v", c.sql, err)
		}
	}
	if _, err := sqlOpen(t, db.Auto()).BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelLinearizable}); err == nil {
		t.Error("an isolation level that PostgreSQL does not have is accepted")
	}
	if _, err := sqlOpen(t, db.Auto()).Driver().Open("x"); err == nil {
		t.Error("the driver opens names")
	}
}

// TestSQLLostSession: when a bound connection is lost, the sql.Conn is bad
// rather than another session without the state.
func TestSQLLostSession(t *testing.T) {
	c := common(t)
	sqlDB := sqlOpen(t, open(t, c).Auto())
	ctx := patience(t)
	conn := sqlConn(t, sqlDB)
	_, err := conn.ExecContext(ctx, `create temp table sql_lost (a int)`)
	must(t, err)
	var pid string
	must(t, conn.QueryRowContext(ctx, `select pg_backend_pid()::text`).Scan(&pid))
	must(t, c.Primary().EndBackends(ctx, "pid = "+pid))
	if _, err = conn.ExecContext(ctx, `insert into sql_lost values (1)`); err == nil {
		t.Fatal("a lost session goes on")
	}
	if _, err = conn.ExecContext(ctx, `insert into sql_lost values (1)`); !errors.Is(err, driver.ErrBadConn) && !errors.Is(err, sql.ErrConnDone) {
		t.Errorf("after the session was lost: %v", err)
	}
	if n := sqlOne[int](t, sqlDB, `select 1`); n != 1 {
		t.Error("the sql.DB does not go on")
	}
}

// TestSQLBoundSession: a write on a bound connection raises the session of the
// context that made it.
func TestSQLBoundSession(t *testing.T) {
	db := open(t, common(t))
	sqlDB := sqlOpen(t, db.Auto())
	ctx := patience(t)
	name := tableOf(t, common(t), "a int")
	conn := sqlConn(t, sqlDB)
	_, err := conn.ExecContext(router.WithSession(ctx, router.NewSession()), `set work_mem = '3MB'`)
	must(t, err)
	for _, insert := range []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := conn.ExecContext(ctx, `insert into `+name+` values (1)`)
			return err
		},
		func(ctx context.Context) error {
			return conn.QueryRowContext(ctx, `insert into `+name+` values (1) returning a`).Scan(new(int))
		},
		func(ctx context.Context) error {
			tx, err := conn.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			if _, err := tx.ExecContext(ctx, `insert into `+name+` values (1)`); err != nil {
				return err
			}
			return tx.Commit()
		},
	} {
		s := router.NewSession()
		before := s.Ticket()
		must(t, insert(router.WithSession(ctx, s)))
		if s.Ticket() == before {
			t.Error("the session does not know of the write")
		}
	}
}

// sqlConn takes a connection that is closed with the test at the latest: while
// it is bound, its DB cannot be closed.
func sqlConn(t testing.TB, db *sql.DB) *sql.Conn {
	t.Helper()
	conn, err := db.Conn(patience(t))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// sqlOne returns the only value of a row.
func sqlOne[T any](t testing.TB, db *sql.DB, query string, args ...any) T {
	t.Helper()
	var v T
	if err := db.QueryRowContext(patience(t), query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}
