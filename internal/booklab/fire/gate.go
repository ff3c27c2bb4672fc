package fire

import (
	"context"
	"sync"
)

// A gate hands out the numbers of attempts, and stops when those are handed out
// that belong before a fault that has not been done yet. So a run does the same
// faults at the same places, on a fast machine and on a slow one.
type gate struct {
	mu      sync.Mutex // guards the fields below
	next    int
	limit   int
	total   int
	changed chan struct{} // closed and replaced at each change
}

func newGate(total int) *gate { return &gate{total: total, changed: make(chan struct{})} }

// take returns the next number, false if there is none or ctx is done.
func (g *gate) take(ctx context.Context) (int, bool) {
	for ctx.Err() == nil {
		g.mu.Lock()
		if g.next >= g.total {
			g.mu.Unlock()
			return 0, false
		}
		if g.next < g.limit {
			n := g.next
			g.next++
			g.changeLocked()
			g.mu.Unlock()
			return n, true
		}
		wait := g.changed
		g.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
		}
	}
	return 0, false
}

// open lets all numbers below limit pass.
func (g *gate) open(limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = max(g.limit, limit)
	g.changeLocked()
}

// reached waits until n numbers have been handed out.
func (g *gate) reached(ctx context.Context, n int) error {
	for {
		g.mu.Lock()
		there, wait := g.next >= n, g.changed
		g.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// changeLocked wakes everyone who waits. Nobody does on the common path, but
// for one who counts.
func (g *gate) changeLocked() {
	close(g.changed)
	g.changed = make(chan struct{})
}
