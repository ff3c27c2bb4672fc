package router

import (
	"time"

	"github.com/pgroute/pgroute/lsn"
)

// renewal is the part of MaxStaleness after which another sample is asked for:
// a read a little later then finds one that is not much younger than it may be.
const renewal = 8

// beginBounded looks for the position that q, of LevelBounded, must see, and
// reports whether one is known. While such reads come, the primary is asked
// now and then, and none of them has to wait for the answer.
func (r *Router) beginBounded(q *Request) bool {
	// The time of the caller's turn may be older than the read.
	now := time.Now()
	d := max(q.MaxStaleness, 0)
	if s := &r.oracle.samples; s.age(now) > d/renewal {
		r.Ticket()
	}
	var ok bool
	q.bound, ok = r.oracle.samples.since(now.Add(-d), now)
	return ok
}

// needBounded fills in what a bounded read must see. It may see less than the
// client saw before, as an eventual one may.
func (r *Router) needBounded(q *Request, c *Chain, x *need, now time.Time) {
	if q.bound.Era == 0 {
		r.needSession(q, c, x, now)
		return
	}
	l, ok := x.t.era.lift(q.bound)
	if !ok {
		x.gen = r.Ticket() // the start is known with the next answer
		l = lsn.LSN(0)
	}
	x.base, x.moved, x.baseKnown, x.movedKnown = l, l, ok, ok
	c.mayStay(x)
}
