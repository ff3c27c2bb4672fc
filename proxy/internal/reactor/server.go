package reactor

import (
	"time"

	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// server is one backend connection of a loop.
type server struct {
	backend.State
	sock
	pool   *pool
	client *Client // who has leased it
	owner  *Client // whose it is for life, in pool mode session
	idleAt time.Time
	born   time.Time
	spread uint8 // how many thousandths of its lifetime it does not reach
	// cancels counts cancel requests on their way: until they have been
	// delivered nobody else may run anything here.
	cancels  int
	parked   bool // given back while a cancel request was on its way
	cleaning bool // waits for the answer to what cleans it
}

// serverEvent handles what epoll says of a backend's socket.
func (l *Loop) serverEvent(s *server, ev uint32) {
	if ev&evOut != 0 {
		if !l.flush(&s.sock) {
			l.serverGone(s)
			return
		}
		if c := s.client; c != nil && s.queued() < lowWater {
			l.resume(&c.sock)
		}
	}
	if ev&(evIn|evErr) == 0 || s.dead || s.paused && ev&evErr == 0 {
		return
	}
	n, ok := l.fill(&s.sock)
	if !ok {
		if len(s.in) > 0 && s.client != nil {
			l.feed(s)
		}
		if !s.dead {
			l.serverGone(s)
		}
		return
	}
	if n == 0 {
		return
	}
	l.feed(s)
	if !s.dead {
		l.keep(&s.sock)
	}
}

// feed gives what a backend has sent to whom it belongs.
func (l *Loop) feed(s *server) {
	c := s.client
	if c == nil {
		l.unsolicited(s)
		return
	}
	if c.home == s {
		l.whileParked(s)
		return
	}
	l.step(c, client.Event{Kind: client.BackendBytes, Data: s.in, Input: len(c.in)})
	if !s.dead && s.client == nil && len(s.in) > 0 {
		l.unsolicited(s)
	}
	if !c.dead && (l.draining || c.m.WantsInput() && (len(c.in) > 0 || c.inBase != nil)) {
		l.settled(c)
	}
}

// unsolicited handles what an unleased backend sends: the answer to what
// cleans it, and messages that no one asked for.
func (l *Loop) unsolicited(s *server) {
	for {
		typ, total, ok := wire.Header(s.in)
		if !ok || total > len(s.in) || total < wire.HeaderLen {
			if ok && (total > readChunk || total < wire.HeaderLen) {
				l.drop(s)
			}
			return
		}
		body := s.in[wire.HeaderLen:total]
		switch typ {
		case 'S':
			if name, rest, ok := wire.CString(body); ok && string(name) == "in_hot_standby" && !s.Primary {
				if v, _, _ := wire.CString(rest); string(v) == "off" {
					s.Node.KickReplay()
				}
			}
		case 'N', 'A', 'C', '1', '2', '3', 'n', 'T', 'D', 't':
		case 'Z':
			if len(body) == 1 {
				s.Tx = body[0]
			}
			s.consume(total)
			if len(body) != 1 || !s.cleaning || s.Tx != 'I' {
				l.drop(s)
				return
			}
			l.cleaned(s)
			return
		default: // an error: the server ends the connection, or the cleaning failed
			l.drop(s)
			return
		}
		s.consume(total)
	}
}

// serverGone handles the end of a backend's connection.
func (l *Loop) serverGone(s *server) {
	c := s.client
	if c != nil && c.home == s {
		l.homeGone(c, s)
		return
	}
	l.drop(s)
	if c == nil {
		return
	}
	c.server = nil
	switch c.wait {
	case waitNothing, waitTicket, waitHeard: // what comes does not depend on the backend
	default:
		l.unwait(c) // for the floor of a statement in a transaction there
	}
	l.step(c, client.Event{Kind: client.BackendGone, Data: c.in})
	l.settled(c)
}

// drop closes a backend that nobody uses.
func (l *Loop) drop(s *server) {
	if s.dead {
		return
	}
	l.unlend(s)
	if o := s.owner; o != nil {
		o.disown(s)
	}
	l.shut(&s.sock) // before somebody else may open one
	s.pool.forget(l, s)
}

// destroy closes the backend that the client has leased.
func (l *Loop) destroy(c *Client) {
	if s := c.server; s != nil {
		c.server = nil
		l.drop(s)
		l.resume(&c.sock)
	}
}

// release gives the client's backend back.
func (l *Loop) release(c *Client) {
	s := c.server
	if s == nil {
		return
	}
	c.server = nil
	l.unlend(s)
	l.resume(&c.sock)
	if l.cfg.SessionPool {
		l.resume(&s.sock)
		if s.owner == nil {
			s.owner = c
			c.kept = append(c.kept, s)
		}
		return
	}
	l.giveBack(s)
}

// giveBack makes a backend that is idle and in a known state available.
func (l *Loop) giveBack(s *server) {
	l.resume(&s.sock)
	if s.cancels > 0 {
		s.parked = true
		return
	}
	s.pool.put(l, s)
}

// canceled notes that a cancel request has been delivered.
func (l *Loop) canceled(s *server) {
	s.cancels--
	if s.dead || s.cancels > 0 {
		return
	}
	if c := s.client; c != nil && c.server == s {
		l.settled(c)
		return
	}
	if !s.parked {
		return
	}
	s.parked = false
	s.pool.put(l, s)
}

// clean makes a backend whose client has left usable for others.
func (l *Loop) clean(s *server) {
	sql := "DISCARD ALL"
	switch {
	case s.Tx == 'I' && !s.Tainted && !s.Pinned && s.Settings != nil:
		l.giveBack(s)
		return
	case s.Tx != 'I' && !s.Tainted && !s.Pinned && s.Settings != nil:
		sql = "ROLLBACK"
	case s.Tx != 'I':
		l.drop(s)
		return
	default:
		s.ForgetAll()
		s.Settings, s.Sequences = nil, 0
	}
	s.cleaning = true
	if !l.send(&s.sock, wire.AppendQuery(nil, sql)) {
		l.drop(s)
	}
}

// cleaned takes a backend back after clean.
func (l *Loop) cleaned(s *server) {
	s.cleaning = false
	s.Tainted, s.Pinned = false, false
	s.Unnamed = 0
	if s.Settings == nil {
		s.Settings = l.env.Settings.Empty()
	}
	l.giveBack(s)
}

// topologyChanged looks at every backend after the topology has changed.
func (l *Loop) topologyChanged() {
	era := l.cfg.Router.Topology().Era()
	for i := range l.slots {
		s := l.slots[i].b
		if s == nil || s.dead || !s.Former(era) {
			continue
		}
		// It was dialled to an earlier primary: it takes no write any more (I6).
		l.serverGone(s)
	}
	for _, t := range l.tenants {
		for _, p := range t.pools {
			if p != nil {
				l.reconsider(p)
			}
		}
	}
	for i := 0; i < len(l.former); i++ { // it may grow meanwhile
		l.reconsider(l.former[i])
	}
	waiting := l.homeless
	l.homeless = nil
	for _, c := range waiting {
		c.homeless = false
		if !c.dead && c.wait == waitPrimary {
			l.again(c)
		}
	}
}

// disown forgets a backend that was the client's for life.
func (c *Client) disown(s *server) {
	s.owner = nil
	for i, k := range c.kept {
		if k == s {
			c.kept = append(c.kept[:i], c.kept[i+1:]...)
			return
		}
	}
}

func (l *Loop) closeServers() {
	for i := range l.slots {
		if s := l.slots[i].b; s != nil {
			l.send(&s.sock, wire.AppendTerminate(nil))
			l.drop(s)
		}
	}
}
