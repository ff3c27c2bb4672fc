package simulation

import (
	"errors"
	"slices"
	"time"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// loop is the event loop, and its pools: it does what package reactor does, in
// virtual time and without sockets.
type loop struct {
	w     *world
	env   *client.Env
	pools []*pool // by the server's number
	homed []*peer // who waits for a primary
	// leases are all that are open.
	leases []*lease
	dials  uint64
}

// pool holds the idle leases of one node.
type pool struct {
	idle    []*lease
	queue   []*peer
	size    int
	dialing int
}

const (
	poolSize    = 2
	primaryWait = 2 * time.Second
	leaseWait   = 2 * time.Second
	dialLimit   = 500 * time.Millisecond
	dialSlow    = 100 * time.Millisecond
	maxReadings = 4
)

// lease is a server connection, seen from the proxy.
type lease struct {
	backend.State
	conn *conn
	pool *pool
	peer *peer // who has it
	back []byte
	dead bool
}

// What a peer waits for.
const (
	waitNothing = iota
	waitRoute
	waitPrimary
	waitTicket
	waitReading
	waitAgain
	waitLease
	waitOutcome
)

// peer is a client, seen from the proxy.
type peer struct {
	w       *world
	l       *loop
	m       client.Machine
	out     client.Effects
	app     *app
	in      []byte
	lease   *lease
	pool    *pool
	wait    int
	seq     uint64
	timer   uint64
	tries   int
	until   time.Time
	homed   bool
	closed  bool
	carries bool
	inquiry *router.Inquiry
	turn    int // which life of a primary it was connected to last
}

// Wake is called by the router.
func (c *peer) Wake(seq uint64, _ error) { c.w.post(mail{peer: c, seq: seq}) }

func (l *loop) now() time.Time { return l.env.Now }

func (l *loop) arm(c *peer, at time.Time) {
	c.timer++
	n := c.timer
	l.w.at(max(at.Sub(l.w.epoch), l.w.now), func() {
		if c.timer == n && !c.closed {
			l.deadline(c)
		}
	})
}

// clientSays takes input of a client.
func (l *loop) clientSays(c *peer, data []byte) {
	c.in = append(c.in, data...)
	l.input(c)
}

func (l *loop) input(c *peer) {
	for !c.closed && len(c.in) > 0 && c.m.WantsInput() {
		before := len(c.in)
		l.step(c, client.Event{Kind: client.ClientBytes, Data: c.in})
		if len(c.in) == before && c.m.WantsInput() {
			return
		}
	}
}

// serverSays takes input of a server.
func (l *loop) serverSays(s *lease, data []byte) {
	if s.dead {
		return
	}
	s.back = append(s.back, data...)
	if c := s.peer; c != nil {
		l.step(c, client.Event{Kind: client.BackendBytes, Data: s.back, Input: len(c.in)})
		l.settled(c)
		return
	}
	for {
		typ, total, ok := wire.Header(s.back)
		if !ok || total > len(s.back) {
			return
		}
		if typ != 'S' && typ != 'N' {
			l.w.failf("%s, which nobody has, says %c", s.conn.name, typ)
		}
		s.back = s.back[total:]
	}
}

// serverGone handles the end of a server connection.
func (l *loop) serverGone(s *lease) {
	if s.dead {
		return
	}
	l.w.tracef("proxy", "%s is gone", s.conn.name)
	c := s.peer
	l.drop(s)
	if c != nil {
		c.turn = s.conn.turn
		c.lease = nil
		if c.wait != waitNothing && c.wait != waitTicket {
			l.unwait(c)
		}
		l.step(c, client.Event{Kind: client.BackendGone, Data: c.in})
		l.settled(c)
	}
}

// drop closes a lease and forgets it.
func (l *loop) drop(s *lease) {
	if s.dead {
		return
	}
	s.dead = true
	s.conn.close()
	l.leases = slices.DeleteFunc(l.leases, func(o *lease) bool { return o == s })
	s.pool.idle = slices.DeleteFunc(s.pool.idle, func(o *lease) bool { return o == s })
	s.pool.size--
	p := s.pool
	l.w.at(l.w.now, func() { l.grow(p) })
}

func (l *loop) step(c *peer, ev client.Event) {
	for more := true; more && !c.closed; {
		c.out.Reset()
		c.m.Step(&ev, &c.out)
		ev, more = l.carry(c)
	}
	if c.m.Lent() != nil && (c.lease == nil || c.m.Lent() != &c.lease.State) {
		l.w.failf("the machine of %s holds what it has not been lent", c.app.name)
	}
}

func (l *loop) carry(c *peer) (next client.Event, more bool) {
	out := &c.out
	s := c.lease
	if s != nil {
		s.back = s.back[out.BackendConsumed:]
	}
	c.in = c.in[out.Consumed:]
	for i := range out.List {
		e := &out.List[i]
		switch e.Op {
		case client.ToClient:
			c.app.hear(e.Data)
		case client.ToBackend:
			l.w.checkSend(c, e.Data)
			if c.lease != nil && !c.lease.dead {
				c.lease.conn.send(e.Data)
			}
		case client.Release:
			l.release(c)
		case client.Destroy:
			if s := c.lease; s != nil {
				c.lease, s.peer = nil, nil
				l.drop(s)
			}
		case client.Route:
			c.until, c.tries = time.Time{}, 0
			next, more = l.begin(c)
		case client.Lease:
			next, more = l.lend(c)
		case client.Ticket:
			next, more = l.ticket(c)
		case client.Inquire:
			l.inquire(c)
		case client.Input:
			next, more = client.Event{Kind: client.Aligned, Data: c.in}, true
		case client.Close:
			l.gone(c)
			c.app.closed()
			return next, false
		default:
			l.w.failf("the machine asks for %d, which is not simulated", e.Op)
		}
	}
	return next, more
}

// release gives a lease back (I4).
func (l *loop) release(c *peer) {
	s := c.lease
	if s.Tx != 'I' || s.Tainted || s.Pinned || len(s.back) > 0 {
		l.w.failf("%s is given back in the middle of something (I4)", s.conn.name)
	}
	c.lease, s.peer = nil, nil
	if s.dead {
		return
	}
	s.pool.idle = append(s.pool.idle, s)
	l.serveNext(s.pool)
}

// serveNext lets the first who waits look again, in the next turn.
func (l *loop) serveNext(p *pool) {
	if len(p.queue) == 0 {
		return
	}
	c := p.queue[0]
	l.leave(c)
	c.wait = waitNothing
	seq := c.seq
	l.w.at(l.w.now, func() {
		if !c.closed && c.seq == seq && c.wait == waitNothing && c.m.Waiting() {
			l.follow(c, l.lend)
		}
	})
}

func (l *loop) leave(c *peer) {
	if p := c.pool; p != nil {
		p.queue = slices.DeleteFunc(p.queue, func(o *peer) bool { return o == c })
		c.pool = nil
	}
}

func (l *loop) begin(c *peer) (client.Event, bool) {
	if !c.m.Writes() {
		q := c.m.Request()
		c.seq++
		q.Seq = c.seq
		l.w.r.Begin(q, c.m.Chain(), l.now())
	}
	if c.m.Retreats() {
		c.wait = waitRoute
		l.arm(c, l.now().Add(20*time.Millisecond))
		return client.Event{}, false
	}
	return l.decide(c)
}

func (l *loop) decide(c *peer) (client.Event, bool) {
	r := l.w.r
	if c.m.Writes() {
		node, epoch, err := r.Primary()
		if err != nil {
			return l.awaitPrimary(c, err)
		}
		return client.Event{Kind: client.Routed, Data: c.in, Decision: router.Decision{
			Node: node, Role: router.RolePrimary, Reason: router.ReasonWrite, Epoch: epoch,
		}}, true
	}
	q := c.m.Request()
	before := r.Stats().GuardUnproven
	d, done := r.Decide(q, c.m.Chain(), l.now(), c)
	if r.Stats().GuardUnproven > before {
		c.app.unproven.join(c.app.seen)
	}
	switch {
	case !done:
		c.wait = waitRoute
		l.w.cover.waits++
		if due := q.Deadline(); !due.After(l.now()) {
			l.w.failf("a read is not decided and waits for what has passed: due %s ago", l.now().Sub(due))
		}
		l.arm(c, q.Deadline())
		return client.Event{}, false
	case d.Err != nil && refusal(d.Err).NoPrimary():
		return l.awaitPrimary(c, d.Err)
	case d.Err != nil:
		return client.Event{Kind: client.RouteFailed, Data: c.in, Report: routeReport(d.Err)}, true
	}
	l.w.decided(c, &d)
	if s := c.lease; s != nil && d.Role == router.RoleReplica && !s.Node.Covers(d.Floor, s.Dialed, s.Own) {
		d.Done()
		return l.awaitReading(c, s)
	}
	return client.Event{Kind: client.Routed, Data: c.in, Decision: d}, true
}

// refusal is the router's word on why a statement does not run.
func refusal(err error) *router.RouteError {
	e, ok := errors.AsType[*router.RouteError](err)
	if !ok {
		panic(err)
	}
	return e
}

func routeReport(err error) *wire.Report {
	e := refusal(err)
	return &wire.Report{Severity: "ERROR", Code: e.Code, Message: e.Message, Detail: e.Detail}
}

func (l *loop) awaitReading(c *peer, s *lease) (client.Event, bool) {
	q := c.m.Request()
	if c.tries++; c.tries > maxReadings || !s.Node.Eligible() {
		return client.Event{Kind: client.RouteFailed, Data: c.in, Report: &wire.Report{
			Severity: "ERROR", Code: sqlstate.SerializationFailure, Message: "the replica that this transaction runs on is out of service"}}, true
	}
	c.seq++
	q.Seq = c.seq
	c.wait = waitAgain
	if l.w.r.AwaitReading(q, s.Node, s.Dialed, c) {
		l.arm(c, l.now())
	} else {
		l.arm(c, l.now().Add(max(q.Wait, 50*time.Millisecond)))
	}
	return client.Event{}, false
}

func (l *loop) awaitPrimary(c *peer, err error) (client.Event, bool) {
	if c.until.IsZero() {
		c.until = l.now().Add(primaryWait)
		l.w.cover.primaryWaits++
	}
	if !l.now().Before(c.until) {
		return client.Event{Kind: client.RouteFailed, Data: c.in, Report: routeReport(err)}, true
	}
	c.wait = waitPrimary
	if !c.homed {
		c.homed = true
		l.homed = append(l.homed, c)
	}
	again := l.now().Add(time.Second)
	if again.After(c.until) {
		again = c.until
	}
	l.arm(c, again)
	return client.Event{}, false
}

func (l *loop) ticket(c *peer) (client.Event, bool) {
	q := c.m.Request()
	c.seq++
	q.Seq = c.seq
	if f, ok := c.m.AwaitTicket(c); ok {
		return client.Event{Kind: client.TicketReady, Data: c.in, Floor: f}, true
	}
	c.wait = waitTicket
	l.arm(c, l.now().Add(primaryWait))
	return client.Event{}, false
}

func (l *loop) again(c *peer) {
	wait := c.wait
	c.wait = waitNothing
	c.timer++
	switch wait {
	case waitRoute, waitPrimary:
		l.follow(c, l.decide)
	case waitTicket:
		if f, ok := c.m.AwaitTicket(c); ok {
			l.step(c, client.Event{Kind: client.TicketReady, Data: c.in, Floor: f})
			l.settled(c)
		} else {
			c.wait = waitTicket
			l.arm(c, l.now().Add(primaryWait))
		}
	case waitOutcome:
		l.inquired(c)
	case waitReading:
		l.follow(c, l.lend)
	case waitAgain:
		l.follow(c, l.begin)
	case waitLease:
		c.wait = wait
	}
}

func (l *loop) follow(c *peer, f func(*peer) (client.Event, bool)) {
	if ev, ok := f(c); ok {
		l.step(c, ev)
		l.settled(c)
	}
}

func (l *loop) settled(c *peer) {
	if !c.closed {
		l.input(c)
	}
}

func (l *loop) deadline(c *peer) {
	switch c.wait {
	case waitNothing:
	case waitTicket:
		c.wait = waitNothing
		l.w.r.Cancel(c.m.Request())
		c.seq++
		l.step(c, client.Event{Kind: client.TicketReady, Data: c.in, Report: &wire.Report{
			Severity: "ERROR", Code: sqlstate.CannotConnectNow, Message: "the primary does not tell its position"}})
		l.settled(c)
	case waitOutcome:
		l.inquiryDue(c)
	case waitLease:
		l.leave(c)
		c.wait = waitNothing
		l.w.cover.leaseTimeouts++
		l.step(c, client.Event{Kind: client.LeaseFailed, Data: c.in, Elsewhere: true, Report: &wire.Report{
			Severity: "ERROR", Code: sqlstate.TooManyConnections, Message: "no server connection became free in time"}})
		l.settled(c)
	default:
		l.again(c)
	}
}

// cancel is a cancel request, which counts only while the client waits here.
func (l *loop) cancel(c *peer) {
	if c.closed || !c.m.Waiting() {
		return
	}
	l.unwait(c)
	l.w.cover.cancels++
	l.step(c, client.Event{Kind: client.Cancel, Data: c.in})
	l.settled(c)
}

func (l *loop) unwait(c *peer) {
	if c.wait == waitOutcome {
		l.withdraw(c)
	}
	if c.wait != waitNothing && c.wait != waitLease && c.wait != waitOutcome {
		l.w.r.Cancel(c.m.Request())
	}
	l.leave(c)
	c.wait = waitNothing
	c.timer++
	c.seq++
}

// gone ends a client.
func (l *loop) gone(c *peer) {
	if c.closed {
		return
	}
	c.closed = true
	l.unwait(c)
	if s := c.lease; s != nil {
		c.lease, s.peer = nil, nil
		l.drop(s)
	}
	c.m.Leave()
}

// topologyChanged looks at every lease after the topology has changed.
func (l *loop) topologyChanged() {
	t := l.w.r.Topology()
	l.w.tracef("router", "%s", t)
	for _, s := range slices.Clone(l.leases) {
		if s.dead || !s.Former(t.Era()) {
			continue
		}
		l.serverGone(s)
	}
	for _, p := range l.pools {
		for _, c := range slices.Clone(p.queue) {
			if c.pool != p || c.wait != waitLease || !backend.Outdated(l.w.r, c.m.Decision()) {
				continue
			}
			l.leave(c)
			c.wait = waitNothing
			l.follow(c, l.lend)
		}
	}
	waiting := l.homed
	l.homed = nil
	for _, c := range waiting {
		c.homed = false
		if !c.closed && c.wait == waitPrimary {
			l.again(c)
		}
	}
}
