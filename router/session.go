package router

import (
	"sync"
	"sync/atomic"
	"time"
)

// Session is what the clients of one scope share: the highest ticket of any of
// their writes, and the tokens that were accepted for them. In a proxy that is
// one Session per database, in a service often one per request of an end user
// (see WithSession). It is safe for concurrent use, and belongs to the Router
// that it is first used with: tickets of one cluster say nothing in another.
type Session struct {
	owner atomic.Pointer[Router]
	gen   atomic.Uint64
	token atomic.Pointer[tokenFloor]
	// sight counts what the session saw and the primary is not known to show;
	// shown is how much of that it has been found to show. See Chain.sight.
	sight, shown atomic.Uint64
	// writes is what Acknowledged was told.
	writes ledger

	mu sync.Mutex // guards the fields below
	// chain is what Borrow lends, nil before its first use.
	chain *Chain
	lent  bool
	// strayed: while chain was lent, something was seen that it does not know.
	strayed bool
	// sighted: some of that was seen on a replica.
	sighted bool
}

// NewSession returns a session in which nothing was written yet.
func NewSession() *Session { return new(Session) }

// NewSession is NewSession for a session that belongs to r from the beginning.
func (r *Router) NewSession() *Session {
	s := new(Session)
	s.owner.Store(r)
	return s
}

// Join makes s a session of r unless it is one of another router's, and reports
// whether it is r's now. Every use with a router does that by itself.
func (s *Session) Join(r *Router) bool {
	if owner := s.owner.Load(); owner != nil {
		return owner == r
	}
	return s.owner.CompareAndSwap(nil, r) || s.owner.Load() == r
}

// Ticket returns the highest ticket of the session's writes, 0 if there were
// none. Writes that one position of the primary covers share a ticket.
func (s *Session) Ticket() uint64 { return s.gen.Load() }

// Wrote notes a write of a client that has no chain. It must be called before
// anybody can see that the write is done (I1). A write by another router than
// the session's own does not concern it.
func (s *Session) Wrote(r *Router) {
	if mutantNoTicket() || !s.Join(r) {
		return
	}
	raise(&s.gen, r.Ticket())
}

// Borrow returns the session's own chain to one goroutine, for one read, one
// write or one transaction; hand it to Return afterwards. What is read through
// it one after the other never goes backwards, as for a client of its own.
// While it is lent, others get a new chain that starts from now, and so does
// who comes with another router than the session's own, always.
func (s *Session) Borrow(r *Router) *Chain {
	if !s.Join(r) {
		c := new(Chain)
		c.Init(r, nil, true)
		return c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lent {
		c := new(Chain)
		c.Init(r, s, true)
		return c
	}
	if s.chain == nil {
		s.chain = new(Chain)
		s.chain.Init(r, s, false)
	}
	s.lent = true
	return s.chain
}

// Return takes back a chain that Borrow lent.
func (s *Session) Return(c *Chain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c == s.chain:
		s.lent = false
	case c.s == s:
		s.strayed = true
		s.sighted = s.sighted || !c.sight.none()
	default:
		return
	}
	if s.strayed && !s.lent {
		s.chain.loose, s.strayed = true, false
		s.chain.sight.loose = s.chain.sight.loose || s.sighted
		s.sighted = false
	}
}

// settled returns the ticket that covers all that the session wrote and saw
// through Borrow, and false if there is none yet.
func (s *Session) settled() (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.chain; s.lent || s.strayed || c != nil && (c.dirty || c.loose) {
		return 0, false
	}
	gen := s.gen.Load()
	return gen, gen != 0 && s.token.Load() == nil
}

// raiseToken raises the floor of all clients of the session.
func (s *Session) raiseToken(f Floor) {
	for {
		old := s.token.Load()
		var next tokenFloor
		if old != nil {
			next = *old
		}
		next.raise(f)
		if s.token.CompareAndSwap(old, &next) {
			s.sight.Add(1) // the token's giver may have seen it on a replica
			return
		}
	}
}

