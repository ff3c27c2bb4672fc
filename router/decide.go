package router

import (
	"fmt"
	"time"

	"github.com/pgroute/pgroute/lsn"
)

// need is what one evaluation of a request asks of the replicas.
type need struct {
	t *Topology
	// base must be covered by every replica, move by one that the client was
	// not on before. Each counts only if it is known.
	base, moved           lsn.LSN
	baseKnown, movedKnown bool
	// stay is the replica that need not cover moved, and conn its monitor's
	// connection; nil if there is none.
	stay *Node
	conn uint64
	// gen is the ticket that is waited for, 0 for none.
	gen uint64
	// near is true if a replica that is not ejected may serve the request.
	near bool

	// For a read on the primary that waits until this shows what the client
	// saw on a replica: the look at that one, witness; and instead of it the look
	// at the primary alone, what another replica must have replayed to tell, and
	// the look at one that has, judge; 0 for none.
	witness, judge         *Node
	look, judgeLook, alone uint64
	judged                 lsn.LSN
}

// target returns what n must cover, and false if that is not known yet.
func (x *need) target(n *Node) (lsn.LSN, bool) {
	if n == x.stay {
		return x.base, x.baseKnown
	}
	return x.moved, x.movedKnown
}

// Decide says where q may run, or registers w and returns false. Then w is
// woken at most once, with q.Seq, when it is worth calling Decide again; at
// the latest that has to be done at q.Deadline. Decide never blocks. c must be
// the chain that Begin was given, and is told what the decision means for it.
func (r *Router) Decide(q *Request, c *Chain, now time.Time, w Waiter) (Decision, bool) {
	r.disarm(q)
	var before need
	for {
		x := need{t: r.topo.Load()}
		if d, done := r.evaluate(q, c, now, &x); done {
			r.Cancel(q)
			return d, true
		}
		// Once it was registered for exactly what it waits for, and then looked
		// at again, nothing was missed.
		if x == before {
			return Decision{}, false
		}
		r.disarm(q)
		r.enlist(q, &x, w)
		before = x
	}
}

// enlist registers q with everything that x waits for.
func (r *Router) enlist(q *Request, x *need, w Waiter) {
	q.arm(2*len(x.t.Nodes)+5, w)
	r.stats.waits.Add(1)
	if x.gen != 0 {
		q.register(&r.oracle.waiters, x.gen)
		r.oracle.urge(x.gen)
	}
	if q.turn != 0 {
		q.register(&r.budget.wakes, q.turn)
	}
	unflushed := false
	for _, n := range x.t.Nodes {
		if !q.admits(n, x.t.era) || x.shuns(n) || q.leaving && n == x.stay {
			continue
		}
		if target, known := x.target(n); known {
			q.register(&n.waiters, uint64(target))
			n.wakeMonitor()
			unflushed = unflushed || uint64(target) > x.t.era.flush.Load()
		}
	}
	if !q.vigil.since.IsZero() {
		unflushed = r.enlistLooks(q, x) || unflushed
	}
	if unflushed {
		r.nudger.want()
	}
}

// shuns reports whether nobody waits for n, because others are near.
func (x *need) shuns(n *Node) bool { return x.near && n.standing.Load()&standsEjected != 0 }

// admits reports whether n may serve q as a replica of era e.
func (q *Request) admits(n *Node, e *era) bool {
	return e.n != 0 && n.okEra.Load() == e.n && !q.Exclude.has(n.ID) && (q.Only == nil || q.Only == n)
}

