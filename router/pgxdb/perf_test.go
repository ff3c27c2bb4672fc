package pgxdb_test

import (
	"context"
	"flag"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

var perfCalls = flag.Int("perf.calls", 10_000, "calls of each kind in TestPerfOverhead; from a million on, the processor time is asserted")

// What db.Read().QueryRow(…).Scan may cost more than pgxpool's.
const (
	mostAllocs = 2
	mostCPU    = 3 * time.Microsecond
)

// TestPerfOverhead compares a read with the same on a pgxpool.Pool, against a
// server that answers at once.
func TestPerfOverhead(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes what is measured")
	}
	ctx := t.Context()
	session := router.WithSession(ctx, router.NewSession())
	db, pool := stubbed(t)
	var n int
	for _, x := range []struct {
		name string
		ctx  context.Context
	}{{"Read", ctx}, {"Read with a session", session}} {
		t.Run(x.name, func(t *testing.T) {
			ours := func() {
				if err := db.Read().QueryRow(x.ctx, "select n from t where k = $1", 1).Scan(&n); err != nil || n != 42 {
					t.Fatalf("%d, %v", n, err)
				}
			}
			theirs := func() {
				if err := pool.QueryRow(x.ctx, "select n from t where k = $1", 1).Scan(&n); err != nil || n != 42 {
					t.Fatalf("%d, %v", n, err)
				}
			}
			compare(t, ours, theirs)
		})
	}
}

// compare measures both in turn, and asserts the difference.
func compare(t *testing.T, ours, theirs func()) {
	const rounds = 20
	calls := max(*perfCalls/rounds, 1)
	for range 1000 {
		ours()
		theirs()
	}
	var cpu, allocs [2][]float64
	for range rounds {
		for i, f := range []func(){ours, theirs} {
			c, a := cost(calls, f)
			cpu[i] = append(cpu[i], c)
			allocs[i] = append(allocs[i], a)
		}
	}
	more := median(allocs[0]) - median(allocs[1])
	took := time.Duration((sum(cpu[0]) - sum(cpu[1])) / rounds)
	t.Logf("%d calls each: %.2f allocations more (%.2f, %.2f), %v of processor time more (%v, %v)", calls*rounds, more,
		median(allocs[0]), median(allocs[1]), took, time.Duration(sum(cpu[0])/rounds), time.Duration(sum(cpu[1])/rounds))
	if more > mostAllocs+0.1 {
		t.Errorf("%.2f allocations more, %d may be", more, mostAllocs)
	}
	if *perfCalls >= 1_000_000 && took > mostCPU {
		t.Errorf("%v of processor time more, %v may be", took, mostCPU)
	}
}

// cost returns the processor time in nanoseconds and the allocations of one
// call.
func cost(calls int, f func()) (cpu, allocs float64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := processorTime()
	for range calls {
		f()
	}
	spent := processorTime() - start
	runtime.ReadMemStats(&after)
	return float64(spent) / float64(calls), float64(after.Mallocs-before.Mallocs) / float64(calls)
}

// processorTime is what this process has used, in user and system mode.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func sum(v []float64) (s float64) {
	for _, x := range v {
		s += x
	}
	return s
}

// stubbed returns a DB and a plain pool that lead to the stub.
func stubbed(t testing.TB) (*pgxdb.DB, *pgxpool.Pool) {
	t.Helper()
	addr := startStub(t)
	dsn := "postgres://u:p@x/db?sslmode=disable&pool_max_conns=4"
	r, err := router.New(router.Config{Source: stubSource{addr}, Prober: stubProber{}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	db := pgxdb.OpenOn(t, r, dsn, quiet)
	t.Cleanup(db.Close)
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.Host, cfg.ConnConfig.Port = addr.Host, uint16(addr.Port)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return db, pool
}
