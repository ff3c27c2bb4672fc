package router

import "time"

// What a read whose replicas are not there in time may wait for, beyond its
// own wait, before it gets a place in the fallback budget.
const (
	overWaitFactor = 20
	overWaitLeast  = 2 * time.Second
)

// noReplica decides for a read that no replica may serve.
func (r *Router) noReplica(q *Request, c *Chain, now time.Time, x *need) (Decision, bool) {
	if q.Only != nil {
		return r.refuse(q, now, x, &RouteError{Code: stateSerialization,
			Message: "the replica of this transaction can not go on with it",
			Detail:  q.Only.Name + " does not count as a replica any more"}), true
	}
	// Who asked for an error rather than for load on the primary gets it,
	// unless the cluster has no other server.
	if q.OnTimeout == OnTimeoutError && len(x.t.Nodes) > 1 && q.Exclude == 0 {
		return r.refuse(q, now, x, &RouteError{Code: stateNotReached, Message: "no replica is available"}), true
	}
	if x.t.lastGood == nil {
		return r.refuse(q, now, x, noPrimary(x.t)), true
	}
	why := ReasonNoReplica
	if q.Exclude != 0 {
		why = ReasonRedo
	}
	return r.onPrimary(q, c, now, x, x.t.lastGood, why)
}

// hopeless reports whether no replica can be there before q's deadline, so
// that waiting would only cost time.
func (r *Router) hopeless(q *Request, now time.Time, x *need) bool {
	left := q.deadline.Sub(now)
	for i := range q.cands {
		n := q.cands[i].node
		if x.shuns(n) {
			continue
		}
		target, known := x.target(n)
		if !known && !x.baseKnown {
			return false
		}
		if !known {
			target = x.base
		}
		if !n.paused.Load() && n.ApplyDelay() <= left && n.pace.reaches(n.Watermark(), target, left) {
			return false
		}
	}
	r.stats.hopeless.Add(1)
	return true
}

// expired applies the policy to a read whose time is over.
func (r *Router) expired(q *Request, c *Chain, now time.Time, x *need) (Decision, bool) {
	switch {
	case q.Only != nil:
		return r.refuse(q, now, x, &RouteError{Code: stateSerialization,
			Message: "the replica of this transaction did not reach the session's floor in time", Detail: x.describe(q)}), true
	case q.OnTimeout == OnTimeoutError:
		return r.refuse(q, now, x, r.notReached(q, x)), true
	case q.OnTimeout == OnTimeoutStale:
		return r.stale(q, c, now, x), true
	case x.t.lastGood == nil:
		return r.refuse(q, now, x, noPrimary(x.t)), true
	}
	ok, stale, err := r.guard(q, c, now, x, x.t.lastGood)
	switch {
	case err != nil:
		return r.refuse(q, now, x, err), true
	case !ok:
		return Decision{}, false
	}
	if r.budget.acquire(q) {
		q.slot = true
		r.stats.fallback(ReasonNotCovered)
		return r.toPrimary(q, now, x, x.t.lastGood, ReasonNotCovered, stale), true
	}
	if !q.over {
		q.over = true
		r.stats.budgetFull.Add(1)
	}
	q.deadline = q.began.Add(max(overWaitFactor*q.Wait, overWaitLeast)) // the guard may have had its own
	if now.Before(q.deadline) {
		return Decision{}, false
	}
	r.budget.leave(q)
	return r.refuse(q, now, x, r.notReached(q, x)), true
}

func (r *Router) notReached(q *Request, x *need) error {
	return &RouteError{Code: stateNotReached, Message: "no replica reached the session's floor in time", Detail: x.describe(q)}
}

// stale decides for the nearest replica although it does not cover the floor.
// It is the one the client read last, if that is still the same server
// process, so that reads do not go backwards more than they must: elsewhere
// they may.
func (r *Router) stale(q *Request, c *Chain, now time.Time, x *need) Decision {
	n := q.nearest(x.stay)
	c.next.node, c.next.conn, c.next.own = n, x.conn, 0
	c.next.proper, c.next.stay, c.next.covers = n == x.stay, n == x.stay, false
	d := r.decide(q, now, x, n, RoleReplica, ReasonNotCovered)
	d.Stale = true
	if n == x.stay {
		d.Floor.stay = x.conn
	}
	r.stats.stale.Add(1)
	return d
}

// nearest returns preferred if it is among the candidates, and else the one
// that is farthest ahead; nil if there is none.
func (q *Request) nearest(preferred *Node) *Node {
	var best *Node
	for i := range q.cands {
		n := q.cands[i].node
		if n == preferred {
			return n
		}
		if best == nil || n.Watermark() > best.Watermark() {
			best = n
		}
	}
	return best
}
