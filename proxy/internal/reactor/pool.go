package reactor

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// tenantKey says who shares backends: clients of one user and database. For
// SCRAM, users whose keys differ do not share (a password has changed).
type tenantKey struct{ user, database string }

// tenant is one user of one database in one loop.
type tenant struct {
	key   tenantKey
	login *Login // the latest, whose keys open connections
	pools []*pool
	limit PoolLimits
}

func (l *Loop) tenant(login *Login) *tenant {
	key := tenantKey{login.User, login.DatabaseName}
	t := l.tenants[key]
	if t == nil {
		t = &tenant{key: key, limit: l.group.limits.Load().pool(key)}
		l.tenants[key] = t
		l.keepPace(&t.limit)
	}
	t.login = login
	return t
}

// pool holds the backends of one node for one tenant.
type pool struct {
	tenant  *tenant
	node    *router.Node
	idle    []*server // a stack: the warmest is used first
	dialing int
	size    int       // connections of this loop, lent ones too
	full    time.Time // until then the server takes no more of them
	queue   waitlist  // who waits for a backend

	claim *claim
	// hungry: the claim is in the ledger's queue, or a grant is on its way;
	// reserve: with that of the pool.
	hungry, reserve bool
	sought          time.Time // when another pool was last asked to close one
	seekDue         bool      // it is to be asked again
	refill          time.Time // not before then after a dial has failed
	former          bool      // its node has gone: nobody comes to it any more
}

func (l *Loop) pool(t *tenant, n *router.Node) *pool {
	for len(t.pools) <= n.ID {
		t.pools = append(t.pools, nil)
	}
	p := t.pools[n.ID]
	if p == nil || p.node != n {
		if p != nil {
			for len(p.idle) > 0 {
				l.drop(p.idle[len(p.idle)-1])
			}
			p.former = true
			l.former = append(l.former, p)
		}
		p = &pool{tenant: t, node: n}
		p.claim = l.group.ledger.enter(l, p, t.key, n.Name)
		t.pools[n.ID] = p
	}
	return p
}

// usable reports whether an idle backend may serve the decision now. retry is
// true if only a fresh reading of its node is missing.
func (l *Loop) usable(s *server, d *router.Decision) (ok, retry bool) {
	return s.Serves(l.cfg.Router, d)
}

// outdated reports whether a decision does not hold any more. Time may pass
// between it and the lease, and a write must not go where nobody leads (I6).
func (l *Loop) outdated(d *router.Decision) bool { return backend.Outdated(l.cfg.Router, d) }

// reconsider looks at those who wait for a backend of p after the topology has
// changed: some of them should go elsewhere.
func (l *Loop) reconsider(p *pool) {
	for _, c := range p.queue.all() {
		if c.dead || c.wait != waitLease || c.pool != p || !l.outdated(c.m.Decision()) {
			continue
		}
		l.leave(c)
		c.wait, c.timer = waitNothing, 0
		l.follow(c, l.lease)
	}
}

// lease finds a backend for the machine's decision.
func (l *Loop) lease(c *Client) (client.Event, bool) {
	d := c.m.Decision()
	if l.outdated(d) {
		if c.m.Writes() {
			return l.decide(c)
		}
		return client.Event{Kind: client.LeaseFailed, Data: c.in, Again: true, Elsewhere: d.Role == router.RoleReplica,
			Report: noBackend(d.Node.Name)}, true
	}
	p := l.pool(c.tenant, d.Node)
	for _, s := range c.kept {
		if s.pool == p && s.cancels == 0 {
			if ok, _ := l.usable(s, d); ok {
				return l.lend(c, s), true
			}
		}
	}
	if s := l.sequenced(c, p); s != nil {
		return l.lend(c, s), true
	}
	retry, young := false, uint64(0)
	best, spared := -1, -1
	want := c.m.Settings()
	for i := len(p.idle) - 1; i >= 0; i-- {
		s := p.idle[i]
		ok, again := l.usable(s, d)
		if !ok {
			if again && !retry {
				retry, young = true, s.Dialed
			}
			if !again {
				if d.Role == router.RolePrimary || s.Primary || !s.Node.Eligible() && s.Node.Role() != router.RoleReplica {
					l.drop(s)
					// They were moved down by one.
					if best > i {
						best--
					}
					if spared > i {
						spared--
					}
				}
			}
			continue
		}
		if c.m.Spares(&s.State) {
			if spared < 0 {
				spared = i
			}
			continue
		}
		if s.Settings == want {
			best = i
			break
		}
		if best < 0 {
			best = i
		}
		if len(p.idle)-i > 8 {
			break
		}
	}
	if best < 0 {
		best = spared
	}
	if best >= 0 {
		s := p.idle[best]
		p.idle = append(p.idle[:best], p.idle[best+1:]...)
		return l.lend(c, s), true
	}
	if retry {
		// The backend is younger than the last reading of its node.
		q := c.m.Request()
		c.seq++
		q.Seq = c.seq
		if !l.cfg.Router.AwaitReading(q, d.Node, young, c) {
			c.wait = waitReading
			l.arm(c, l.env.Now.Add(max(c.m.Request().Wait, 50*time.Millisecond)))
			return client.Event{}, false
		}
		// The node has gone out of service, or its monitor has connected anew
		// and what was known of it is void: decide again.
		return client.Event{Kind: client.LeaseFailed, Data: c.in, Again: true, Report: noBackend(d.Node.Name)}, true
	}
	return l.enqueue(c, p)
}

