package reactor

import "time"

const (
	// classInterval is how often a loop looks whether its class still fits.
	classInterval = 50 * time.Millisecond
	// busyLeases and calmLeases are how many backends must work at once, on
	// average, for a loop to count as busy, and to count as calm again.
	busyLeases, calmLeases = 4, 2
)

// classify chooses the scheduling class of the loop's thread.
//
// A thread of the normal class that wakes up takes the processor from whoever
// has it. That is right while one client waits for one answer. With many at
// work it makes the loop wake for every single event, between the backends
// that produce them: on two processors with 16 clients it was woken five times
// as often as PgBouncer and spent a third more time on each transaction. In
// the class for batch work the thread waits until a processor is free, which
// under load is soon, and finds several events then. On an idle processor both
// classes wake at once.
func (l *Loop) classify() {
	l.load += l.lent - l.load/16
	if l.env.Now.Sub(l.looked) < classInterval {
		return
	}
	l.looked = l.env.Now
	switch {
	case !l.batch && l.load > 16*busyLeases:
		l.batch = true
		l.yield(true)
	case l.batch && l.load < 16*calmLeases:
		l.batch = false
		l.yield(false)
	}
}
