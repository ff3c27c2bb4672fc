package pgxdb_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// routes collects where statements ran.
type routes struct {
	mu   sync.Mutex // guards the field below
	list []pgxdb.Route
}

func (r *routes) add(x pgxdb.Route) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, x)
}

// take returns the roles of what was collected, and forgets it.
func (r *routes) take() (roles string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.list {
		if x.Role == router.RoleReplica {
			roles += "r"
		} else {
			roles += "p"
		}
	}
	r.list = nil
	return roles
}

// TestSQLRoutes: each statement and transaction runs where it belongs.
func TestSQLRoutes(t *testing.T) {
	c := common(t)
	name := tableOf(t, c, "a int")
	db := open(t, c, func(cfg *pgxdb.Config) { cfg.Wait = time.Minute })
	var where routes
	sqlDB := sqlOpen(t, db.Auto().Trace(where.add))
	ctx := patience(t)
	awaitReplica(t, sqlDB, &where, `select count(*) from `+name)
	stmt, err := sqlDB.PrepareContext(ctx, `select count(*) from `+name+` where a = $1`)
	must(t, err)
	defer stmt.Close()
	conn := sqlConn(t, sqlDB)
	in := func(options *sql.TxOptions, query string) func() error {
		return func() error {
			tx, err := conn.BeginTx(ctx, options)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			if _, err := tx.ExecContext(ctx, query); err != nil {
				return err
			}
			return tx.Commit()
		}
	}
	read, write := `select count(*) from `+name, `insert into `+name+` values (1)`
	for _, x := range []struct {
		what string
		do   func() error
		want byte
	}{
		{"a read", func() error { return sqlDB.QueryRowContext(ctx, read).Scan(new(int)) }, 'r'},
		{"a read by Exec", func() error { _, err := conn.ExecContext(ctx, read); return err }, 'r'},
		{"a write", func() error { _, err := sqlDB.ExecContext(ctx, write); return err }, 'p'},
		{"a write with an answer", func() error { return conn.QueryRowContext(ctx, write+` returning a`).Scan(new(int)) }, 'p'},
		{"a prepared read", func() error { return stmt.QueryRowContext(ctx, 1).Scan(new(int)) }, 'r'},
		{"a hint", func() error { return conn.QueryRowContext(ctx, `/* pgroute: primary */ `+read).Scan(new(int)) }, 'p'},
		{"a transaction", in(nil, write), 'p'},
		{"a transaction that only reads", in(nil, read), 'p'},
		{"a read-only transaction", in(&sql.TxOptions{ReadOnly: true}, read), 'r'},
		{"a read-only snapshot", in(&sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}, read), 'r'},
		{"a serializable read-only transaction", in(&sql.TxOptions{ReadOnly: true, Isolation: sql.LevelSerializable}, read), 'p'},
		{"the ping", func() error { where.add(pgxdb.Route{Role: router.RolePrimary}); return conn.PingContext(ctx) }, 'p'},
	} {
		where.take()
		if err := x.do(); err != nil {
			t.Errorf("%s: %v", x.what, err)
		}
		roles := where.take()
		if roles == "" {
			t.Errorf("%s: nobody was told where it runs", x.what)
		}
		for i := range len(roles) {
			if roles[i] != x.want {
				t.Errorf("%s ran on %s", x.what, roles)
				break
			}
		}
	}
	if err := in(&sql.TxOptions{ReadOnly: true}, write)(); err == nil {
		t.Error("a read-only transaction writes")
	}
	if err := sqlOpen(t, db.Read()).QueryRowContext(ctx, write+` returning a`).Scan(new(int)); err == nil {
		t.Error("a sql.DB by Read writes")
	}
}

// awaitReplica reads until a read runs on a replica: until then the table is
// not in the catalogue.
func awaitReplica(t testing.TB, db *sql.DB, where *routes, query string) {
	t.Helper()
	ctx := patience(t)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for where.take(); ; {
		must(t, db.QueryRowContext(ctx, query).Scan(new(int)))
		if where.take() == "r" {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatal("no read runs on a replica")
		}
	}
}

// TestSQLReadsItsWrites: rows of a write that were closed, or read to their
// end, are there for whoever reads next.
func TestSQLReadsItsWrites(t *testing.T) {
	c := common(t)
	name := tableOf(t, c, "a int")
	sqlDB := sqlOpen(t, open(t, c, func(cfg *pgxdb.Config) { cfg.Wait = -1 }).Auto())
	pause(t, c.Replicas()[0])
	ctx := patience(t)
	for i := range 50 {
		rows, err := sqlDB.QueryContext(ctx, `insert into `+name+` select $1::int from generate_series(1, 3) returning a`, i)
		must(t, err)
		for n := 0; rows.Next() && (i%2 == 0 || n < 1); n++ {
		}
		must(t, rows.Close())
		if n := sqlOne[int](t, sqlDB, `select count(*) from `+name+` where a = $1`, i); n != 3 {
			t.Fatalf("%d of 3 rows are there", n)
		}
	}
}

