package router

import (
	"fmt"
	"sync/atomic"
	"time"
)

// tally finds out, in rounds, whether commits on the primary wait for a
// synchronous standby. A round is about all transactions that had begun when it
// began, and ends when none of them waits any more: most wait for a moment only.
// Unlike a look at the primary alone, one transaction that runs for long does not
// keep a round from its end.
type tally struct {
	// begun is the last round that has begun, incremented right before the
	// snapshot is taken that it begins with, and none the last that has ended.
	begun, none atomic.Uint64
	// waiting is how many waited when they were counted last.
	waiting atomic.Int64

	// The goroutine's of sights: below is above every transaction of the round
	// under way, 0 if that has not begun; counted is when they were counted.
	below   uint64
	counted time.Time
}

// countPace is how often it is counted who waits for a standby: the server goes
// through all its connections for that.
const countPace = 20 * time.Millisecond

// next returns the number of a round that begins after now.
func (c *tally) next() uint64 { return c.begun.Load() + 1 }

// begin begins a round if none is under way and somebody waits for a. The next
// snapshot says whom it is about.
func (c *tally) begin(a *looks) {
	if c.below == 0 && !a.waiters.empty() {
		c.begun.Add(1)
	}
}

// count asks who may be committing, with what the snapshot after begin says of the
// next transaction, and counts who waits for a standby. asked is false if it is too
// soon for that, or nobody can tell.
func (c *tally) count(limit *guard, w Witness, next uint64) (list []PendingCommit, asked bool, err error) {
	cw, able := w.(CommitWitness)
	if !able { // nobody is known to wait
		c.none.Store(c.begun.Load())
		return nil, false, nil
	}
	if c.below == 0 {
		c.below = next
	}
	if time.Since(c.counted) < countPace {
		return nil, false, nil
	}
	limit.arm()
	list, err = cw.Committing(limit.ctx, next)
	limit.disarm()
	if err != nil {
		return nil, false, fmt.Errorf("ask who is committing: %w", err)
	}
	c.counted = time.Now()
	n := int64(0)
	for _, x := range list {
		if x.Standby && x.XID < c.below {
			n++
		}
	}
	c.waiting.Store(n)
	if n == 0 {
		c.below = 0
		c.none.Store(c.begun.Load())
	}
	return list, true, nil
}

// drop forgets the round under way.
func (c *tally) drop() {
	c.below = 0
	c.waiting.Store(0)
}
