package simulation

import (
	"slices"
	"time"
)

// clock is what a server takes for the time. It runs too fast or too slowly, and
// is set: while the server runs, and between two of its lives. The router lives
// by the virtual clock; what it is told of a server's are the beginnings of its
// lives.
type clock struct {
	dice  dice
	skew  time.Duration
	drift int // in millionths
	told  []int64
}

// steps are by how much a clock is set.
var steps = [...]time.Duration{time.Microsecond, time.Millisecond, 100 * time.Millisecond, time.Hour}

func newClock(seed uint64, server int) clock {
	c := clock{dice: roll(seed, 7, uint64(server))}
	c.skew, c.drift = c.dice.step(), c.dice.n(400_000)-200_000
	return c
}

// step is forward or back.
func (d *dice) step() time.Duration {
	by := steps[d.n(len(steps))]
	by += time.Duration(d.n(int(by)))
	if d.one(2) {
		return -by
	}
	return by
}

// clockEpoch is what a clock says that is right when a schedule begins, in
// microseconds.
const clockEpoch = int64(1_800_000_000_000_000)

// begin tells the time at which a life of the server begins, in microseconds. No
// two of its lives begin in the same: that is left to chance, and then for the
// better.
func (c *clock) begin(now time.Duration) int64 {
	t := clockEpoch + (now + now/1_000_000*time.Duration(c.drift) + c.skew).Microseconds()
	for slices.Contains(c.told, t) {
		t++
	}
	c.told = append(c.told, t)
	return t
}