// evaluate looks whether q can be decided now. If not, x says what to wait for.
func (r *Router) evaluate(q *Request, c *Chain, now time.Time, x *need) (Decision, bool) {
	switch q.Level {
	case LevelPrimary:
		if q.Only != nil && q.Only == x.t.era.node {
			return r.onPrimary(q, c, now, x, q.Only, ReasonTransaction)
		}
		if !x.t.Leads(now) {
			return r.refuse(q, now, x, noPrimary(x.t)), true
		}
		return r.onPrimary(q, c, now, x, x.t.Primary, ReasonLevel)
	case LevelEventual:
		r.needEventual(c, x)
	case LevelBounded:
		r.needBounded(q, c, x, now)
	case LevelStrong:
		if !x.t.Leads(now) {
			return r.refuse(q, now, x, &RouteError{Code: stateNotReached,
				Message: "a strong read needs a primary that is proven to lead", Detail: noPrimary(x.t).Detail}), true
		}
		r.needSession(q, c, x, now)
	default:
		r.needSession(q, c, x, now)
	}
	if i := r.covering(q, c, x, now); i >= 0 {
		if q.leaving && q.lingers(&q.cands[i], now) {
			return Decision{}, false
		}
		return r.toReplica(q, c, now, x, q.cands[i].node), true
	}
	q.leaving = false
	if len(q.cands) == 0 {
		return r.noReplica(q, c, now, x)
	}
	if !q.over && q.vigil.since.IsZero() && now.Before(q.deadline) && q.Level != LevelEventual && !r.hopeless(q, now, x) {
		return Decision{}, false
	}
	return r.expired(q, c, now, x)
}

// needSession fills in what a session or strong read must see.
func (r *Router) needSession(q *Request, c *Chain, x *need, now time.Time) {
	x.base, x.baseKnown = r.resolve(q.gen, x)
	if x.baseKnown && q.token.Era != 0 {
		l, ok := x.t.era.lift(q.token.Floor)
		if start := lsn.LSN(x.t.era.start.Load()); q.token.start {
			l, ok = max(l, start), ok && start != 0
		}
		x.base, x.baseKnown = max(x.base, l), ok
		if !ok {
			x.gen = r.Ticket() // the start is known with the next answer
		}
	}
	x.moved, x.movedKnown = x.base, x.baseKnown
	if q.fresh || !c.dirty && !c.loose || r.cfg.Monotonic == MonotonicOff || mutantFreeMove() {
		return
	}
	// The client saw something that the need does not cover.
	if n := c.last; c.mayStay(x) && x.baseKnown && q.admits(n, x.t.era) && n.Watermark() >= x.base && (n.fine() || !r.leaves(q, c, x, now)) {
		x.movedKnown = false // no need to move
		return
	}
	if q.move == 0 {
		q.move = r.Ticket()
	}
	if l, ok := r.resolve(q.move, x); ok {
		x.moved = max(x.moved, l)
	} else {
		x.movedKnown = false
	}
}

// needEventual fills in what an eventual read must see.
func (r *Router) needEventual(c *Chain, x *need) {
	if latest := x.t.era.latest.Load(); r.cfg.MaxLag >= 0 && latest > uint64(r.cfg.MaxLag) {
		x.base = lsn.LSN(latest - uint64(r.cfg.MaxLag))
	}
	x.moved = x.base
	x.baseKnown, x.movedKnown = true, true
	c.mayStay(x)
}

// mayStay notes the replica where the client, which saw something there that
// no ticket covers, may go on reading: never backwards, as long as it is the
// same server process.
func (c *Chain) mayStay(x *need) bool {
	n := c.last
	if !c.dirty || c.loose || n == nil || c.lastConn == 0 || n.conn.Load() != c.lastConn {
		return false
	}
	x.stay, x.conn = n, c.lastConn
	return true
}

// resolve returns the position that answers the ticket gen, or notes that it
// is waited for.
func (r *Router) resolve(gen uint64, x *need) (lsn.LSN, bool) {
	if gen == 0 {
		return 0, true
	}
	f, ok := r.oracle.ring.answer(gen)
	if ok {
		l, known := x.t.era.lift(f)
		if known {
			return l, true
		}
		gen = r.Ticket() // the start is known with the next answer
	}
	x.gen = max(x.gen, gen)
	return 0, false
}

