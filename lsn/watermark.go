package lsn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
)

var (
	// ErrReset is what Watermark.Reset(nil) wakes waiters with.
	ErrReset = errors.New("watermark was reset")
	// ErrClosed is what Watermark.Close(nil) wakes waiters with.
	ErrClosed = errors.New("watermark is closed")
)

// closedMark stands in Watermark.value for a closed watermark. It is above
// every LSN that Advance accepts, so that an Advance after Close, which raises
// only what is lower, does nothing.
const closedMark = math.MaxUint64

// Watermark is the replay position that a node is known to have reached: a
// lower bound, which only grows during the life of the connection on which it
// is read. When that connection ends the bound is void, because a restarted
// node can be behind where it was; its owner then calls Reset or Close. It is
// a bare LSN: whoever compares a target with it knows from History that both
// are on one line.
//
// The zero Watermark is ready to use and stands at 0, which means that nothing
// is known. It is safe for concurrent use and must not be copied. Advance and
// Reset belong to one goroutine, the owner of the connection: a reading that
// is advanced to after a Reset would bring back what the Reset declared void.
type Watermark struct {
	// OnWait is called after each registration, outside of the locks and by
	// the goroutine that registered, so that the owner can be told that
	// somebody waits. It must not block. Set it before first use; nil is no
	// hook.
	OnWait func()

	// value is the position, or closedMark. It is raised by Advance without a
	// lock; 0 and closedMark are stored under mu.
	value atomic.Uint64
	// lowest is the lowest target that somebody waits for, 0 for nobody. It is
	// written under mu, and never above the lowest target in waiters.
	lowest atomic.Uint64

	mu      sync.Mutex // guards the fields below
	waiters waitHeap
	orders  uint64 // registrations so far
	closed  error  // why it was closed, nil while it is open
}

// Load returns the watermark: the node has replayed at least that far. It is 0
// when nothing is known.
func (m *Watermark) Load() LSN {
	v := m.value.Load()
	if v == closedMark {
		return 0
	}
	return LSN(v)
}

// Advance raises the watermark to l and wakes the waiters whose target it
// reached, in order of their targets. It never lowers, and does nothing after
// Close. While nobody waits for l or less it takes no lock.
func (m *Watermark) Advance(l LSN) {
	// The largest LSN is not a position that WAL can reach.
	next := min(uint64(l), closedMark-1)
	for {
		old := m.value.Load()
		if old >= next {
			// Whoever raised it that far wakes whom that concerns.
			return
		}
		if m.value.CompareAndSwap(old, next) {
			break
		}
	}
	// A registration publishes its target in lowest and then looks at value;
	// here value is published before lowest is looked at. So either we see the
	// target, or the registration sees that it is reached: no wake-up is lost.
	if lowest := m.lowest.Load(); lowest == 0 || lowest > next {
		return
	}
	m.wakeReached()
}

// wakeReached wakes those whose targets are reached, one at a time, so that no
// lock is held and no memory needed while their code runs.
func (m *Watermark) wakeReached() {
	for {
		m.mu.Lock()
		// After a Reset or Close in between nobody is left who was reached.
		if len(m.waiters) == 0 || m.waiters[0].target > m.Load() {
			m.mu.Unlock()
			return
		}
		w := m.waiters.pop()
		m.publishLowestLocked()
		m.mu.Unlock()
		w.waiter.Wake(w.seq, nil)
	}
}

// publishLowestLocked stores what the heap says into lowest.
func (m *Watermark) publishLowestLocked() {
	var lowest LSN
	if len(m.waiters) > 0 {
		lowest = m.waiters[0].target
	}
	m.lowest.Store(uint64(lowest))
}

// Reset sets the watermark to 0, because the connection on which it was read
// has ended, and wakes every waiter with err, or with ErrReset if err is nil.
// The watermark can be used again, for the next connection.
func (m *Watermark) Reset(err error) {
	if err == nil {
		err = ErrReset
	}
	m.mu.Lock()
	if m.closed != nil {
		m.mu.Unlock()
		return
	}
	m.value.Store(0)
	waiters := m.takeWaitersLocked()
	m.mu.Unlock()
	wakeAll(waiters, err)
}