// TestSQLCancel: the end of a context ends its statement, and nothing else.
func TestSQLCancel(t *testing.T) {
	c := common(t)
	name := tableOf(t, c, "a int")
	sqlDB := sqlOpen(t, open(t, c).Auto())
	ctx := patience(t)
	for _, query := range []string{`select pg_sleep(600)`, `insert into ` + name + ` select 1 from pg_sleep(600)`} {
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		_, err := sqlDB.ExecContext(short, query)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", query, err)
		}
	}
	short, cancel := context.WithCancel(ctx)
	tx, err := sqlDB.BeginTx(short, nil)
	must(t, err)
	_, err = tx.ExecContext(ctx, `insert into `+name+` values (1)`)
	must(t, err)
	cancel()
	if err := tx.Commit(); err == nil {
		t.Error("a transaction is committed after its context has ended")
	}
	if n := sqlOne[int](t, sqlDB, `select count(*) from `+name); n != 0 {
		t.Errorf("%d rows were written", n)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := sqlDB.ExecContext(ended, `select 1`); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// TestSQLBadConnection: when servers' backends are killed, reads go on, a write
// fails or succeeds but never runs twice, and nobody sees driver.ErrBadConn.
func TestSQLBadConnection(t *testing.T) {
	c := common(t)
	name := tableOf(t, c, "a int primary key")
	sqlDB := sqlOpen(t, open(t, c).Auto())
	ctx := patience(t)
	acknowledged := 0
	for i := range 30 {
		if i%3 == 0 {
			for _, n := range c.Nodes() {
				must(t, n.EndBackends(ctx, `usename = '`+cluster.AppUser+`'`))
			}
		}
		_, err := sqlDB.ExecContext(ctx, `insert into `+name+` values ($1)`, i)
		var pg *pgconn.PgError
		switch {
		case err == nil:
			acknowledged++
		case errors.Is(err, driver.ErrBadConn), errors.As(err, &pg) && pg.Code == "23505":
			t.Errorf("write %d: %v", i, err)
		}
		for range 2 {
			if n := sqlOne[int](t, sqlDB, `select count(*) from `+name+` where a <= $1`, i); n < acknowledged {
				t.Errorf("%d of %d writes are there", n, acknowledged)
			}
		}
	}
	if acknowledged == 0 {
		t.Error("no write was acknowledged")
	}
}

// TestSQLConcurrent: many goroutines use everything at once, over pools that
// are smaller than their number.
func TestSQLConcurrent(t *testing.T) {
	c := common(t)
	name := tableOf(t, c, "who int, n int")
	sqlDB := sqlOpen(t, open(t, c).Auto())
	ctx := patience(t)
	stmt, err := sqlDB.PrepareContext(ctx, `select count(*) from `+name+` where who = $1`)
	must(t, err)
	defer stmt.Close()
	worker := func(who int) error {
		for n := range 20 {
			switch n % 4 {
			case 0:
				if _, err := sqlDB.ExecContext(ctx, `insert into `+name+` values ($1, $2)`, who, n); err != nil {
					return err
				}
			case 1:
				tx, err := sqlDB.BeginTx(ctx, nil)
				if err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, `insert into `+name+` values ($1, $2)`, who, n); err != nil {
					return errors.Join(err, tx.Rollback())
				}
				if err := tx.Commit(); err != nil {
					return err
				}
			case 2:
				conn, err := sqlDB.Conn(ctx)
				if err != nil {
					return err
				}
				mine := strconv.Itoa(2000 + who)
				_, err = conn.ExecContext(ctx, `set statement_timeout = `+mine+`000`)
				var v string
				if err == nil {
					err = conn.QueryRowContext(ctx, `select setting from pg_settings where name = 'statement_timeout'`).Scan(&v)
				}
				if err == nil && v != mine+"000" {
					err = fmt.Errorf("statement_timeout is %s, not %s", v, mine)
				}
				if err = errors.Join(err, conn.Close()); err != nil {
					return err
				}
				continue
			case 3:
				tx, err := sqlDB.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
				if err != nil {
					return err
				}
				var sum int
				err = tx.QueryRowContext(ctx, `select count(*) from `+name+` where who = $1`, who).Scan(&sum)
				if err = errors.Join(err, tx.Commit()); err != nil {
					return err
				}
			}
			var got int
			if err := stmt.QueryRowContext(ctx, who).Scan(&got); err != nil {
				return err
			}
			if want := n/4*2 + min(n%4+1, 2); got != want {
				return fmt.Errorf("%d rows of %d after %d steps", got, want, n)
			}
			var timeout string
			if err := sqlDB.QueryRowContext(ctx, `/* pgroute: primary */ select current_setting('statement_timeout')`).Scan(&timeout); err != nil || timeout != "0" {
				return fmt.Errorf("somebody else's statement_timeout: %s, %v", timeout, err)
			}
		}
		return nil
	}
	var all sync.WaitGroup
	for who := range 16 {
		all.Go(func() {
			if err := worker(who); err != nil {
				t.Errorf("worker %d: %v", who, err)
			}
		})
	}
	all.Wait()
}