func noBackend(name string) *wire.Report {
	return &wire.Report{Severity: "ERROR", Code: sqlstate.ConnectionFailure, Message: "node " + name + " is out of service"}
}

// enqueue lets c wait for a backend of p, and opens one if that is allowed. A
// client that has waited before, and got a backend that was not for it, has its
// place again.
func (l *Loop) enqueue(c *Client, p *pool) (client.Event, bool) {
	x := &p.tenant.limit
	all := &p.claim.counts[KindPool].waiting
	switch {
	case !c.since.IsZero():
		p.queue.insert(c)
	case x.Queue > 0 && all.Load() >= int64(x.Queue):
		l.group.waits.failed(KindQueue)
		return client.Event{Kind: client.LeaseFailed, Data: c.in, Elsewhere: true, Report: p.tooMany()}, true
	default:
		c.since = l.env.Now
		p.queue.push(c)
	}
	all.Add(1)
	c.wait, c.pool = waitLease, p
	l.armLease(c)
	l.grow(p)
	return client.Event{}, false
}

// armLease sets the timer of a client that waits for a backend: for when it
// may use the reserve, or when it gives up.
func (l *Loop) armLease(c *Client) {
	x, at := &c.pool.tenant.limit, l.leaseEnd(c)
	if r := c.since.Add(x.ReserveWait); x.Reserve > 0 && r.After(l.env.Now) && (at.IsZero() || r.Before(at)) {
		at = r
	}
	if c.timer = 0; !at.IsZero() {
		l.arm(c, at)
	}
}

// leaseEnd is when c gives up waiting for a backend, zero if never.
func (l *Loop) leaseEnd(c *Client) time.Time {
	if wait := c.pool.tenant.limit.LeaseWait; wait > 0 {
		return c.since.Add(wait)
	}
	return time.Time{}
}

// leaseDue handles the timer of a client that waits for a backend.
func (l *Loop) leaseDue(c *Client) {
	end := l.leaseEnd(c)
	if !end.IsZero() && !end.After(l.env.Now) {
		l.leaseTimeout(c)
		return
	}
	if !end.IsZero() {
		l.arm(c, end)
	}
	l.grow(c.pool)
}

// grow dials for those who wait, within the limits.
func (l *Loop) grow(p *pool) {
	if p.queue.n == 0 {
		p.tally(l)
		return
	}
	if p.size > 0 && l.env.Now.Before(p.full) {
		l.pulse(p.full)
		return
	}
	for p.dialing < p.queue.n {
		woke := p.tally(l)
		x := &p.tenant.limit
		reserve := x.Reserve > 0 && x.ReserveWait > 0 && l.env.Now.Sub(p.queue.first.since) >= x.ReserveWait
		if p.hungry && p.reserve == reserve && p.claim.blocked(reserve) != nil {
			if woke {
				l.seek(p)
			}
			return
		}
		p.reserve = reserve
		if !l.group.ledger.take(p.claim, reserve) {
			p.hungry = true
			l.seek(p)
			return
		}
		p.dialing++
		l.opens(p)
	}
	p.tally(l)
}

