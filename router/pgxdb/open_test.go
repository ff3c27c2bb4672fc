package pgxdb_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

func TestOpenSaysWhatIsWrong(t *testing.T) {
	asking := cluster.Start(t, cluster.Options{Replicas: -1})
	good := config(t, asking)
	nowhere, err := router.Static("no-such-host.invalid:5432")
	must(t, err)
	nobody, err := router.Static("127.0.0.1:1")
	must(t, err)
	for name, x := range map[string]struct {
		change func(*pgxdb.Config)
		want   string
	}{
		"no source":           {func(c *pgxdb.Config) { c.Source = nil }, "neither a source"},
		"no DSN":              {func(c *pgxdb.Config) { c.DSN = "" }, "DSN is empty"},
		"a malformed DSN":     {func(c *pgxdb.Config) { c.DSN = "postgres://u@h/db?pool_max_conns=none" }, "pool_max_conns"},
		"a malformed monitor": {func(c *pgxdb.Config) { c.MonitorDSN = "nonsense" }, "monitor DSN"},
		"no such host":        {func(c *pgxdb.Config) { c.Source = nowhere }, "no-such-host.invalid"},
		"nobody there":        {func(c *pgxdb.Config) { c.Source = nobody }, "connection refused"},
		"wrong password":      {func(c *pgxdb.Config) { c.DSN = strings.Replace(c.DSN, cluster.AppPassword, "wrong", 1) }, "password"},
		"wrong monitor password": {func(c *pgxdb.Config) {
			c.MonitorDSN = strings.Replace(c.MonitorDSN, cluster.MonitorPassword, "wrong", 1)
		}, "password"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // some wait for all the time there is
			cfg := good
			x.change(&cfg)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			db, err := pgxdb.Open(ctx, cfg)
			if err == nil {
				db.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), x.want) {
				t.Errorf("%v does not say %q", err, x.want)
			}
		})
	}
}

func TestCloseWhileQueriesRun(t *testing.T) {
	c := common(t)
	db := open(t, c)
	ctx := patience(t)
	rows, err := db.Read().Query(ctx, "select i from generate_series(1, 100000) i")
	must(t, err)
	closed := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				if err := db.Read().QueryRow(ctx, "select 1").Scan(new(int)); err != nil {
					if !strings.Contains(err.Error(), "closed") {
						t.Errorf("while the DB closes: %v", err)
					}
					return
				}
			}
		})
	}
	go func() {
		defer close(closed)
		db.Close()
		db.Close()
	}()
	wg.Wait()
	select {
	case <-closed:
		t.Error("it closed although rows are open")
	default:
	}
	n := 0
	for rows.Next() {
		n++
	}
	if n != 100000 || rows.Err() != nil {
		t.Errorf("%d rows, %v", n, rows.Err())
	}
	<-closed
	if _, err := db.Exec(ctx, "select 1"); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close: %v", err)
	}
	if _, err := db.Acquire(ctx); err == nil {
		t.Error("a connection after Close")
	}
}

func TestDBsShareARouter(t *testing.T) {
	c := common(t)
	first := open(t, c)
	ctx := patience(t)
	hooked := 0
	var mu sync.Mutex
	second, err := pgxdb.Open(ctx, pgxdb.Config{Router: first.Router(), DSN: appDSN, MonitorDSN: monitorDSN, Logger: quiet,
		Pool: func(p *pgxpool.Config) {
			p.AfterConnect = func(context.Context, *pgx.Conn) error {
				mu.Lock()
				defer mu.Unlock()
				hooked++
				return nil
			}
		}})
	must(t, err)
	one[int](t, second.Read().QueryRow(ctx, "select 1"))
	second.Close()
	if hooked == 0 {
		t.Error("the hook of the pool was not called")
	}
	one[int](t, first.Read().QueryRow(ctx, "select 1"))
	if _, err := pgxdb.Open(ctx, pgxdb.Config{Router: first.Router(), Source: config(t, c).Source, DSN: appDSN}); err == nil {
		t.Error("a router and a source were both taken")
	}
}

func TestNoPrimary(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	db := open(t, c)
	ctx := patience(t)
	must(t, c.Primary().Stop(cluster.Kill))
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := db.Exec(short, "select 1"); err == nil {
		t.Error("a write found a primary")
	}
	err := db.Router().WaitTopology(ctx, func(t *router.Topology) bool { return t.Primary == nil })
	must(t, err)
	short, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	var state interface{ SQLState() string }
	if _, err = db.Exec(short, "select 1"); !errors.As(err, &state) || state.SQLState() != "57P03" {
		t.Errorf("a write without a primary: %v", err)
	}
	if n := one[int](t, db.Read().At(router.LevelEventual).QueryRow(ctx, "select 1")); n != 1 {
		t.Error("reads do not go on")
	}
}
