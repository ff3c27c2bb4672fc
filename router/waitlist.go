package router

import (
	"sync"
	"sync/atomic"

	"github.com/pgroute/pgroute/lsn"
)

// A Waiter is told that a request may be decided now. It is a pointer to
// something of the caller's. Wake is called with a nil error, by a goroutine of
// the router or by whoever else calls one of its methods (Decision.Done hands
// a place in the fallback budget on), perhaps the waiter's own. It should only
// post a message.
type Waiter = lsn.Waiter

// registration is one entry of a waitList. It belongs to the Request that it
// is part of; the list only refers to it.
type registration struct {
	list  *waitList
	key   uint64
	order uint64
	index int // in list.heap, -1 when it is not there; guarded by list.mu
	q     *Request
	// seq is what Request.Seq was. The owner may give the request a new number
	// while it is still here, and a late wake must not carry that.
	seq uint64
}

func (g *registration) before(h *registration) bool {
	if g.key != h.key {
		return g.key < h.key
	}
	return g.order < h.order
}

// waitList holds those who wait for a number to reach a key, and wakes them in
// order of their keys, among equals in order of arrival.
//
// It differs from lsn.Watermark's waiters in what event loops need: a request
// waits in several lists at once and is woken once, and leaving a list costs
// no search.
type waitList struct {
	// lowest is the lowest key in the heap, 0 when it is empty, so that
	// looking whether somebody waits takes no lock. It is written under mu.
	lowest atomic.Uint64

	mu     sync.Mutex // guards the fields below
	heap   []*registration
	orders uint64
}

// add enters g, whose key is not 0. Afterwards the caller has to look again
// whether the key is reached: whoever raises the number stores it first and
// looks at the list then.
func (l *waitList) add(g *registration, q *Request, key uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.orders++
	*g = registration{list: l, key: key, order: l.orders, index: len(l.heap), q: q, seq: q.Seq}
	l.heap = append(l.heap, g)
	l.up(g.index)
	l.lowest.Store(l.heap[0].key)
}

// remove takes g out if it is still there. Afterwards the list does not touch
// g or its request any more.
func (l *waitList) remove(g *registration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g.index < 0 {
		return false
	}
	l.removeLocked(g.index)
	return true
}

// empty reports whether nobody waits.
func (l *waitList) empty() bool { return l.lowest.Load() == 0 }

// wake wakes everyone whose key is reached.
func (l *waitList) wake(reached uint64) {
	if lowest := l.lowest.Load(); lowest == 0 || lowest > reached {
		return
	}
	for l.wakeOne(reached) {
	}
}

// wakeAll wakes everyone who waits now: what they wait for will not come, or
// not here.
func (l *waitList) wakeAll() {
	if l.empty() {
		return
	}
	l.mu.Lock()
	n := len(l.heap)
	l.mu.Unlock()
	for ; n > 0 && l.wakeOne(^uint64(0)); n-- {
	}
}

// wakeOne removes the first registration if its key is reached, and wakes its
// request unless another list was faster.
func (l *waitList) wakeOne(reached uint64) bool {
	l.mu.Lock()
	if len(l.heap) == 0 || l.heap[0].key > reached {
		l.mu.Unlock()
		return false
	}
	g := l.removeLocked(0)
	q := g.q
	// The request cannot be reused before this lock is released, because its
	// owner leaves every list first.
	w, seq, first := q.waiter, g.seq, q.armed.CompareAndSwap(true, false)
	l.mu.Unlock()
	if first {
		w.Wake(seq, nil)
	}
	return true
}

// highest returns the highest key. Its cost grows with the number of waiters.
func (l *waitList) highest() uint64 {
	if l.empty() {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var high uint64
	for _, g := range l.heap {
		high = max(high, g.key)
	}
	return high
}

// len returns the number of those who wait.
func (l *waitList) len() int {
	if l.empty() {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.heap)
}

func (l *waitList) removeLocked(i int) *registration {
	g := l.heap[i]
	last := len(l.heap) - 1
	l.swap(i, last)
	l.heap[last] = nil
	l.heap = l.heap[:last]
	if i < last {
		l.down(i)
		l.up(i)
	}
	g.index = -1
	var lowest uint64
	if last > 0 {
		lowest = l.heap[0].key
	}
	l.lowest.Store(lowest)
	return g
}

func (l *waitList) swap(i, j int) {
	h := l.heap
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (l *waitList) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !l.heap[i].before(l.heap[parent]) {
			return
		}
		l.swap(i, parent)
		i = parent
	}
}

func (l *waitList) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(l.heap) {
			return
		}
		if right := child + 1; right < len(l.heap) && l.heap[right].before(l.heap[child]) {
			child = right
		}
		if !l.heap[child].before(l.heap[i]) {
			return
		}
		l.swap(i, child)
		i = child
	}
}
