package router

import "time"

const (
	// leavePace is how often one client tries to leave a replica that it may
	// go on reading at.
	leavePace = time.Second
	// leaveWait is how long one read waits at most for a replica that it would
	// rather go to.
	leaveWait = 25 * time.Millisecond
)

// leaves reports whether q, of a client that may stay at its last replica n
// without asking anyone, should look for a better one. Moving needs a ticket
// and a replica that covers its answer, which takes a moment; so it is tried
// once in a while, and if no better one is there soon, the client stays.
// Without that a client that only reads would stay for ever at a replica that
// is paused, far away or crowded.
func (r *Router) leaves(q *Request, c *Chain, x *need, now time.Time) bool {
	n := c.last
	switch {
	case q.leaving:
		return true
	case now.Sub(c.left) < leavePace || q.Wait <= 0 || x.t.Primary == nil:
		return false
	case !r.better(q, n, x, now):
		return false
	}
	c.left = now
	q.leaving, q.leaveBy = true, now.Add(min(q.Wait, leaveWait))
	if q.deadline.Before(q.leaveBy) {
		q.leaveBy = q.deadline // leaving may begin late in a wait
	}
	return true
}

// fine reports at a glance that nothing speaks against n.
func (n *Node) fine() bool { return n.standing.Load() == 0 && n.outstanding.Load() < 2*crowd }

// better reports whether there is a replica that q would rather go to than n.
func (r *Router) better(q *Request, n *Node, x *need, now time.Time) bool {
	here := candidate{rank: n.rankFor(q.lot, now, true), weight: n.weight.Load(), outstanding: n.outstanding.Load()}
	for _, o := range x.t.Nodes {
		if o == n || !q.admits(o, x.t.era) {
			continue
		}
		there := candidate{rank: o.rankFor(q.lot, now, false), weight: o.weight.Load(), outstanding: o.outstanding.Load()}
		if there.rank < here.rank || there.rank == here.rank && here.crowded(&there) {
			return true
		}
	}
	return false
}

// lingers reports whether q, which is leaving and covered by k, shall wait a
// moment longer for a better replica.
func (q *Request) lingers(k *candidate, now time.Time) bool {
	q.leaving = k.last && now.Before(q.leaveBy)
	return q.leaving
}