// Chain is the causal chain of one client: what it wrote and what it saw. It
// belongs to one goroutine at a time and is not copied after Init; other methods
// may be called only after that. A Session lends chains that need no Init
// (Session.Borrow). No method blocks, takes a lock or allocates.
//
// Every client tells its chain what it did: Wrote, SawReplica, SawPrimary. What
// else there is concerns a proxy, or who does as much as one:
//
//   - what the client was told beside answers: Notified, RaiseToken, Ticket;
//   - whose writes it sees: SetScope, CatchUp;
//   - writes that may be lost: Writing before each, Acknowledged after Wrote, and
//     Fate between two transactions;
//   - COMMITs whose answer may be lost: Committing before each, Resolved once it
//     is known what became of it (Router.Inquire);
//   - reads in a transaction on the primary, which are not decided: Owes.
type Chain struct {
	r     *Router
	s     *Session
	scope Scope

	// A ticket covers everything that was acknowledged, or shown anywhere, before
	// it was taken. So the chain's past is described by one ticket (own), and
	// by where it has been since then (dirty and loose).

	// own is the highest ticket that this client's reads must see.
	own uint64
	// token is the floor of the tokens that the client was given.
	token tokenFloor

	// last is the replica that was read at last, lastConn its monitor's
	// connection before that read.
	last     *Node
	lastConn uint64
	// left is when the client last tried to leave last for a better one.
	left time.Time
	// dirty: the client saw something at last since own was taken. Reading on
	// there is never a step back, reading elsewhere needs a ticket.
	dirty bool
	// loose: the client saw something since own was taken that last does not
	// cover either, at the primary or at a replica it came from freely.
	loose bool

	// sight is what the client saw on replicas and the primary may still hide.
	sight sight

	// sent is where a write that was not acknowledged yet may lie, acked where
	// the last one that was.
	sent, acked bracket

	// next is what the last decision was, for SawReplica.
	next struct {
		node *Node
		conn uint64
		// own is the ticket that node covers. proper is true if node covers
		// everything the client had seen, stay if that is so only because the
		// client was there before.
		own          uint64
		proper, stay bool
		// covers is true if node has replayed all that the client saw.
		covers bool
	}
	rnd uint64
}

// Init makes c the chain of a new client in session s, which may be nil. With
// connectTicket the client starts from now: it sees at least what was
// acknowledged before it came. Without, it starts from nothing.
func (c *Chain) Init(r *Router, s *Session, connectTicket bool) {
	*c = Chain{r: r, s: s, rnd: r.seed()}
	if connectTicket && !mutantNoConnectTicket() {
		c.own = r.Ticket()
	}
}

// SetScope changes whose writes the client's reads must see. Its own writes
// are seen by the session's other clients in any scope.
func (c *Chain) SetScope(s Scope) { c.scope = s }

// Wrote notes that a cycle that may have written has ended. It must be called
// before the client can see the ReadyForQuery of that cycle (I1).
func (c *Chain) Wrote() {
	if mutantNoTicket() {
		return
	}
	c.raise(c.r.Ticket(), true)
}

// Notified notes that a notification is about to be forwarded to the client.
// It must be called before the client can see it.
func (c *Chain) Notified() {
	if mutantNoNotifyTicket() {
		return
	}
	c.raise(c.r.Ticket(), true)
}

// Ticket takes a ticket for what the client has written and seen so far and
// returns it: a position that covers it is what the client may hand to others.
func (c *Chain) Ticket() uint64 {
	gen := c.r.Ticket()
	c.raise(gen, false)
	return gen
}

// SawPrimary notes that a cycle ran on the primary that cannot have written
// anything. It takes no ticket; the next move to a replica will.
func (c *Chain) SawPrimary() {
	c.loose = true
	c.next.proper = false
	c.sawSession()
}

// SawReplica notes that a read has ended on n. It may be called again for
// later reads of the same transaction.
func (c *Chain) SawReplica(n *Node) {
	c.sighted(n)
	next := &c.next
	switch {
	case next.proper && next.node == n && next.stay:
	case next.proper && next.node == n:
		c.own = max(c.own, next.own)
		c.last, c.lastConn, c.loose = n, next.conn, false
	case !c.dirty && !c.loose:
		// Nothing was seen before. That the server is still the same is not
		// known, so the next read will not take it for granted.
		c.last, c.lastConn = n, 0
	default:
		// A free move: what was seen before is not covered here.
		c.last, c.lastConn, c.loose = n, 0, true
	}
	c.dirty = true
	next.stay = true
	if c.s != nil && c.r.cfg.Monotonic == MonotonicSession {
		c.s.sight.Add(1)
	}
	c.sawSession()
}

// sawSession raises the session's floor by what was just seen, where reads
// must not go backwards across the session.
func (c *Chain) sawSession() {
	if c.r.cfg.Monotonic == MonotonicSession {
		c.raise(c.r.Ticket(), true)
	}
}

// raise makes gen, which was just taken, the ticket that stands for the
// client's past, and for the session's if shared.
func (c *Chain) raise(gen uint64, shared bool) {
	c.own = max(c.own, gen)
	c.dirty, c.loose = false, false
	if shared && c.s != nil {
		raise(&c.s.gen, gen)
	}
}

// CatchUp raises c's floor to that of o, a chain of the same client: what o
// wrote and was given, not what it saw.
func (c *Chain) CatchUp(o *Chain) {
	c.own = max(c.own, o.own)
	c.token.add(&o.token)
}

// RaiseToken raises the floor of this client by that of a token; see
// Router.TokenFloor.
func (c *Chain) RaiseToken(f Floor) {
	c.token.raise(f)
	c.sight.loose = c.sight.loose || c.r.cfg.Monotonic != MonotonicOff // the token's giver may have seen it on a replica
}

// random returns the next number of a xorshift generator.
func (c *Chain) random() uint64 {
	x := c.rnd
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	c.rnd = x
	return x
}