// tally tells the ledger whether the pool could use more connections. It
// returns true if that has just begun.
func (p *pool) tally(l *Loop) bool {
	need := int64(0)
	if p.queue.n > p.dialing {
		need = 1
	}
	if p.claim.need.Load() == need {
		return false
	}
	if need > 0 {
		p.claim.since.Store(l.clock())
	}
	p.claim.need.Store(need)
	return need > 0
}

// longest is how long the first in the queue has waited.
func (p *pool) longest(now time.Time) time.Duration {
	if p.queue.first == nil {
		return 0
	}
	return now.Sub(p.queue.first.since)
}

// next takes the first who waits.
func (l *Loop) next(p *pool) *Client {
	c := p.queue.first
	if c != nil {
		l.leave(c)
	}
	return c
}

// leave takes a client out of the queue of its pool.
func (l *Loop) leave(c *Client) {
	p := c.pool
	c.pool = nil
	p.queue.remove(c)
	p.claim.counts[KindPool].waiting.Add(-1)
	p.tally(l)
}

// lend gives s to c.
func (l *Loop) lend(c *Client, s *server) client.Event {
	s.client, c.server = c, s
	l.lent++
	if !c.since.IsZero() {
		l.group.waits.served(l.env.Now.Sub(c.since))
		c.since = time.Time{}
	}
	c.wait, c.timer, c.pool = waitNothing, 0, nil
	return client.Event{Kind: client.Leased, Data: c.in, Backend: &s.State}
}

// unlend ends the lease of s, if it is lent.
func (l *Loop) unlend(s *server) {
	if s.client != nil {
		s.client = nil
		l.lent--
	}
}

// put makes s available: to the first who waits, or as an idle one. One that
// is old, or that another pool has a better right to, is closed.
func (p *pool) put(l *Loop, s *server) {
	busy := p.queue.n > 0
	switch {
	case l.draining && l.clients == 0:
		l.drop(s)
	case s.old(l.env.Now), p.over(busy), l.group.ledger.yield(p.claim, busy, l.clock()):
		l.part(s)
	case busy:
		// The client may not be stepped from here: another machine's effects
		// are being carried out. It has the backend for itself until then.
		c := l.next(p)
		c.wait, c.timer = waitNothing, 0
		l.ready = append(l.ready, readyLease{c, s, c.seq})
	default:
		p.rest(l, s)
	}
}

// rest makes s an idle backend, unless it can be of no use any more.
func (p *pool) rest(l *Loop, s *server) {
	if p.former {
		l.part(s)
		return
	}
	s.idleAt = l.env.Now
	p.idle = append(p.idle, s)
}

// over reports whether there are more backends than the limits allow; while
// clients wait the reserve is allowed too.
func (p *pool) over(busy bool) bool {
	for i, n := range p.claim.counts {
		over := n.over()
		if busy && i == int(KindPool) {
			over -= n.reserve.Load()
		}
		if over > 0 {
			return true
		}
	}
	return false
}

// old reports whether s has reached its lifetime.
func (s *server) old(now time.Time) bool {
	life := s.pool.tenant.limit.Lifetime
	return life > 0 && now.Sub(s.born) >= life-life/1000*time.Duration(s.spread)
}

// part says goodbye to the server and closes a backend that nobody uses.
func (l *Loop) part(s *server) {
	l.send(&s.sock, wire.AppendTerminate(nil))
	l.drop(s)
}

// readyLease is a backend that was given to a client which has to be told.
type readyLease struct {
	c   *Client
	s   *server
	seq uint64
}

// serveReady tells the clients that have got a backend.
func (l *Loop) serveReady() {
	list := l.ready
	l.ready = l.spare[:0]
	for i, r := range list {
		list[i] = readyLease{}
		switch {
		case r.s.dead:
			if !r.c.dead && r.c.seq == r.seq {
				l.follow(r.c, l.lease)
			}
		case r.c.dead || r.c.seq != r.seq:
			r.s.pool.put(l, r.s)
		case l.outdated(r.c.m.Decision()):
			r.s.pool.put(l, r.s)
			l.follow(r.c, l.lease)
		default:
			if ok, _ := l.usable(r.s, r.c.m.Decision()); ok {
				l.step(r.c, l.lend(r.c, r.s))
				l.settled(r.c)
				continue
			}
			// It is too young for what this client must see. Perhaps it is not
			// for the next one.
			p := r.s.pool
			p.rest(l, r.s)
			l.follow(r.c, l.lease)
			if next := l.next(p); next != nil {
				next.wait, next.timer = waitNothing, 0
				l.follow(next, l.lease)
			}
			if slices.Contains(p.idle, r.s) && l.group.ledger.yield(p.claim, false, 0) {
				l.part(r.s) // it was in nobody's hands when it was looked for
			}
		}
	}
	l.spare = list[:0]
}

