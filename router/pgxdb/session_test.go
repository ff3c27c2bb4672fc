package pgxdb_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
	"github.com/pgroute/pgroute/router/pgxdb"
)

func TestReadSeesWritesOfOtherGoroutines(t *testing.T) {
	c := common(t)
	for _, paused := range []int{0, 1, 2} {
		t.Run([]string{"no replica late", "one replica late", "both replicas late"}[paused], func(t *testing.T) {
			table := tableOf(t, c, "k int primary key, v int")
			db := open(t, c)
			ctx := patience(t)
			pause(t, c.Replicas()[:paused]...)
			var wg sync.WaitGroup
			for g := range 8 {
				wg.Go(func() {
					for i := range 10 {
						if _, err := db.Exec(ctx, "insert into "+table+" values ($1, $2)", g*100+i, i); err != nil {
							t.Error(err)
							return
						}
						read := make(chan int)
						go func() {
							var n int
							if err := db.Read().QueryRow(ctx, "select count(*) from "+table+" where k / 100 = $1", g).Scan(&n); err != nil {
								t.Error(err)
							}
							read <- n
						}()
						if n := <-read; n != i+1 {
							t.Errorf("%d rows are there after %d writes", n, i+1)
						}
					}
				})
			}
			wg.Wait()
			if s := db.Stat(); paused == 0 && s.ReplicaReads == 0 {
				t.Errorf("no read ran on a replica: %+v", s)
			} else if paused == 2 && s.PrimaryReads == 0 {
				t.Errorf("no read ran on the primary: %+v", s)
			}
		})
	}
}

// TestEventualIsStale proves that the tests of this file can fail: without the
// floor the late replica answers.
func TestEventualIsStale(t *testing.T) {
	c := common(t)
	table := tableOf(t, c, "k int")
	db := open(t, c)
	ctx := patience(t)
	pause(t, c.Replicas()...)
	write(t, db, ctx, "insert into "+table+" values (1)")
	var route pgxdb.Route
	trace := func(r pgxdb.Route) { route = r }
	if n := one[int](t, db.Read().At(router.LevelEventual).Trace(trace).QueryRow(ctx, "select count(*) from "+table)); n != 0 || route.Role != router.RoleReplica {
		t.Errorf("an eventual read saw %d rows, by way of %+v", n, route)
	}
	if n := one[int](t, db.Read().Trace(trace).QueryRow(ctx, "select count(*) from "+table)); n != 1 || route.Role != router.RolePrimary {
		t.Errorf("a session's read saw %d rows, by way of %+v", n, route)
	}
	q := db.Read().Within(10*time.Millisecond, router.OnTimeoutStale).Trace(trace)
	if n := one[int](t, q.QueryRow(ctx, "select count(*) from "+table)); n != 0 || !route.Stale {
		t.Errorf("a stale read saw %d rows, by way of %+v", n, route)
	}
	err := db.Read().Within(10*time.Millisecond, router.OnTimeoutError).QueryRow(ctx, "select 1").Scan(new(int))
	var pg *pgconn.PgError
	var re *router.RouteError
	if !errors.As(err, &pg) || pg.Code != "PR001" || pg.Detail == "" || pg.Hint == "" || !errors.As(err, &re) {
		t.Errorf("a read that may not wait: %v", err)
	}
}

func TestStrongSeesWritesOfOtherProcesses(t *testing.T) {
	c := common(t)
	table := tableOf(t, c, "k int")
	here, there := open(t, c), open(t, c)
	ctx := patience(t)
	warm(t, here)
	pause(t, c.Replicas()...)
	write(t, there, ctx, "insert into "+table+" values (1)")
	if n := one[int](t, here.Read().QueryRow(ctx, "select count(*) from "+table)); n != 0 {
		t.Errorf("a session's read saw %d rows of another process", n)
	}
	for _, level := range []router.Level{router.LevelStrong, router.LevelPrimary} {
		if n := one[int](t, here.Read().At(level).QueryRow(ctx, "select count(*) from "+table)); n != 1 {
			t.Errorf("a read at the level %s saw %d rows", level, n)
		}
	}
}

func TestSessionsOfContextsAreApart(t *testing.T) {
	c := common(t)
	table := tableOf(t, c, "k int")
	db := open(t, c)
	ctx := patience(t)
	anna, bert := router.WithSession(ctx, router.NewSession()), router.WithSession(ctx, router.NewSession())
	pause(t, c.Replicas()...)
	write(t, db, anna, "insert into "+table+" values (1)")
	count := "select count(*) from " + table
	if n := one[int](t, db.Read().QueryRow(anna, count)); n != 1 {
		t.Errorf("the session that wrote sees %d rows", n)
	}
	if n := one[int](t, db.Read().QueryRow(bert, count)); n != 0 {
		t.Errorf("a session that did not write waited for another's write and sees %d rows", n)
	}
	if n := one[int](t, db.Read().QueryRow(ctx, count)); n != 1 {
		t.Errorf("the DB's own session sees %d rows", n)
	}
}