// covering collects the replicas that may serve q at some time and returns the
// index of the one that should now, or -1 if none covers its target yet.
func (r *Router) covering(q *Request, c *Chain, x *need, now time.Time) int {
	q.cands = q.cands[:0]
	if n := c.last; n != nil && n.fine() && q.admits(n, x.t.era) {
		// What choose would say, without asking the others.
		if target, known := x.target(n); known && n.Watermark() >= target {
			q.cands = append(q.cands, candidate{node: n, covered: true, last: true})
			return 0
		}
	}
	for _, n := range x.t.Nodes {
		if !q.admits(n, x.t.era) {
			continue
		}
		target, known := x.target(n)
		k := candidate{
			node:        n,
			covered:     known && n.Watermark() >= target || mutantNoFloor(),
			last:        n == c.last,
			rank:        n.rankFor(q.lot, now, n == c.last),
			weight:      n.weight.Load(),
			outstanding: n.outstanding.Load(),
		}
		x.near = x.near || n.standing.Load()&standsEjected == 0
		q.cands = append(q.cands, k)
	}
	return choose(q.cands, q.lot)
}

// toReplica decides for n, which covers its target.
func (r *Router) toReplica(q *Request, c *Chain, now time.Time, x *need, n *Node) Decision {
	c.decided(q, x, n)
	d := r.decide(q, now, x, n, RoleReplica, ReasonCovered)
	if q.Level != LevelEventual {
		d.Floor.LSN, _ = x.target(n)
		if n == x.stay {
			d.Floor.stay = x.conn
		}
	}
	switch {
	case q.Only != nil:
		d.Reason = ReasonTransaction
	case q.Exclude != 0:
		d.Reason = ReasonRedo
	case q.waited:
		d.Reason = ReasonWaited
	}
	r.stats.floorWait(d.Waited, q.waited)
	return d
}

// decided notes for SawReplica what a read on n will mean to the chain. The
// number of the monitor's connection is noted before the read: if it is still
// the same at a later one, both were served by the same life of the server.
func (c *Chain) decided(q *Request, x *need, n *Node) {
	next := &c.next
	next.node, next.conn, next.own = n, n.conn.Load(), 0
	next.stay = n == x.stay
	next.covers = !next.stay && q.Level != LevelEventual && q.bound.Era == 0
	switch {
	case next.stay:
		next.conn, next.proper = x.conn, true
	case !c.dirty && !c.loose:
		next.proper = true
	case q.Level == LevelEventual, q.bound.Era != 0:
		next.proper = false
	case q.fresh:
		next.own, next.proper = q.gen, true
	default:
		// Without a ticket the client has moved because nobody cares.
		next.own, next.proper = q.move, q.move != 0
	}
}

// decide makes a decision for n and counts it.
func (r *Router) decide(q *Request, now time.Time, x *need, n *Node, role Role, why Reason) Decision {
	q.held = n
	n.outstanding.Add(1)
	return Decision{Node: n, Role: role, Reason: why, Epoch: x.t.Epoch, Era: x.t.era.n, Floor: Floor{Era: x.t.era.n},
		Waited: now.Sub(q.began), r: r, q: q, serial: q.serial}
}

// refuse makes a decision that q cannot run.
func (r *Router) refuse(q *Request, now time.Time, x *need, err error) Decision {
	r.stats.refused.Add(1)
	return Decision{Err: err, Epoch: x.t.Epoch, Era: x.t.era.n, Waited: now.Sub(q.began), r: r, q: q, serial: q.serial}
}

// describe says how far the nearest replica is from what it must cover.
func (x *need) describe(q *Request) string {
	if !x.baseKnown {
		return "the primary has not told the position that the read must cover"
	}
	n := q.nearest(nil)
	if n == nil {
		return "there is no replica"
	}
	target, known := x.target(n)
	if !known {
		target = x.base
	}
	have := n.Watermark()
	if have >= target {
		return fmt.Sprintf("the nearest replica, %s, is at %s", n.Name, have)
	}
	return fmt.Sprintf("the nearest replica, %s, is at %s, %d bytes before %s", n.Name, have, target-have, target)
}
