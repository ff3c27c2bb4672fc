package reactor

import (
	"errors"
	"slices"
	"time"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// Client is one client of a loop.
type Client struct {
	sock
	m      client.Machine
	loop   *Loop
	server *server // what the machine has leased
	home   *server // what it has parked meanwhile
	// back: home is the leased one again, and what it has sent is to be handled.
	back bool
	// kept are the backends that are the client's for its life, one for each
	// node, in pool mode session.
	kept   []*server
	tenant *tenant
	login  *Login
	pid    uint32
	secret []byte

	// seq numbers what the client waits for: the router's wakes carry it, and
	// one with an old number is dropped.
	seq   uint64
	timer uint64 // the number of its timer, 0 if none is set
	wait  waitKind
	tries int       // readings that were waited for
	until time.Time // how long the whole cycle may wait for a primary
	pool  *pool     // where it waits for a lease
	since time.Time // when it began to, zero if it does not
	// ahead and behind are its neighbours in the queue of that pool.
	ahead, behind *Client
	seen          sighting
	closed        bool // it is closed once everything was sent
	// ear is nil while the client has no channel on the shared listener.
	// generation is what it has asked of it last; deaf: it may have no more.
	ear        *ear
	generation uint64
	deaf       bool
	// inquiry is for the outcome of its COMMIT.
	inquiry *router.Inquiry
	// homeless: it is in the loop's list of those who wait for a primary, or
	// have waited.
	homeless bool
}

// closeWait is how long a client that is being closed has to read what is
// queued for it.
const closeWait = 10 * time.Second

// hesitation is how long the messages of a group are gathered whose end does
// not come.
const hesitation = 50 * time.Millisecond

type waitKind uint8

const (
	waitNothing waitKind = iota
	waitRoute
	waitPrimary
	waitLease
	waitReading // a lease needs a reading
	waitAgain   // a statement on the backend that it holds needs one
	waitTicket
	waitHeard   // of the shared listener
	waitOutcome // of a COMMIT

	numWaits
)

// Wake is called by the router, from one of its goroutines.
func (c *Client) Wake(seq uint64, _ error) {
	c.loop.post(mail{kind: mailWake, client: c, seq: seq})
}

// adopt takes a client that is logged in.
func (l *Loop) adopt(c *Client) {
	if l.draining {
		closeFD(c.fd)
		c.dead = true
		l.group.left(c)
		return
	}
	l.setSlot(c.fd, slot{c: c})
	c.mask = evIn
	l.clients++
	c.tenant = l.tenant(c.login)
	base := l.env.Settings.Empty()
	for _, p := range c.login.Settings {
		base = l.env.Settings.With(base, p.Name, p.Value)
	}
	c.m.Init(&l.env, c.login.Database, c.login.Session, base, c.login.Policy)
	for _, p := range c.login.Reported {
		c.m.Reported(p.Name, p.Value)
	}
	c.login.Reported = nil // nobody needs it any more
	if err := l.poll.add(c.fd, c.mask); err != nil {
		l.gone(c)
		return
	}
	if c.tls != nil {
		l.clientEvent(c, evIn) // of what came with the login the socket says nothing
	}
}

// clientEvent handles what epoll says of a client's socket.
func (l *Loop) clientEvent(c *Client, ev uint32) {
	if ev&evOut != 0 {
		if !l.flush(&c.sock) {
			l.gone(c)
			return
		}
		if c.queued() < lowWater {
			if c.server != nil {
				l.resume(&c.server.sock)
			}
			if c.closed && c.queued() == 0 {
				l.gone(c)
				return
			}
			if c.ear != nil {
				l.notify(c, nil) // that notifications were dropped
			}
			if len(c.in) > 0 || c.paused {
				l.settled(c)
			}
		}
	}
	if ev&(evIn|evErr) == 0 || c.dead {
		return
	}
	if c.paused && ev&evErr == 0 {
		return
	}
	if len(c.in) >= l.cfg.GatherLimit+readChunk && (!c.m.WantsInput() || c.holds()) {
		if ev&evErr != 0 {
			l.gone(c) // nobody is there any more
			return
		}
		l.pause(&c.sock)
		return
	}
	n, ok := l.fill(&c.sock)
	if !ok {
		l.gone(c)
		return
	}
	if n > 0 {
		l.input(c)
	}
	if !c.dead {
		l.keep(&c.sock)
	}
}

// input gives the client's input to its machine for as long as that makes
// progress. A client that does not read its answers is not asked for more.
func (l *Loop) input(c *Client) {
	more := false // it needs more to go on
	for !c.dead && !c.closed && len(c.in) > 0 && c.m.WantsInput() && !c.holds() {
		if c.queued() > highWater {
			l.pause(&c.sock)
			return
		}
		before := len(c.in)
		l.step(c, client.Event{Kind: client.ClientBytes, Data: c.in})
		if len(c.in) == before && c.m.WantsInput() {
			more = true
			break
		}
	}
	if more && c.timer == 0 && c.wait == waitNothing && c.m.Begun(c.in) {
		l.arm(c, l.env.Now.Add(hesitation))
	}
	if s := c.server; s != nil && !c.dead && c.m.ReadyDue() {
		l.feed(s)
		if !s.dead {
			l.keep(&s.sock)
		}
	}
	if !c.dead && (more || len(c.in) < l.cfg.GatherLimit) && c.queued() <= highWater && (c.server == nil || c.server.queued() < highWater) {
		l.resume(&c.sock)
	}
}

// holds reports whether the client's next request waits: a cancel request for
// the last one is on its way to the backend that it has.
func (c *Client) holds() bool { return c.server != nil && c.server.cancels > 0 && c.m.Idle() }

// step runs one Step and everything that follows from it for this client.
func (l *Loop) step(c *Client, ev client.Event) {
	for more := true; more; {
		out := &l.effects
		out.Reset()
		c.m.Step(&ev, out)
		ev, more = l.carry(c, out)
	}
	l.handleBack(c)
}

// carry carries effects out. It returns the event that answers the last of
// them, if it can be answered at once.
func (l *Loop) carry(c *Client, out *client.Effects) (next client.Event, more bool) {
	if out.BackendConsumed > 0 && c.server != nil {
		c.server.consume(out.BackendConsumed)
	}
	if out.Consumed > 0 {
		// What is sent from it is still in place: consuming only moves on.
		c.consume(out.Consumed)
	}
	sends := 0
	for i := range out.List {
		if out.List[i].Op == client.ToClient {
			sends++
		}
	}
	for i := range out.List {
		e := &out.List[i]
		switch e.Op {
		case client.ToClient:
			if sends > 1 {
				l.queue(&c.sock, e.Data)
			} else if !l.send(&c.sock, e.Data) {
				l.gone(c)
				return next, false
			}
		case client.ToBackend:
			if s := c.server; s != nil && !l.send(&s.sock, e.Data) {
				l.serverGone(s)
				return next, false
			}
		case client.Release:
			l.release(c)
		case client.Destroy:
			l.destroy(c)
		case client.Park:
			l.park(c)
		case client.Unpark:
			l.unpark(c)
		case client.Route:
			next, more = l.route(c)
		case client.Lease:
			next, more = l.lease(c)
		case client.Ticket:
			next, more = l.ticket(c)
		case client.Input:
			next, more = client.Event{Kind: client.Aligned, Data: c.in}, true
		case client.Listen:
			l.subscribe(c)
		case client.Hear:
			l.ask(c)
		case client.AwaitHeard:
			next, more = l.awaitHeard(c)
		case client.Inquire:
			l.inquire(c)
		case client.Close:
			c.closed = true
			l.unwait(c)
			l.arm(c, l.env.Now.Add(closeWait))
		}
	}
	if sends > 1 && !l.flush(&c.sock) || c.closed && c.queued() == 0 {
		l.gone(c)
		return next, false
	}
	if c.queued() > highWater {
		l.pause(&c.sock)
		if c.server != nil {
			l.pause(&c.server.sock)
		}
	}
	if c.server != nil && c.server.queued() > highWater {
		l.pause(&c.sock)
	}
	return next, more && !c.dead
}

// route asks the router where the machine's request may run.
func (l *Loop) route(c *Client) (client.Event, bool) {
	c.until, c.since, c.tries = time.Time{}, time.Time{}, 0
	return l.begin(c)
}

// begin freezes what the request must see, and decides.
func (l *Loop) begin(c *Client) (client.Event, bool) {
	if !c.m.Writes() {
		if c.m.Shadowed() {
			c.m.Judge(&l.judged)
		}
		q := c.m.Request()
		c.seq++
		q.Seq = c.seq
		l.cfg.Router.Begin(q, c.m.Chain(), l.env.Now)
	}
	if c.m.Retreats() {
		c.wait = waitRoute
		l.arm(c, l.env.Now.Add(retreat))
		return client.Event{}, false
	}
	return l.decide(c)
}

// retreat is how long what ran on a primary that went away waits before it is
// routed again: long enough to hear that the other connections are gone, too.
const retreat = 20 * time.Millisecond

// decide is route's part that may be called again.
func (l *Loop) decide(c *Client) (client.Event, bool) {
	r := l.cfg.Router
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
	d, done := r.Decide(q, c.m.Chain(), l.env.Now, c)
	switch {
	case !done:
		c.wait = waitRoute
		l.arm(c, q.Deadline())
		return client.Event{}, false
	case d.Err != nil:
		if e, ok := errors.AsType[*router.RouteError](d.Err); ok && e.NoPrimary() {
			return l.awaitPrimary(c, d.Err)
		}
		return client.Event{Kind: client.RouteFailed, Data: c.in, Report: report(d.Err)}, true
	}
	if s := c.server; s != nil && d.Role == router.RoleReplica && !s.Node.Covers(d.Floor, s.Dialed, s.Own) {
		// The transaction's backend is younger than the last reading of its
		// node, or its node has changed since the decision.
		d.Done()
		return l.awaitReading(c, s)
	}
	return client.Event{Kind: client.Routed, Data: c.in, Decision: d}, true
}

// awaitReading waits until something newer is known about the node of the
// backend that the client holds, and routes again then.
func (l *Loop) awaitReading(c *Client, s *server) (client.Event, bool) {
	q := c.m.Request()
	if c.tries++; c.tries > maxReadings || !s.Node.Eligible() {
		return client.Event{Kind: client.RouteFailed, Data: c.in, Report: &wire.Report{
			Severity: "ERROR", Code: sqlstate.SerializationFailure,
			Message: "the replica that this transaction runs on is out of service",
			Hint:    "Run the transaction again.",
		}}, true
	}
	c.seq++
	q.Seq = c.seq
	c.wait = waitAgain
	if l.cfg.Router.AwaitReading(q, s.Node, s.Dialed, c) {
		l.arm(c, l.env.Now) // look again in the next turn
	} else {
		l.arm(c, l.env.Now.Add(max(q.Wait, 50*time.Millisecond)))
	}
	return client.Event{}, false
}

// maxReadings bounds how often a statement waits for a reading.
const maxReadings = 4

// report is what a client is told of a router's refusal.
func report(err error) *wire.Report {
	e, ok := errors.AsType[*router.RouteError](err)
	if !ok {
		return &wire.Report{Severity: "ERROR", Code: sqlstate.InternalError, Message: "the statement cannot be routed"}
	}
	return &wire.Report{Severity: "ERROR", Code: e.Code, Message: e.Message, Detail: e.Detail}
}

// awaitPrimary lets the client wait until there is a primary.
func (l *Loop) awaitPrimary(c *Client, err error) (client.Event, bool) {
	if c.until.IsZero() {
		c.until = l.env.Now.Add(l.cfg.PrimaryWait)
	}
	if !l.env.Now.Before(c.until) {
		return client.Event{Kind: client.RouteFailed, Data: c.in, Report: report(err)}, true
	}
	c.wait = waitPrimary
	c.since = time.Time{} // the wait for a connection begins anew afterwards
	if !c.homeless {
		c.homeless = true
		if len(l.homeless) > 2*l.clients+256 {
			l.homeless = slices.DeleteFunc(l.homeless, func(x *Client) bool { return x.dead })
		}
		l.homeless = append(l.homeless, c)
	}
	// Some reasons end by time alone, and nobody says so.
	again := l.env.Now.Add(time.Second)
	if again.After(c.until) {
		again = c.until
	}
	l.arm(c, again)
	return client.Event{}, false
}

// ticket waits for the position of a ticket.
func (l *Loop) ticket(c *Client) (client.Event, bool) {
	q := c.m.Request()
	c.seq++
	q.Seq = c.seq
	c.until = l.env.Now.Add(l.cfg.PrimaryWait)
	return l.awaitTicket(c)
}

// awaitTicket is ticket's part that may be called again.
func (l *Loop) awaitTicket(c *Client) (client.Event, bool) {
	if f, ok := c.m.AwaitTicket(c); ok {
		return client.Event{Kind: client.TicketReady, Data: c.in, Floor: f}, true
	}
	c.wait = waitTicket
	l.arm(c, c.until)
	return client.Event{}, false
}

// again goes on with a client that was woken.
func (l *Loop) again(c *Client) {
	wait := c.wait
	c.wait, c.timer = waitNothing, 0
	switch wait {
	case waitRoute, waitPrimary:
		l.follow(c, l.decide)
	case waitTicket:
		l.follow(c, l.awaitTicket)
	case waitOutcome:
		l.inquired(c)
	case waitReading:
		l.follow(c, l.lease)
	case waitAgain:
		l.follow(c, l.begin)
	case waitLease, waitHeard:
		c.wait = wait // it stays in the queue
	}
}

// follow steps with the event that f has for c, if it has one.
func (l *Loop) follow(c *Client, f func(*Client) (client.Event, bool)) {
	ev, ok := f(c)
	if !ok {
		return
	}
	l.step(c, ev)
	l.settled(c)
}

// settled goes on with input that came while the machine was busy.
func (l *Loop) settled(c *Client) {
	if c.dead {
		return
	}
	l.input(c)
	if !c.dead && l.draining {
		l.drain(c)
	}
	if !c.dead {
		l.keep(&c.sock)
	}
}

// deadline handles the client's timer.
func (l *Loop) deadline(c *Client) {
	switch c.wait {
	case waitTicket:
		c.wait = waitNothing
		ev := client.Event{Kind: client.TicketReady, Data: c.in}
		var ok bool
		// A token that waited is judged by what is known until now.
		if ev.Floor, ok = l.cfg.Router.Await(c.m.Request(), c.m.TicketGen(), c); !ok {
			l.cfg.Router.Cancel(c.m.Request())
			ev.Report = &wire.Report{
				Severity: "ERROR", Code: sqlstate.CannotConnectNow,
				Message: "the primary does not tell its position", Hint: "See SHOW NODES in the pgroute database.",
			}
		}
		c.seq++
		l.step(c, ev)
		l.settled(c)
	case waitLease:
		l.leaseDue(c)
	case waitHeard:
		l.heardTimeout(c)
	case waitOutcome:
		l.inquiryDue(c)
	case waitNothing:
		switch {
		case c.closed:
			l.gone(c)
		case c.m.Begun(c.in) && !c.holds():
			l.step(c, client.Event{Kind: client.Hesitates, Data: c.in})
			l.settled(c)
		}
	default:
		l.again(c)
	}
}

// cancel carries out a cancel request of the client.
func (l *Loop) cancel(c *Client, done chan<- struct{}) {
	if s := c.server; !c.dead && s != nil && c.m.Running() {
		s.cancels++
		l.group.sendCancel(l, s, done)
		return
	}
	if done != nil {
		defer close(done)
	}
	if !c.dead && c.m.Waiting() {
		l.unwait(c)
		l.step(c, client.Event{Kind: client.Cancel, Data: c.in})
		l.settled(c)
	}
}

// unwait takes back whatever the client waits for.
func (l *Loop) unwait(c *Client) {
	if c.wait == waitOutcome {
		l.withdraw(c)
	}
	if c.wait != waitNothing && c.wait != waitLease && c.wait != waitHeard && c.wait != waitOutcome {
		l.cfg.Router.Cancel(c.m.Request())
	}
	if c.wait == waitLease && c.pool != nil {
		l.leave(c)
	}
	if c.wait == waitHeard {
		l.unhear(c)
	}
	c.wait, c.timer, c.since = waitNothing, 0, time.Time{}
	c.seq++
}

// gone ends a client: its socket is closed and what it held is given up.
func (l *Loop) gone(c *Client) {
	if c.dead {
		return
	}
	l.unwait(c)
	l.leaveHome(c)
	l.unsubscribeAll(c)
	if s := c.server; s != nil {
		if c.m.Idle() && s.cancels == 0 && s.queued() == 0 {
			c.server = nil
			l.unlend(s)
			c.disown(s) // it is cleaned once
			l.clean(s)
		} else {
			l.destroy(c)
		}
	}
	for _, s := range c.kept {
		if s != c.server && !s.dead {
			s.owner = nil
			l.clean(s)
		}
	}
	c.kept = nil
	c.m.Leave()
	l.finish(&c.sock)
	// FIN before the data that the client still sends makes it a reset.
	shutdownFD(c.fd)
	l.shut(&c.sock)
	l.clients--
	l.group.left(c)
}

// drain closes a client that is between two transactions.
func (l *Loop) drain(c *Client) {
	if c.m.Idle() && !c.m.InTransaction() && !c.closed {
		b := wire.AppendReport(nil, &wire.Report{Severity: "FATAL", Code: sqlstate.AdminShutdown,
			Message: "terminating connection due to administrator command", Hint: "pgroute is shutting down."})
		if l.send(&c.sock, b); c.queued() == 0 {
			l.gone(c)
			return
		}
		c.closed = true
		l.arm(c, l.env.Now.Add(closeWait))
	}
}
