package router

import (
	"fmt"
	"time"
)

// sight is what a client saw on replicas and the primary is not known to show.
// A replica shows a commit from the moment it has replayed it; the primary
// shows it once it is acknowledged, a moment later as a rule, much later while
// a synchronous standby is awaited. So before a client that has read on a
// replica reads on the primary, a look has to pass that was sent after its
// last read (see looks). The zero sight: the client saw nothing.
type sight struct {
	shows [maxShows]show
	n     uint8 // of shows
	// loose: more was seen than shows tells of, nobody knows where.
	loose bool
}

// show is what one replica showed: node on the monitor's connection conn, which
// was there before it was read, 0 if that is not known. look is the first look
// that comes after it.
type show struct {
	node *Node
	conn uint64
	look uint64
}

// passed reports whether a look has passed that tells what a showed: one on the
// same connection. A replica that has restarted may be behind where it was.
func (a *show) passed(e *era) bool {
	return a.node.looks.hasPassed(a.look, e) && a.node.conn.Load() == a.conn // in this order
}

// maxShows is how many replicas a sight tells apart. A client moves between
// two of them as a rule.
const maxShows = 3

// none reports whether nothing was seen.
func (s *sight) none() bool { return s.n == 0 && !s.loose }

// drop removes the i-th show.
func (s *sight) drop(i int) {
	s.n--
	s.shows[i] = s.shows[s.n]
	s.shows[s.n] = show{}
}

// add notes what a node showed.
func (s *sight) add(at show) {
	for i := range s.n {
		if old := &s.shows[i]; old.node == at.node {
			s.loose = s.loose || old.conn != at.conn
			*old = at
			return
		}
	}
	if s.n == maxShows {
		s.loose = true
		return
	}
	s.shows[s.n] = at
	s.n++
}

// sighted notes that something was seen on n.
func (c *Chain) sighted(n *Node) {
	if c.r.cfg.Monotonic == MonotonicOff {
		return
	}
	at := show{node: n, look: n.looks.next()}
	next := &c.next
	if next.node == n {
		at.conn = next.conn
		if next.covers {
			c.sight = sight{} // n shows all that was seen elsewhere: it has replayed it
		}
	}
	next.covers = false
	c.sight.add(at)
}

// Owes reports whether the client saw something on a replica that the primary
// is not known to show, so that a read there has to be decided, also if its
// transaction runs there already.
func (c *Chain) Owes() bool {
	return !c.sight.none() || c.s != nil && c.s.sight.Load() > c.s.shown.Load()
}

// owes reports whether the primary has to be looked at before q reads there.
// Who asked for less than what was seen before gets it.
func (q *Request) owes(c *Chain) bool {
	return c.Owes() && q.Level != LevelEventual && q.bound.Era == 0 && c.r.cfg.Monotonic != MonotonicOff && c.r.sights.able.Load() && !mutantNoGuard()
}

// vigil is what a request that waits for a look has found out.
type vigil struct {
	since time.Time // when the wait began; zero if it did not
	// alone is the look at the primary alone that would do, and round that of
	// the tally which tells that nothing that was seen waits for a standby.
	alone, round uint64
	// session is how much of the session's sight a look that passes covers.
	session uint64
	// ticket is the ticket that a replica has to cover to tell what another
	// showed, 0 until it is needed. judge is one that does, on its monitor's
	// connection conn, and look the first look at it that comes after.
	ticket     uint64
	judge      *Node
	conn, look uint64
}

