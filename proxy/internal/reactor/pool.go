package reactor

import (
	"strings"
	"time"

	"github.com/pgroute/pgroute/internal/sqlstate"
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
}

func (l *Loop) tenant(login *Login) *tenant {
	key := tenantKey{login.User, login.DatabaseName}
	t := l.tenants[key]
	if t == nil {
		t = &tenant{key: key}
		l.tenants[key] = t
	}
	t.login = login
	return t
}

// pool holds the backends of one node for one tenant.
type pool struct {
	tenant  *tenant
	node    *router.Node
	idle    []*server // a stack: the warmest is used first
	limit   *limit
	dialing int
	size    int       // connections of this loop, lent ones too
	full    time.Time // until then the server takes no more of them
	queue   []*Client // waiting, the first first; nil where somebody left
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
		}
		p = &pool{tenant: t, node: n, limit: l.group.limit(t.key, n)}
		t.pools[n.ID] = p
	}
	return p
}

// usable reports whether an idle backend may serve the decision now. retry is
// true if only a fresh reading of its node is missing.
func (l *Loop) usable(s *server, d *router.Decision) (ok, retry bool) {
	if d.Role == router.RolePrimary {
		return s.Primary && s.Era == l.cfg.Router.Topology().Era(), false
	}
	if s.Primary {
		return false, false
	}
	if s.Node.Covers(d.Floor, s.Dialed, s.Own) {
		return true, false
	}
	return false, s.Node.Eligible()
}

// outdated reports whether a decision does not hold any more. Time may pass
// between it and the lease, and a write must not go where nobody leads (I6).
func (l *Loop) outdated(d *router.Decision) bool {
	r := l.cfg.Router
	switch {
	case d.Reason == router.ReasonWrite:
		_, epoch, err := r.Primary()
		return err != nil || epoch != d.Epoch
	case d.Role == router.RolePrimary:
		return r.Topology().Epoch != d.Epoch
	}
	return r.Topology().Era() != d.Era || !d.Node.Eligible()
}

// reconsider looks at those who wait for a backend of p after the topology has
// changed: some of them should go elsewhere.
func (l *Loop) reconsider(p *pool) {
	for _, c := range append([]*Client(nil), p.queue...) {
		if c == nil || c.dead || c.wait != waitLease || c.pool != p || !l.outdated(c.m.Decision()) {
			continue
		}
		p.leave(c)
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
	best := -1
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
					if best > i {
						best-- // it was moved down by one
					}
				}
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
	return l.enqueue(c, p), false
}

func noBackend(name string) *wire.Report {
	return &wire.Report{Severity: "ERROR", Code: sqlstate.ConnectionFailure, Message: "node " + name + " is out of service"}
}

// enqueue lets c wait for a backend of p, and opens one if that is allowed.
func (l *Loop) enqueue(c *Client, p *pool) client.Event {
	c.wait, c.pool = waitLease, p
	p.queue = append(p.queue, c)
	l.arm(c, l.env.Now.Add(l.cfg.LeaseWait))
	l.grow(p)
	return client.Event{}
}

// grow dials for those who wait, within the limit.
func (l *Loop) grow(p *pool) {
	if p.size > 0 && l.env.Now.Before(p.full) {
		return
	}
	for p.dialing < p.waiting() {
		if !p.limit.take(l.cfg.PoolSize) {
			l.group.starve(l, p)
			return
		}
		p.dialing++
		l.dial(p)
	}
}

// waiting returns how many clients wait.
func (p *pool) waiting() int {
	n := 0
	for _, c := range p.queue {
		if c != nil {
			n++
		}
	}
	return n
}

// next takes the first who waits.
func (p *pool) next() *Client {
	for len(p.queue) > 0 {
		c := p.queue[0]
		p.queue[0] = nil
		p.queue = p.queue[1:]
		if c != nil {
			return c
		}
	}
	p.queue = nil
	return nil
}

// leave takes a client out of the queue.
func (p *pool) leave(c *Client) {
	for i, w := range p.queue {
		if w == c {
			p.queue[i] = nil
			break
		}
	}
	c.pool = nil
}

// lend gives s to c.
func (l *Loop) lend(c *Client, s *server) client.Event {
	s.client, c.server = c, s
	l.lent++
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

// put makes s available: to the first who waits, or as an idle one.
func (p *pool) put(l *Loop, s *server) {
	if l.draining && l.clients == 0 {
		l.drop(s)
		return
	}
	if c := p.next(); c != nil {
		// It may not be stepped from here: another machine's effects are being
		// carried out. It has the backend for itself until then.
		c.wait, c.timer, c.pool = waitNothing, 0, nil
		l.ready = append(l.ready, readyLease{c, s, c.seq})
		return
	}
	if p.limit.shed(l) {
		l.drop(s)
		return
	}
	s.idleAt = l.env.Now
	p.idle = append(p.idle, s)
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
			p.idle = append(p.idle, r.s)
			l.follow(r.c, l.lease)
			if next := p.next(); next != nil {
				next.wait, next.timer, next.pool = waitNothing, 0, nil
				l.follow(next, l.lease)
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
	p.limit.give()
	if len(p.queue) > 0 {
		l.grow(p)
	} else {
		p.limit.shed(l)
	}
}

// leaseTimeout tells a client that no backend became free in time.
func (l *Loop) leaseTimeout(c *Client) {
	p := c.pool
	l.unwait(c)
	l.step(c, client.Event{Kind: client.LeaseFailed, Data: c.in, Elsewhere: true, Report: &wire.Report{
		Severity: "ERROR", Code: sqlstate.TooManyConnections,
		Message: "no server connection became free in time",
		Detail:  "Every connection that pool_size allows to node " + p.node.Name + " is in use.",
		Hint:    "Raise pool_size, or look in SHOW CLIENTS for clients that are pinned.",
	}})
	l.settled(c)
}

// fullWait is how long a server that took no more connections is left alone.
const fullWait = time.Second

// dialled takes the outcome of a dial.
func (l *Loop) dialled(m *mail) {
	p := m.pool
	p.dialing--
	if m.err != nil {
		p.limit.give()
		l.dialFailed(p, m.err)
		return
	}
	s := &server{pool: p}
	if err := l.enroll(s, m); err != nil {
		p.limit.give()
		l.dialFailed(p, err)
		return
	}
	p.size++
	p.put(l, s)
	if s.tls != nil && !s.dead {
		l.serverEvent(s, evIn) // of what came with the login the socket says nothing
	}
}

// dialFailed tells those for whom the dial was made.
func (l *Loop) dialFailed(p *pool, err error) {
	r, elsewhere, retry := judge(err)
	if p.size > 0 && strings.HasPrefix(r.Code, "53") {
		// The server takes no more connections, but it serves those that we
		// have: whoever waits gets one of them.
		p.full = l.env.Now.Add(fullWait)
		return
	}
	waiting := p.queue
	p.queue = nil
	for _, c := range waiting {
		if c == nil || c.dead {
			continue
		}
		c.wait, c.timer, c.pool = waitNothing, 0, nil
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

// closeIdle closes backends that have been idle since before then.
func (l *Loop) closeIdle(then time.Time) {
	for _, t := range l.tenants {
		for _, p := range t.pools {
			for p != nil && len(p.idle) > 0 && p.idle[0].idleAt.Before(then) {
				s := p.idle[0]
				l.send(&s.sock, wire.AppendTerminate(nil))
				l.drop(s)
			}
		}
	}
}
