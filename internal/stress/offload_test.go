package stress_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
)

// The share of reads that the replicas take off the primary when nothing is
// wrong, in a mix of writes and reads. On a busy machine the default wait is
// too short for replicas that get no processor: only -stress.strict keeps it.
func TestOffload(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true})
	if err := errors.Join(c.Primary().Exec(t.Context(), schema...), c.WaitCaughtUp(t.Context())); err != nil {
		t.Fatal(err)
	}
	s := startSidecar(t, "a", newSource(c.Nodes()...), func(cfg *proxy.Config) {
		if !*strictFlag {
			cfg.Wait = pairTimeout
		}
	})
	if err := s.settle(t.Context(), probeSQL, 2); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	all := make([]*worker, 16)
	for i := range all {
		w := &worker{tally: newTally(), id: i, key: int64(i + 1), nem: &nemesis{}, home: s, away: s, database: cluster.AppDatabase, conns: map[string]*pgx.Conn{}}
		all[i] = w
		// Ends after its reads; waited for below.
		wg.Go(func() {
			defer w.hangUp()
			w.mix(t.Context(), max(40, *pairsFlag/100))
		})
	}
	wg.Wait()
	total := newTally()
	for _, w := range all {
		total.add(w.tally)
	}
	replicas := 0
	for k, n := range total.routes {
		if strings.HasPrefix(k, "replica") {
			replicas += n
		}
	}
	t.Log(table("reads by route", total.routes), table("errors", total.errors), table("replica reads by node", total.nodes))
	t.Logf("%.1f%% of %d reads were answered by replicas", percent(replicas, total.reads), total.reads)
	if len(total.errors) > 0 || total.reads == 0 {
		t.Errorf("errors without faults: %s", table("errors", total.errors))
	}
	if replicas*100 < total.reads*60 {
		t.Errorf("%.1f%% of the reads were answered by replicas, 60%% are asked for", percent(replicas, total.reads))
	}
}

// mix does rounds of one write and four reads, the first at once. A READ
// COMMITTED transaction is not among them: while others write, it may be asked
// to try again.
func (w *worker) mix(ctx context.Context, rounds int) {
	for range rounds {
		c, err := w.conn(ctx, "main")
		if err == nil {
			err = w.update(ctx, c, false)
		}
		for i := 0; i < 4 && err == nil; i++ {
			var v int64
			var r route
			if v, r, err = w.readRow(ctx, c, protos[rand.IntN(3)]); err == nil {
				w.served(r)
				if v < w.n {
					err = fmt.Errorf("read %d after %d", v, w.n)
				}
			}
		}
		if err != nil {
			w.failed(ctx, "mix", err)
		}
	}
}