// shown reports whether the primary n shows all that the client saw. If that
// is not known, x says what to wait for.
func (r *Router) shown(q *Request, c *Chain, now time.Time, x *need, n *Node) bool {
	s, v := &c.sight, &q.vigil
	if c.s != nil && v.since.IsZero() {
		v.session = c.s.sight.Load()
	}
	vague := s.loose || c.s != nil && v.session > c.s.shown.Load()
	for i := 0; i < int(s.n); {
		switch at := &s.shows[i]; {
		case at.node == n, at.passed(x.t.era):
			s.drop(i) // if n has been promoted: what it replayed it shows
			continue
		case !at.node.witnesses(x.t.era, at.conn):
			vague = true // it can not be asked any more
		case x.witness == nil:
			x.witness, x.look = at.node, at.look
		}
		i++
	}
	if !vague && s.n == 0 {
		c.saw(v)
		return true
	}
	// A replica that is slow to answer may hang.
	slow := !v.since.IsZero() && now.Sub(v.since) >= findOut && x.witness != nil && x.witness.looks.early.Load() == 0
	return (vague || slow || s.n > 1) && r.shownByOthers(c, x, v)
}

// shownByOthers reports whether the primary shows all that anybody saw before v
// began. Either of two things will do.
func (r *Router) shownByOthers(c *Chain, x *need, v *vigil) bool {
	// All transactions that had begun have ended, or were seen not to be
	// committing.
	if v.alone == 0 {
		v.alone, v.round, v.ticket = r.sights.alone.next(), r.sights.tally.next(), r.Ticket()
	}
	if r.sights.alone.hasPassed(v.alone, x.t.era) {
		c.saw(v)
		return true
	}
	x.alone = v.alone
	// Or a look has passed at any replica that has replayed what was seen.
	if m := v.judge; m == nil || !m.witnesses(x.t.era, v.conn) {
		v.judge = nil
		l, ok := r.resolve(v.ticket, x)
		if !ok {
			return false
		}
		x.judged = l
		for _, m := range x.t.Nodes {
			conn := m.conn.Load()
			if m.Watermark() >= l && m.witnesses(x.t.era, conn) {
				v.judge, v.conn, v.look = m, conn, m.looks.next()
				break
			}
		}
	}
	switch {
	case v.judge == nil:
	case v.judge.looks.hasPassed(v.look, x.t.era):
		c.saw(v)
		return true
	default:
		x.judge, x.judgeLook = v.judge, v.look
	}
	return false
}

// witnesses reports whether n can tell what it showed since its monitor made
// the connection conn.
func (n *Node) witnesses(e *era, conn uint64) bool {
	return conn != 0 && e.n != 0 && n.okEra.Load() == e.n && n.looks.mute.Load() != conn && n.conn.Load() == conn
}

// saw notes that the primary shows what the client saw.
func (c *Chain) saw(v *vigil) {
	c.sight = sight{}
	if c.s != nil {
		raise(&c.s.shown, v.session)
	}
}

// findOut is how long it may take to find out whether the primary hides
// anything that a client saw, even if the client wants no wait.
const findOut = 50 * time.Millisecond