// forget takes a backend that ends out of the books.
func (p *pool) forget(l *Loop, s *server) {
	for i, x := range p.idle {
		if x == s {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			break
		}
	}
	p.size--
	l.group.ledger.give(p.claim)
	if p.queue.n > 0 {
		l.grow(p)
	} else if p.tenant.limit.Min > 0 {
		l.pulse(l.env.Now)
	}
}

// leaseTimeout tells a client that no backend became free in time.
func (l *Loop) leaseTimeout(c *Client) {
	p := c.pool
	k, most, ok := l.group.ledger.why(p.claim)
	switch {
	case ok:
	case l.env.Now.Before(p.full):
		k = KindServer
	case p.dialing > 0:
		k = KindDial
	default:
		k, most = KindPool, int64(p.tenant.limit.Size)
	}
	l.group.waits.failed(k)
	detail, hint := p.explain(k, most)
	l.unwait(c)
	l.step(c, client.Event{Kind: client.LeaseFailed, Data: c.in, Elsewhere: true, Report: &wire.Report{
		Severity: "ERROR", Code: sqlstate.TooManyConnections,
		Message: "no server connection became free in time", Detail: detail, Hint: hint,
	}})
	l.settled(c)
}

// tooMany is for the client that finds the queue full.
func (p *pool) tooMany() *wire.Report {
	k := p.tenant.key
	return &wire.Report{
		Severity: "ERROR", Code: sqlstate.TooManyConnections, Message: "too many clients wait for a server connection",
		Detail: "queue_limit (" + strconv.Itoa(p.tenant.limit.Queue) + ") clients of user " + quote(k.user) + " and database " +
			quote(k.database) + " wait for node " + p.node.Name + " already.",
		Hint: "Raise pool_size or queue_limit, or try again later.",
	}
}

// fullWait is how long a server that took no more connections is left alone.
const fullWait = time.Second

// dialled takes the outcome of a dial.
func (l *Loop) dialled(m *mail) {
	p := m.pool
	p.dialing--
	s := &server{pool: p, born: l.env.Now, spread: uint8(rand.IntN(101))}
	err := m.err
	if err == nil {
		err = l.enroll(s, m)
	}
	if err != nil {
		l.group.ledger.give(p.claim)
		p.refill = l.env.Now.Add(refillWait)
		l.dialFailed(p, err)
		return
	}
	l.opened(p, s)
	if s.tls != nil && !s.dead {
		l.serverEvent(s, evIn) // of what came with the login the socket says nothing
	}
}

// opened takes a backend that is new.
func (l *Loop) opened(p *pool, s *server) {
	p.size++
	p.claim.got = l.clock()
	if p.tenant.limit.Min > 0 {
		l.pulse(l.env.Now)
	}
	p.put(l, s)
}

// dialFailed tells those for whom the dial was made.
func (l *Loop) dialFailed(p *pool, err error) {
	r, elsewhere, retry := judge(err)
	if p.size > 0 && strings.HasPrefix(r.Code, "53") {
		// The server takes no more connections, but it serves those that we
		// have: whoever waits gets one of them.
		p.full = l.env.Now.Add(fullWait)
		l.grow(p) // after a while
		return
	}
	for _, c := range p.queue.all() {
		if c.pool != p {
			continue // it has left since
		}
		l.leave(c)
		c.wait, c.timer = waitNothing, 0
		if (c.m.Writes() || c.m.Decision().Role == router.RolePrimary) && retry {
			// Nothing was sent: it may wait for the primary to come back.
			if c.until.IsZero() {
				c.until = l.env.Now.Add(l.cfg.PrimaryWait)
			}
			if l.env.Now.Before(c.until) {
				c.m.Decision().Done() // it is decided anew
				c.wait = waitRoute
				l.arm(c, l.env.Now.Add(50*time.Millisecond))
				continue
			}
		}
		l.step(c, client.Event{Kind: client.LeaseFailed, Data: c.in, Report: r, Elsewhere: elsewhere})
		l.settled(c)
	}
}
