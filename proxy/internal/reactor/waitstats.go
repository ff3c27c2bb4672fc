package reactor

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/pgroute/pgroute/router"
)

// waitBounds are the buckets of WaitStats.Served.
var waitBounds = [...]time.Duration{time.Millisecond, 5 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond,
	500 * time.Millisecond, 2500 * time.Millisecond, 10 * time.Second, 30 * time.Second}

// waitStats counts what became of clients that had to wait for a backend.
type waitStats struct {
	buckets [len(waitBounds) + 1]atomic.Uint64
	sum     atomic.Int64
	limits  [kinds]atomic.Uint64
}

func (w *waitStats) served(d time.Duration) {
	i := 0
	for i < len(waitBounds) && d > waitBounds[i] {
		i++
	}
	w.buckets[i].Add(1)
	w.sum.Add(int64(d))
}

func (w *waitStats) failed(k Kind) { w.limits[k].Add(1) }

// WaitStats is what became of clients that had to wait for a backend.
type WaitStats struct {
	// Served is how long those waited that got one.
	Served router.Histogram
	// Refused counts the others by the limit that was in the way.
	Refused map[string]uint64
}

// Waits returns the counters of all loops.
func (g *Group) Waits() WaitStats {
	out := WaitStats{Refused: make(map[string]uint64), Served: router.Histogram{
		Bounds: slices.Clone(waitBounds[:]), Counts: make([]uint64, len(g.waits.buckets)), Sum: time.Duration(g.waits.sum.Load())}}
	for i := range out.Served.Counts {
		out.Served.Counts[i] = g.waits.buckets[i].Load()
	}
	for k := range kinds {
		if n := g.waits.limits[k].Load(); n > 0 {
			out.Refused[k.String()] = n
		}
	}
	return out
}
