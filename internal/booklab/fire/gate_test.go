package fire

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
)

// Nobody passes a fault that has not been done, and everybody gets a number of
// their own.
func TestGateHoldsTheLoadBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(10)
		g.open(4)
		var mu sync.Mutex
		got := make(map[int]int)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				for {
					n, ok := g.take(t.Context())
					if !ok {
						return
					}
					mu.Lock()
					got[n]++
					mu.Unlock()
				}
			})
		}
		if err := g.reached(t.Context(), 4); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		mu.Lock()
		if len(got) != 4 {
			t.Errorf("%d numbers before the gate was opened further", len(got))
		}
		mu.Unlock()
		g.open(10)
		all.Wait()
		for n := range 10 {
			if got[n] != 1 {
				t.Errorf("number %d was handed out %d times", n, got[n])
			}
		}
	})
}

func TestGateEndsWithItsContext(t *testing.T) {
	g := newGate(10)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := g.take(ctx); ok {
		t.Error("a number for somebody whose context is done")
	}
	if err := g.reached(ctx, 1); err == nil {
		t.Error("no error for somebody whose context is done")
	}
}