// Close is a Reset for good: the watermark stays at 0, and whoever waits later
// gets the same error at once. A nil err means ErrClosed. Only the first Close
// counts.
func (m *Watermark) Close(err error) {
	if err == nil {
		err = ErrClosed
	}
	m.mu.Lock()
	if m.closed != nil {
		m.mu.Unlock()
		return
	}
	m.closed = err
	m.value.Store(closedMark)
	waiters := m.takeWaitersLocked()
	m.mu.Unlock()
	wakeAll(waiters, err)
}

// takeWaitersLocked removes all registrations. They now belong to the caller,
// who wakes them: one that is made while it does so waits for what comes next.
func (m *Watermark) takeWaitersLocked() waitHeap {
	waiters := m.waiters
	m.waiters = nil
	m.publishLowestLocked()
	return waiters
}

func wakeAll(waiters waitHeap, err error) {
	for len(waiters) > 0 {
		w := waiters.pop()
		w.waiter.Wake(w.seq, err)
	}
}

// Notify registers w to be woken when the watermark reaches target. If it is
// there already Notify returns false and w is not called. Otherwise it returns
// true and calls w.Wake(seq, …) exactly once, unless Cancel takes the
// registration back: with nil when the target is reached, with an error on
// Reset or Close. On a closed watermark that happens before Notify returns, so
// a caller must not hold a lock that Wake needs.
//
// A nil error says that the target was reached at some moment after the
// registration. When the connection may have ended since then, look again.
func (m *Watermark) Notify(target LSN, w Waiter, seq uint64) (registered bool) {
	// Everything covers target 0, but a closed watermark answers nobody.
	if target != 0 && m.Load() >= target {
		return false
	}
	m.mu.Lock()
	if err := m.closed; err != nil {
		m.mu.Unlock()
		w.Wake(seq, err)
		return true
	}
	if target == 0 {
		// In lowest it would say that nobody waits.
		m.mu.Unlock()
		return false
	}
	// The order matters: see Advance. An Advance that sees this target before
	// the registration is in the heap waits for mu.
	if lowest := m.lowest.Load(); lowest == 0 || uint64(target) < lowest {
		m.lowest.Store(uint64(target))
	}
	if m.Load() >= target {
		m.publishLowestLocked()
		m.mu.Unlock()
		return false
	}
	m.orders++
	m.waiters.push(waiting{target: target, order: m.orders, seq: seq, waiter: w})
	m.mu.Unlock()
	if m.OnWait != nil {
		m.OnWait()
	}
	return true
}

// Cancel takes back the registration of w with seq. It returns true if there
// was one: w will never be called for it. False means that Wake was called, is
// being called or is about to be, or that there never was such a registration.
// Its cost grows with the number of waiters.
func (m *Watermark) Cancel(w Waiter, seq uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.waiters.find(w, seq)
	if i < 0 {
		return false
	}
	m.waiters.remove(i)
	m.publishLowestLocked()
	return true
}

// waitChan is the Waiter of Wait. It has room for its only message, so that
// Wake never blocks even when nobody listens any more.
type waitChan chan error

func (c waitChan) Wake(_ uint64, err error) { c <- err }

// Wait returns nil once the watermark has reached target. It returns an error
// that wraps the cause of ctx when that is done first, or what Reset or Close
// was given.
func (m *Watermark) Wait(ctx context.Context, target LSN) error {
	reached := make(waitChan, 1)
	if !m.Notify(target, reached, 0) {
		return nil
	}
	var err error
	select {
	case err = <-reached:
	case <-ctx.Done():
		m.Cancel(reached, 0)
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("wait for replay of %s: %w", target, err)
	}
	return nil
}

// Lowest returns the lowest target that somebody waits for, and false when
// nobody waits. It is one atomic load.
func (m *Watermark) Lowest() (LSN, bool) {
	lowest := m.lowest.Load()
	return LSN(lowest), lowest != 0
}
