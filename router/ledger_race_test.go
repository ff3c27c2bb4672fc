package router

import (
	"runtime"
	"strings"
	"testing"
)

// TestFateOfALateWrite: while one client of a session enters a write, another one
// finds out that the primary has changed, and that what the session wrote before is
// there. What was just written is lost, and that is told.
func TestFateOfALateWrite(t *testing.T) {
	first, next := &era{n: 1}, &era{n: 2, from: passage{kept: 150, gone: 150}}
	first.confirmed.Store(1)
	r, l := new(Router), new(ledger)
	r.topo.Store(&Topology{era: first, eras: []*era{first}})
	l.add(bracket{era: 1, gen: 1, low: 50, high: 100, sure: true, in: first}, r)

	l.mu.Lock() // as the other client does
	added := make(chan struct{})
	go func() { // ends when it gets the lock
		defer close(added)
		l.add(bracket{era: 1, gen: 2, low: 200, sure: true, in: first}, r)
	}()
	for !waitsForLock("(*ledger).add") {
		runtime.Gosched()
	}
	after := &Topology{era: next, eras: []*era{first, next}}
	r.topo.Store(after)
	if f := after.fate(&l.acked, &r.oracle.ring); f != FateKept {
		t.Fatalf("the first write: %s", f)
	}
	l.acked.judged = next.n
	l.note()
	l.mu.Unlock()
	<-added

	for i, want := range []Fate{FateLost, FateKept} {
		if f := l.fate(after, &r.oracle.ring); f != want {
			t.Errorf("at %d: %s, want %s", i, f, want)
		}
	}
}

// waitsForLock reports whether a goroutine waits for a mutex in a function.
func waitsForLock(function string) bool {
	stacks := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(stack, "[sync.Mutex.Lock") && strings.Contains(stack, function) {
			return true
		}
	}
	return false
}
