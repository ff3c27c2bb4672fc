package pgxdb_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// TestNeverStale: 64 goroutines write and look, through several DBs and
// sessions, while replay is paused here and there. Nobody may miss what was
// acknowledged to its session; those who ask for less do miss it, which proves
// that the test can tell.
func TestNeverStale(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Replicas: 2})
	const goroutines, rounds = 64, 25
	table := tableOf(t, c, "k int primary key, v int not null")
	db := open(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	write(t, db, ctx, "insert into "+table+" select k, 0 from generate_series(1, $1) k", goroutines)
	must(t, c.WaitCaughtUp(ctx))

	var stale, eventual, reads atomic.Int64
	nemesis, stop := context.WithCancel(ctx)
	var pauses sync.WaitGroup
	pauses.Go(func() { pauseAtRandom(t, nemesis, c.Replicas()) })
	var wg sync.WaitGroup
	for k := 1; k <= goroutines; k++ {
		wg.Go(func() {
			own := ctx
			if k%2 == 0 { // a session of its own
				own = router.WithSession(ctx, router.NewSession())
			}
			for v := 1; v <= rounds; v++ {
				if _, err := db.Exec(own, "update "+table+" set v = $1 where k = $2", v, k); err != nil {
					t.Error(err)
					return
				}
				for i, q := range []pgxdb.Queries{db.Read().At(router.LevelEventual), db.Read(), db.Auto(), db.Read().At(router.LevelStrong)} {
					got, err := look(own, db, q, "select v from "+table+" where k = $1", k)
					if err != nil {
						t.Errorf("%d: %v", i, err)
						return
					}
					reads.Add(1)
					switch {
					case i == 0 && got < v:
						eventual.Add(1)
					case i > 0 && got != v:
						stale.Add(1)
						t.Errorf("reader %d saw %d after it had written %d", i, got, v)
					}
				}
			}
		})
	}
	wg.Wait()
	stop()
	pauses.Wait()
	t.Logf("%d reads, %d stale, %d at the level eventual", reads.Load(), stale.Load(), eventual.Load())
	if eventual.Load() == 0 {
		t.Error("not even the eventual reads were stale: nothing was tested")
	}
	if s := db.Stat(); s.ReplicaReads == 0 {
		t.Error("no read ran on a replica")
	}
}

// look reads one value. On a loaded machine the primary may miss its probes:
// then it is not proven to lead, a strong read is refused, and asked again.
func look(ctx context.Context, db *pgxdb.DB, q pgxdb.Queries, sql string, k int) (v int, err error) {
	for {
		var pg *pgconn.PgError
		if err = q.QueryRow(ctx, sql, k).Scan(&v); !errors.As(err, &pg) || pg.Code != "PR001" {
			return v, err
		}
		if err = db.Router().WaitTopology(ctx, func(t *router.Topology) bool { return t.Primary != nil }); err != nil {
			return 0, err
		}
	}
}

// pauseAtRandom pauses and resumes replay until ctx ends, and leaves the
// replicas running.
func pauseAtRandom(t *testing.T, ctx context.Context, replicas []*cluster.Node) {
	all := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		n := replicas[rand.IntN(len(replicas))]
		if err := n.PauseReplay(all); err != nil {
			t.Error(err)
			return
		}
		select {
		case <-time.After(time.Duration(rand.IntN(60)) * time.Millisecond):
		case <-ctx.Done():
		}
		if err := n.ResumeReplay(all); err != nil {
			t.Error(err)
			return
		}
	}
}
