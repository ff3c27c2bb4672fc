package router

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pgroute/pgroute/lsn"
)

// nudger makes the primary flush its WAL when somebody waits for a position
// that it has not flushed: replicas get only what is flushed, and on a quiet
// primary that can take a few hundred milliseconds. It uses a connection of
// its own, because a flush must not hold up the oracle.
type nudger struct {
	r       *Router
	pending atomic.Bool
	wake    chan struct{}
}

const (
	// nudgeSettle is how long the primary is left to flush by itself, as it
	// does with every synchronous commit.
	nudgeSettle = 500 * time.Microsecond
	// nudgeLeast and nudgeMost are the distances between two looks. The
	// distance doubles while they find that no nudge is needed.
	nudgeLeast = 2 * time.Millisecond
	nudgeMost  = 64 * time.Millisecond
)

// want tells that somebody waits for a position that was not flushed when the
// primary was last asked.
func (n *nudger) want() {
	if n.pending.CompareAndSwap(false, true) {
		select {
		case n.wake <- struct{}{}:
		default:
		}
	}
}

// needed returns the highest position that somebody waits for in era e and
// that is not known to be flushed, 0 if there is none.
func (n *nudger) needed(t *Topology) lsn.LSN {
	var high uint64
	for _, node := range t.Nodes {
		if node.okEra.Load() == t.era.n {
			high = max(high, node.waiters.highest())
		}
	}
	if high <= t.era.flush.Load() {
		return 0
	}
	return lsn.LSN(high)
}

func (n *nudger) run(ctx context.Context) {
	retry := backoff{}
	for ctx.Err() == nil {
		select {
		case <-n.wake:
		case <-ctx.Done():
			return
		}
		t := n.r.topo.Load()
		if t.era.n == 0 {
			n.pending.Store(false)
			continue
		}
		err := n.serve(ctx, t.era)
		n.pending.Store(false)
		if err != nil && ctx.Err() == nil {
			n.r.log.Debug("nudging ended", "node", t.era.node.Name, "error", err)
			retry.wait(ctx, nil)
			n.want()
			continue
		}
		retry = backoff{}
		if n.needed(n.r.topo.Load()) != 0 {
			n.want() // the era changed
		}
	}
}

// serve nudges the primary of e until the connection breaks, the era ends, or
// nobody has needed it for long.
func (n *nudger) serve(ctx context.Context, e *era) error {
	limit := newGuard(ctx, n.r.cfg.ProbeTimeout)
	defer limit.end()
	probe, err := n.r.connectPrimary(limit, e)
	if err != nil {
		return err
	}
	defer probe.Close()
	distance := nudgeLeast
	var last time.Time
	for {
		n.pending.Store(false)
		t := n.r.topo.Load()
		if t.era != e {
			return nil
		}
		if n.needed(t) == 0 {
			if idle := n.idle(ctx); idle {
				return nil
			}
			distance = nudgeLeast
			continue
		}
		sleep(ctx, max(nudgeSettle, time.Until(last.Add(distance))), nil)
		last = time.Now()
		limit.arm()
		useful, err := n.nudge(limit, e, probe)
		limit.disarm()
		if err != nil {
			return err
		}
		if distance = min(2*distance, nudgeMost); useful {
			distance = nudgeLeast
		}
	}
}

// idle sleeps until somebody wants a nudge, and reports whether nobody did for
// so long that the connection may go.
func (n *nudger) idle(ctx context.Context) bool {
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	select {
	case <-n.wake:
		return false
	case <-timer.C:
		return true
	case <-ctx.Done():
		return true
	}
}

// nudge looks whether a nudge is still needed and gives it.
func (n *nudger) nudge(limit *guard, e *era, probe Probe) (useful bool, err error) {
	insert, flush, err := probe.Insert(limit.ctx)
	if err != nil {
		return false, fmt.Errorf("ask %s for its position: %w", e.node.Name, err)
	}
	e.saw(insert, flush)
	t := n.r.topo.Load()
	if t.era != e || n.needed(t) == 0 {
		return false, nil
	}
	err = probe.Nudge(limit.ctx)
	n.r.stats.nudges.Add(1)
	if trace := n.r.cfg.Trace.Nudge; trace != nil {
		trace(err)
	}
	if err != nil {
		return false, fmt.Errorf("nudge %s: %w", e.node.Name, err)
	}
	// What was inserted before the nudge is flushed now.
	raise(&e.flush, uint64(e.normalize(insert)))
	return true, nil
}
