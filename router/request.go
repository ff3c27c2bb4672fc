package router

import (
	"sync/atomic"
	"time"
)

// Request is one read that looks for a place to run. It is part of its client
// and is used again for the next read; it must not be copied while it waits.
// The caller sets the exported fields, then calls Begin, then Decide until it
// is done.
type Request struct {
	// Level is what the read must see.
	Level Level
	// Wait is how long it waits for a replica that is not there yet; 0 or less
	// means not at all.
	Wait time.Duration
	// OnTimeout says what happens then.
	OnTimeout OnTimeout
	// MaxStaleness is for LevelBounded; 0 or less is no staleness at all.
	MaxStaleness time.Duration
	// Only is the replica on which the read's transaction runs already, nil if
	// there is none. No other may serve it. At LevelPrimary it is the primary,
	// which need not be proven to lead.
	Only *Node
	// Exclude are replicas that may not serve it, because they have just
	// failed to (redo).
	Exclude NodeSet
	// Seq is handed to the waiter's Wake. A wake can come late, after the
	// decision or after Cancel: a new number for each request tells it apart.
	Seq uint64

	// The need, frozen by Begin.
	gen   uint64 // the ticket that must be covered, 0 for none
	fresh bool   // gen was taken for this read, so it covers all that the client saw
	token tokenFloor
	// bound is the primary's position of MaxStaleness ago, for LevelBounded;
	// its Era is 0 if none is known that is old enough to be of use.
	bound Floor
	// move is the ticket to be covered by a replica that the client was not
	// on before, 0 until it is needed.
	move uint64

	// lot is drawn for each request: it decides where nothing else does.
	lot uint64
	// leaving is true while the request looks for a better replica than the one
	// where its client may stay; that ends at leaveBy.
	leaving bool
	leaveBy time.Time
	// vigil is for a read on the primary after one on a replica.
	vigil vigil

	began    time.Time
	deadline time.Time
	// waited is true once the request was registered somewhere, over once its
	// deadline has passed and it waits for the budget or a replica.
	waited, over bool
	serial       uint32

	// What a decision of this request still holds.
	held *Node // counted in Outstanding
	slot bool  // a place in the fallback budget
	// turn is the request's number in the budget's queue, 0 when it is not
	// there; granted is true once a place waits for it. See budget.
	turn    uint64
	granted bool

	// armed is true while a wake is due.
	armed  atomic.Bool
	waiter Waiter
	regs   []registration
	cands  []candidate
}

// NewRequest returns a request with the router's defaults at a level.
func (r *Router) NewRequest(l Level) *Request {
	return &Request{Level: l, Wait: r.cfg.Wait, OnTimeout: r.cfg.OnTimeout, MaxStaleness: r.cfg.MaxStaleness}
}

// Deadline returns when Decide must be called again if no wake came before.
// It is valid after Decide said that it is not done.
func (q *Request) Deadline() time.Time {
	if q.leaving {
		return q.leaveBy
	}
	return q.deadline
}

// Decision says where a read runs. Done must be called once when that is over;
// a decision with an Err holds nothing and needs no Done.
type Decision struct {
	// Node is where, nil if Err is not.
	Node *Node
	// Role is that of Node.
	Role Role
	// Reason says why it runs there.
	Reason Reason
	// Epoch and Era are those of the topology that was looked at.
	Epoch, Era uint64
	// Floor is what a leased backend of a replica must cover: see Node.Covers.
	Floor Floor
	// Waited is how long the decision took.
	Waited time.Duration
	// Stale is true if the replica does not cover what the read must see
	// (OnTimeoutStale). Floor then says only that the client does not go back
	// behind what it saw on the same replica.
	Stale bool
	// Err is a *RouteError that says why the read cannot run anywhere, or nil.
	Err error

	r      *Router
	q      *Request
	serial uint32
}

// Done releases what the decision holds: its place among the node's
// outstanding reads and in the fallback budget. Only the first call does
// anything, also among copies of the decision.
func (d *Decision) Done() {
	if d.q == nil || d.q.serial != d.serial {
		return
	}
	d.r.release(d.q)
	d.q = nil
}