// guard lets q read on the primary n if that shows what the client saw before.
// ok is false if q has to wait. When its time is over, on_timeout decides as
// for a floor that no replica reaches: the read waits on (OnTimeoutPrimary, for
// as long as others wait for the budget), is stale, or fails.
//
// It goes on unproven where nobody can be asked what was seen and transactions
// run on the primary that need not have anything to do with it: none of them has
// committed and waits for a synchronous standby. Or where nobody has answered at
// all.
func (r *Router) guard(q *Request, c *Chain, now time.Time, x *need, n *Node) (ok, stale bool, err error) {
	if !q.owes(c) {
		return true, false, nil
	}
	v := &q.vigil
	if r.shown(q, c, now, x, n) {
		if !v.since.IsZero() {
			r.stats.guardWait(now.Sub(v.since))
		}
		return true, false, nil
	}
	if v.since.IsZero() {
		v.since = now
		r.stats.guardWaits.Add(1)
	}
	var early int64
	asked := x.witness
	if asked == nil {
		asked = x.judge
	}
	if asked != nil {
		early = asked.looks.early.Load()
	}
	if early == 0 && x.alone != 0 {
		if early = r.sights.tally.waiting.Load(); early > 0 {
			asked = nil // the primary has said so
		}
	}
	unsaid := asked == nil && early == 0 && r.sights.alone.early.Load() > 0 && r.sights.tally.none.Load() >= v.round
	wait := max(q.Wait, findOut)
	limit := v.since.Add(wait)
	if !unsaid && q.OnTimeout == OnTimeoutPrimary {
		limit = v.since.Add(max(overWaitFactor*q.Wait, overWaitLeast))
	}
	if now.Before(limit) {
		// What is known by then may make the time shorter.
		if q.deadline = now.Add(wait); q.deadline.After(limit) {
			q.deadline = limit
		}
		return false, false, nil
	}
	r.stats.guardWait(now.Sub(v.since))
	switch {
	case unsaid, early == 0 && q.OnTimeout == OnTimeoutPrimary:
		c.saw(v)
		r.stats.guardUnproven.Add(1)
		r.log.Debug("a read goes to the primary although that is not known to show what its client saw on a replica",
			"waited", now.Sub(v.since))
		return true, false, nil
	case q.OnTimeout == OnTimeoutStale:
		r.stats.guardStale.Add(1)
		return true, true, nil
	}
	r.stats.guardRefused.Add(1)
	return false, false, hides(n, asked, early)
}

// hides is the error of a read for which n still hides, as far as is known,
// what m shows.
func hides(n, m *Node, early int64) error {
	detail := "nobody has told yet what it hides"
	switch {
	case early == 0:
	case m == nil:
		detail = fmt.Sprintf("commits that wait for a synchronous standby of %s: %d", n.Name, early)
	case early == 1:
		detail = fmt.Sprintf("%s shows 1 commit that %s has not acknowledged yet", m.Name, n.Name)
	case early > 1:
		detail = fmt.Sprintf("%s shows %d commits that %s has not acknowledged yet", m.Name, early, n.Name)
	}
	return &RouteError{Code: stateNotReached, Message: "the primary does not show yet what was read on a replica", Detail: detail}
}

// onPrimary decides for the primary n, once that shows what the client saw.
func (r *Router) onPrimary(q *Request, c *Chain, now time.Time, x *need, n *Node, why Reason) (Decision, bool) {
	ok, stale, err := r.guard(q, c, now, x, n)
	switch {
	case err != nil:
		return r.refuse(q, now, x, err), true
	case !ok:
		return Decision{}, false
	}
	if why != ReasonLevel {
		r.stats.fallback(why)
	}
	return r.toPrimary(q, now, x, n, why, stale), true
}

// toPrimary decides for the primary n.
func (r *Router) toPrimary(q *Request, now time.Time, x *need, n *Node, why Reason, stale bool) Decision {
	d := r.decide(q, now, x, n, RolePrimary, why)
	if d.Stale = stale; stale {
		r.stats.stale.Add(1)
	}
	return d
}

// enlistLooks registers q with the looks that x waits for, and reports whether
// that needs something the primary has not flushed.
func (r *Router) enlistLooks(q *Request, x *need) (unflushed bool) {
	if x.witness != nil {
		q.register(&x.witness.looks.waiters, x.look)
	}
	if x.judge != nil {
		q.register(&x.judge.looks.waiters, x.judgeLook)
	}
	if x.alone != 0 {
		q.register(&r.sights.alone.waiters, x.alone)
	}
	if x.judged != 0 {
		for _, m := range x.t.Nodes {
			if m.okEra.Load() == x.t.era.n && m.Watermark() < x.judged {
				q.register(&m.waiters, uint64(x.judged))
				m.wakeMonitor()
				unflushed = unflushed || uint64(x.judged) > x.t.era.flush.Load()
			}
		}
	}
	if x.witness != nil || x.judge != nil || x.alone != 0 {
		r.sights.rouse()
	}
	return unflushed
}
