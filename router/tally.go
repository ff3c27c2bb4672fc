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

// count counts who waits, with what the snapshot after begin says of the next
// transaction.
func (c *tally) count(limit *guard, w Witness, next uint64) error {
	sw, able := w.(StandbyWitness)
	if !able { // nobody is known to wait
		c.none.Store(c.begun.Load())
		return nil
	}
	if c.below == 0 {
		c.below = next
	}
	if time.Since(c.counted) < countPace {
		return nil
	}
	limit.arm()
	n, err := sw.AwaitingStandby(limit.ctx, c.below)
	limit.disarm()
	if err != nil {
		return fmt.Errorf("ask who waits for a synchronous standby: %w", err)
	}
	c.counted = time.Now()
	c.waiting.Store(int64(n))
	if n == 0 {
		c.below = 0
		c.none.Store(c.begun.Load())
	}
	return nil
}

// drop forgets the round under way.
func (c *tally) drop() {
	c.below = 0
	c.waiting.Store(0)
}