// Begin freezes what q must see, for the chain c at the time now: floors that
// are raised later do not concern it. It also cancels and releases whatever
// an earlier use of q has left.
func (r *Router) Begin(q *Request, c *Chain, now time.Time) {
	r.Cancel(q)
	r.release(q)
	q.serial++
	q.began, q.deadline = now, now.Add(max(q.Wait, 0))
	q.waited, q.over, q.leaving = false, false, false
	q.lot = c.random()
	q.fresh, q.move = false, 0
	if !q.vigil.since.IsZero() || q.vigil.alone != 0 {
		q.vigil = vigil{}
	}
	q.token = c.token
	c.next.node, c.next.proper = nil, false
	q.gen = c.own
	if c.scope == ScopeApplication && c.s != nil {
		q.gen = max(q.gen, c.s.gen.Load())
		if t := c.s.token.Load(); t != nil {
			q.token.add(t)
		}
	}
	q.bound = Floor{}
	switch q.Level {
	case LevelBounded:
		if r.beginBounded(q) {
			break
		}
		fallthrough
	case LevelStrong:
		// A ticket that is taken now is not lower than any taken before.
		q.gen, q.fresh = r.Ticket(), true
	}
}

// Cancel takes back q's registrations: its waiter is not woken any more, but
// for a wake that is on its way already. It keeps what a decision holds.
func (r *Router) Cancel(q *Request) {
	r.disarm(q)
	r.budget.leave(q)
}

// disarm removes q from all lists.
func (r *Router) disarm(q *Request) {
	if q.waiter == nil {
		return
	}
	q.armed.Store(false)
	for i := range q.regs {
		if g := &q.regs[i]; g.list != nil {
			g.list.remove(g)
		}
	}
	clear(q.regs)
	q.regs = q.regs[:0]
	q.waiter = nil
}

// arm prepares q to be registered in up to n lists.
func (q *Request) arm(n int, w Waiter) {
	if cap(q.regs) < n {
		q.regs = make([]registration, 0, n)
	}
	q.waiter = w
	q.waited = true
	q.armed.Store(true)
}

// register enters q in l. The slice has room for it: entries must not move.
func (q *Request) register(l *waitList, key uint64) {
	q.regs = q.regs[:len(q.regs)+1]
	l.add(&q.regs[len(q.regs)-1], q, max(key, 1))
}

// release gives back what a decision of q holds.
func (r *Router) release(q *Request) {
	if q.held != nil {
		q.held.outstanding.Add(-1)
		q.held = nil
	}
	if q.slot {
		q.slot = false
		r.budget.release()
	}
}

// Await reports whether the ticket gen is answered, and with what floor. If it
// is not, w is registered and will be woken once with q.Seq; then call Await
// again. q must not wait for anything else. A chain's token is made of the
// floor of Chain.Ticket by TokenPosition.
func (r *Router) Await(q *Request, gen uint64, w Waiter) (Floor, bool) {
	r.disarm(q)
	for {
		if f, ok := r.oracle.ring.answer(gen); ok {
			r.disarm(q)
			return f, true
		}
		if len(q.regs) > 0 {
			return Floor{}, false
		}
		q.arm(1, w)
		q.register(&r.oracle.waiters, gen)
		r.oracle.urge(gen)
	}
}

// AwaitReading reports whether a reading that was asked after dialed has been
// answered, so that Node.Covers can be asked again for a backend that was
// dialled then. If not, it asks for one, and w is registered and will be woken
// once with q.Seq, also when the node stops being a replica. q must not wait
// for anything else.
func (r *Router) AwaitReading(q *Request, n *Node, dialed uint64, w Waiter) bool {
	r.disarm(q)
	if n.answered.Load() > dialed || !n.Eligible() {
		return true
	}
	q.arm(1, w)
	q.register(&n.readings, dialed+1)
	if n.answered.Load() > dialed || !n.Eligible() {
		r.disarm(q)
		return true
	}
	n.KickReplay()
	return false
}
