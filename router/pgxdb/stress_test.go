package pgxdb_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	ctx := patience(t)
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
					var got int
					if err := q.QueryRow(own, "select v from "+table+" where k = $1", k).Scan(&got); err != nil {
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