func TestTokens(t *testing.T) {
	c := common(t)
	table := tableOf(t, c, "k int")
	db, other := open(t, c), open(t, c)
	address := serveProxy(t, c)
	ctx := patience(t)
	count := "select count(*) from " + table
	through, err := pgx.Connect(ctx, "postgres://postgres@"+address+"/app?sslmode=disable&default_query_exec_mode=simple_protocol")
	must(t, err)
	defer through.Close(ctx)
	warm(t, other)
	for role := ""; role != "replica"; {
		one[int](t, through.QueryRow(ctx, count))
		must(t, through.QueryRow(ctx, "show pgroute.last_route").Scan(nil, &role, nil, nil))
	}
	pause(t, c.Replicas()...)

	// From the library to the library.
	write(t, db, ctx, "insert into "+table+" values (1)")
	token, err := db.Token(ctx)
	must(t, err)
	anna := router.WithSession(ctx, router.NewSession())
	must(t, other.Accept(anna, token))
	if n := one[int](t, other.Read().QueryRow(anna, count)); n != 1 {
		t.Errorf("a session with a token sees %d rows", n)
	}
	if n := one[int](t, other.Read().QueryRow(ctx, count)); n != 0 {
		t.Errorf("without it %d rows", n)
	}

	// From the library to the proxy.
	if n := one[int](t, through.QueryRow(ctx, count)); n != 0 {
		t.Errorf("a client of the proxy sees %d rows without a token", n)
	}
	_, err = through.Exec(ctx, "set pgroute.token = '"+token+"'")
	must(t, err)
	if n := one[int](t, through.QueryRow(ctx, count)); n != 1 {
		t.Errorf("a client of the proxy sees %d rows with the library's token", n)
	}

	// From the proxy to the library.
	_, err = through.Exec(ctx, "insert into "+table+" values (2)")
	must(t, err)
	token = one[string](t, through.QueryRow(ctx, "show pgroute.token"))
	bert := router.WithSession(ctx, router.NewSession())
	must(t, other.Accept(bert, token))
	if n := one[int](t, other.Read().QueryRow(bert, count)); n != 2 {
		t.Errorf("the library sees %d rows with the proxy's token", n)
	}
	must(t, other.Accept(ctx, token))
	if n := one[int](t, other.Read().QueryRow(ctx, count)); n != 2 {
		t.Errorf("the DB's own session sees %d rows with the proxy's token", n)
	}
}

func TestBadTokensAreRefused(t *testing.T) {
	c := common(t)
	db := open(t, c)
	ctx := patience(t)
	token, err := db.Token(ctx)
	must(t, err)
	pos, err := lsn.ParseToken(token)
	must(t, err)
	future, foreign := pos, pos
	future.LSN += 1 << 40
	foreign.SystemID++
	for name, x := range map[string]struct {
		token string
		want  error
	}{
		"malformed": {"pgr1_nonsense", lsn.ErrToken},
		"future":    {lsn.EncodeToken(future), router.ErrFutureToken},
		"foreign":   {lsn.EncodeToken(foreign), router.ErrForeignToken},
	} {
		var te *router.TokenError
		if err := db.Accept(ctx, x.token); !errors.Is(err, x.want) || !errors.As(err, &te) || te.SQLState() != "22023" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := one[int](t, db.Read().QueryRow(ctx, "select 1")); n != 1 {
		t.Error("nothing can be read any more")
	}
}

// TestReadsOfASessionDoNotGoBack has one replica far behind: what a session
// has seen on the primary, or on the other replica, must not be gone there.
func TestReadsOfASessionDoNotGoBack(t *testing.T) {
	c := common(t)
	table := tableOf(t, c, "v int")
	writer, reader := open(t, c), open(t, c)
	ctx, cancel := context.WithCancel(patience(t))
	defer cancel()
	write(t, writer, ctx, "insert into "+table+" values (0)")
	must(t, c.WaitCaughtUp(ctx))
	late := c.Replicas()[0]
	must(t, late.SetApplyDelay(ctx, 300*time.Millisecond))
	defer func() { must(t, late.SetApplyDelay(context.Background(), 0)) }()
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			_, _ = writer.Exec(ctx, "update "+table+" set v = v + 1")
		}
	})
	session := router.WithSession(ctx, router.NewSession())
	nodes := map[string]int{}
	read := reader.Read().Trace(func(r pgxdb.Route) { nodes[r.Node]++ })
	query := "select v from " + table
	last := 0
	for i := 0; i < 100 || last < 20; i++ {
		v := one[int](t, read.QueryRow(session, query))
		if v < last {
			t.Fatalf("%d was read after %d, by node: %v", v, last, nodes)
		}
		last = v
		if i%3 == 0 {
			last = max(last, one[int](t, read.At(router.LevelPrimary).QueryRow(session, query)))
		}
	}
	cancel()
	wg.Wait()
	t.Logf("the last value was %d, reads by node: %v", last, nodes)
}

// serveProxy runs a proxy in front of the cluster and returns its address.
// Its clients need no password.
func serveProxy(t testing.TB, c *cluster.Cluster) string {
	t.Helper()
	monitor, err := pgprobe.New(pgprobe.Config{DSN: monitorDSN})
	must(t, err)
	source, err := router.Static(c.Addrs()...)
	must(t, err)
	srv, err := proxy.New(proxy.Config{Source: source, Monitor: monitor, Listen: []string{"127.0.0.1:0"}, Auth: proxy.AuthTrust, Logger: quiet})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx, time.Minute) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		monitor.Close()
	})
	select {
	case <-srv.Ready():
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
	return srv.Addrs()[0].String()
}
