package pgxdb_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// shared is the cluster of the tests that leave its servers as they were.
var shared struct {
	once sync.Once
	c    *cluster.Cluster
	err  error
}

func TestMain(m *testing.M) {
	if os.Getenv(stubEnv) != "" {
		stubMain()
		return
	}
	code := m.Run()
	if shared.c != nil {
		if err := shared.c.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if left := leaked(); left != "" {
		fmt.Fprintln(os.Stderr, "goroutines are left:\n"+left)
		code = 1
	}
	os.Exit(code)
}

// leaked returns the stacks of goroutines that package pgxdb, the router or a
// pool still has some time after everything was closed.
func leaked() string {
	var left string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		buf := make([]byte, 1<<20)
		left = ""
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "pgroute/router") && !strings.Contains(g, "TestMain") || strings.Contains(g, "pgxpool.") {
				left += g + "\n\n"
			}
		}
		if left == "" {
			return ""
		}
	}
	return left
}

// common returns the shared cluster.
func common(t testing.TB) *cluster.Cluster {
	t.Helper()
	c, err := started()
	must(t, err)
	return c
}

// started is common for who has no test.
func started() (*cluster.Cluster, error) {
	shared.once.Do(func() {
		shared.c, shared.err = cluster.New(context.Background(), cluster.Options{Replicas: 2, Trust: true})
	})
	return shared.c, shared.err
}

const (
	appDSN     = "postgres://" + cluster.AppUser + ":" + cluster.AppPassword + "@ignored:1/" + cluster.AppDatabase + "?sslmode=disable&pool_max_conns=10"
	monitorDSN = "postgres://" + cluster.MonitorUser + ":" + cluster.MonitorPassword + "@ignored:1/postgres?sslmode=disable"
)

// config returns the configuration for a cluster.
func config(t testing.TB, c *cluster.Cluster) pgxdb.Config {
	t.Helper()
	source, err := router.Static(c.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	return pgxdb.Config{Source: source, DSN: appDSN, MonitorDSN: monitorDSN, Logger: quiet}
}

// open opens a DB that is closed with the test, and waits until all replicas
// are known.
func open(t testing.TB, c *cluster.Cluster, change ...func(*pgxdb.Config)) *pgxdb.DB {
	t.Helper()
	cfg := config(t, c)
	for _, f := range change {
		f(&cfg)
	}
	ctx := patience(t)
	db, err := pgxdb.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	settled(t, db, len(c.Replicas()))
	return db
}

// settled waits until the router counts so many replicas and a primary.
func settled(t testing.TB, db *pgxdb.DB, replicas int) {
	t.Helper()
	err := db.Router().WaitTopology(patience(t), func(t *router.Topology) bool { return t.Primary != nil && t.Replicas() >= replicas })
	if err != nil {
		t.Fatal(err)
	}
}

// patience is a context for what must not take for ever.
func patience(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// must fails the test if err is not nil.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write runs a write.
func write(t testing.TB, db *pgxdb.DB, ctx context.Context, sql string, args ...any) {
	t.Helper()
	if _, err := db.Exec(ctx, sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// tableOf makes a table for one test, which every replica has, and returns its
// name.
func tableOf(t testing.TB, c *cluster.Cluster, columns string) string {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "_", "#", "_", " ", "_").Replace(t.Name()))
	ctx := patience(t)
	conn, err := c.Primary().App(ctx)
	must(t, err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "drop table if exists "+name+"; create table "+name+" ("+columns+")")
	must(t, err)
	must(t, c.WaitCaughtUp(ctx))
	return name
}

// pause stops replay on replicas until the test ends or the returned function
// is called.
func pause(t testing.TB, nodes ...*cluster.Node) (resume func()) {
	t.Helper()
	ctx := context.Background()
	for _, n := range nodes {
		must(t, n.PauseReplay(ctx))
	}
	var once sync.Once
	resume = func() {
		once.Do(func() {
			for _, n := range nodes {
				if n.Running() {
					if err := n.ResumeReplay(ctx); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	t.Cleanup(resume)
	return resume
}

// nameOf is a node's name in a static source.
func nameOf(n *cluster.Node) string { return n.Addr() }

// one scans the only value of a row.
func one[T any](t testing.TB, r pgx.Row) T {
	t.Helper()
	var v T
	if err := r.Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// patient lets reads wait for a replica as long as it takes, so that a slow
// machine does not send them to the primary.
func patient(cfg *pgxdb.Config) { cfg.Wait = time.Minute }

// warm makes sure that what db's session has to see so far is known and
// replayed: after that, only a write makes it wait.
func warm(t testing.TB, db *pgxdb.DB) {
	t.Helper()
	ctx := patience(t)
	var route pgxdb.Route
	q := db.Read().Trace(func(r pgxdb.Route) { route = r })
	for route.Role != router.RoleReplica {
		one[int](t, q.QueryRow(ctx, "select 1"))
	}
}

// catalogued waits until db knows the catalogue.
func catalogued(t testing.TB, db *pgxdb.DB) {
	t.Helper()
	ctx := patience(t)
	var route pgxdb.Route
	q := db.Auto().Trace(func(r pgxdb.Route) { route = r })
	for route.Role != router.RoleReplica {
		one[int](t, q.QueryRow(ctx, "select abs(count(*)) from pg_class where false"))
	}
}

// version is the major version of c's PostgreSQL.
func version(t testing.TB, c *cluster.Cluster) int {
	t.Helper()
	major, err := c.Version(patience(t))
	must(t, err)
	return major
}

// needsReadOnlyReport skips the test where the server does not tell that
// default_transaction_read_only was changed: before PostgreSQL 14 nobody can
// notice that a connection is read only no more.
func needsReadOnlyReport(t testing.TB, c *cluster.Cluster) {
	t.Helper()
	if major := version(t, c); major < 14 {
		t.Skipf("PostgreSQL %d does not report default_transaction_read_only", major)
	}
}
