package reactor

import (
	"sync/atomic"
	"time"
)

// WaitBuckets are the upper bounds of WaitStats.Served; what took longer is in
// one bucket more.
var WaitBuckets = [...]time.Duration{time.Millisecond, 5 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond,
	500 * time.Millisecond, 2500 * time.Millisecond, 10 * time.Second, 30 * time.Second}

// waitStats counts what became of clients that had to wait for a backend.
type waitStats struct {
	buckets [len(WaitBuckets) + 1]atomic.Uint64
	sum     atomic.Int64
	limits  [kinds]atomic.Uint64
}

func (w *waitStats) served(d time.Duration) {
	i := 0
	for i < len(WaitBuckets) && d > WaitBuckets[i] {
		i++
	}
	w.buckets[i].Add(1)
	w.sum.Add(int64(d))
}

func (w *waitStats) failed(k Kind) { w.limits[k].Add(1) }

// WaitStats is what became of clients that had to wait for a backend.
type WaitStats struct {
	// Served counts those that got one, by how long that took; see
	// WaitBuckets. Sum is the time that they waited.
	Served [len(WaitBuckets) + 1]uint64
	Sum    time.Duration
	// Refused counts the others by the limit that was in the way.
	Refused map[string]uint64
}

// Waits returns the counters of all loops.
func (g *Group) Waits() WaitStats {
	out := WaitStats{Sum: time.Duration(g.waits.sum.Load()), Refused: make(map[string]uint64)}
	for i := range out.Served {
		out.Served[i] = g.waits.buckets[i].Load()
	}
	for k := range kinds {
		if n := g.waits.limits[k].Load(); n > 0 {
			out.Refused[k.String()] = n
		}
	}
	return out
}
