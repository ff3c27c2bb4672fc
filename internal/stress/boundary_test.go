package stress_test

import (
	"context"
	"errors"
	"time"

	"github.com/pgroute/pgroute/router"
)

// quiet is a prober whose nudges do nothing, so that the primary's WAL stands
// still where the test has left it.
type quiet struct{ router.Prober }

type quietProbe struct{ router.Probe }

func (q quiet) Connect(ctx context.Context, addr router.Addr) (router.Probe, error) {
	p, err := q.Prober.Connect(ctx, addr)
	return quietProbe{p}, err
}

func (quietProbe) Nudge(context.Context) error { return nil }

// After a record that fills its page the insert position lies behind the next
// page's header, where no replica gets before more is written.
func readAtPageBoundary(l *lab) error {
	r := startRouter(l.t, router.Config{Source: l.src, Prober: quiet{newProber(l.t)}})
	if err := r.WaitTopology(l.ctx, func(t *router.Topology) bool { return t.Primary != nil && t.Replicas() == 2 }); err != nil {
		return err
	}
	for range 3 {
		if err := l.fillPage(); err != nil {
			return err
		}
		var chain router.Chain
		chain.Init(r, nil, true)
		q := r.NewRequest(router.LevelSession)
		// Long, with a busy machine in mind, but less than the 15 s after which
		// an idle primary writes a snapshot by itself: that would help whoever
		// waits for the position behind the header.
		q.Wait, q.OnTimeout = 10*time.Second, router.OnTimeoutError
		d, err := r.Pick(l.ctx, q, &chain)
		if late := new(router.RouteError); errors.As(err, &late) {
			return violation("a read timed out although the replicas have everything: " + late.Error())
		}
		if err != nil {
			return err
		}
		d.Done()
	}
	return nil
}

// fillPage ends a page and a segment, and waits until the replicas have it.
func (l *lab) fillPage() error {
	p := l.c.Primary()
	return until(l.ctx, "the replicas are at the end of a page", func() (bool, error) {
		if err := p.Exec(l.ctx, "SELECT pg_logical_emit_message(false, 'x', 'x')", "SELECT pg_switch_wal()"); err != nil {
			return false, err
		}
		if err := l.replayed(); err != nil {
			return false, err
		}
		off, err := p.QueryString(l.ctx, "SELECT mod(pg_current_wal_insert_lsn() - '0/0', 8192)::int8")
		return off == "24" || off == "40", err
	})
}

// replayed waits until the replicas have everything that is flushed now,
// without writing anything.
func (l *lab) replayed() error {
	flushed, err := l.c.Primary().QueryString(l.ctx, "SELECT pg_current_wal_flush_lsn()")
	if err != nil {
		return err
	}
	for _, r := range l.c.Replicas() {
		err := until(l.ctx, r.Name+" has replayed everything", func() (bool, error) {
			got, err := r.QueryString(l.ctx, "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", flushed)
			return got == "t", err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
