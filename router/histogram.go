package router

import (
	"slices"
	"sync/atomic"
	"time"
)

// Histogram says how long something took, how often. It belongs to whoever was
// given it.
type Histogram struct {
	// Bounds are the upper bounds of the buckets, ascending and each part of its
	// bucket; what took longer than the last is in one bucket more.
	Bounds []time.Duration
	// Counts says how often it took that long: one number for each bucket, so one
	// more than there are bounds. They are not cumulative.
	Counts []uint64
	// Sum is how long all of it took together.
	Sum time.Duration
}

// waitBounds are the buckets of the waits for a floor.
var waitBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond,
}

// waits counts by waitBounds.
type waits struct {
	counts [len(waitBounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

func (w *waits) add(d time.Duration) {
	i := 0
	for i < len(waitBounds) && d > waitBounds[i] {
		i++
	}
	w.counts[i].Add(1)
	w.sum.Add(int64(d))
}

func (w *waits) histogram() Histogram {
	h := Histogram{Bounds: slices.Clone(waitBounds[:]), Counts: make([]uint64, len(w.counts)), Sum: time.Duration(w.sum.Load())}
	for i := range h.Counts {
		h.Counts[i] = w.counts[i].Load()
	}
	return h
}
