package reactor

import (
	"bytes"

	"github.com/pgroute/pgroute/proxy/internal/client"
)

// A client that is pinned to a backend may read on another one. For as long as
// that takes the first is parked: it stays lent to the client, and what it
// sends waits.

// park lays the client's backend aside.
func (l *Loop) park(c *Client) { c.home, c.server = c.server, nil }

// unpark takes it back.
func (l *Loop) unpark(c *Client) {
	c.home, c.server = nil, c.home
	if s := c.server; s != nil {
		c.back = len(s.in) > 0
		l.resume(&s.sock)
	}
}

// handleBack gives the client's machine what its backend has sent while it was
// parked.
func (l *Loop) handleBack(c *Client) {
	if !c.back || c.dead {
		return
	}
	c.back = false
	if s := c.server; s != nil && len(s.in) > 0 {
		l.feed(s)
		if !s.dead {
			l.keep(&s.sock)
		}
	}
}

// whileParked lets what a parked backend has sent wait.
func (l *Loop) whileParked(s *server) {
	if len(s.in) > readChunk {
		l.pause(&s.sock)
	}
}

// homeGone handles the end of a parked backend's connection.
func (l *Loop) homeGone(c *Client, s *server) {
	said := bytes.Clone(s.in)
	c.home = nil
	l.drop(s)
	l.step(c, client.Event{Kind: client.HomeGone, Data: said})
	l.settled(c)
}

// leaveHome gives the parked backend up when its client leaves.
func (l *Loop) leaveHome(c *Client) {
	s := c.home
	if s == nil {
		return
	}
	c.home = nil
	if s.cancels > 0 || s.queued() > 0 || len(s.in) > 0 {
		l.drop(s)
		return
	}
	l.unlend(s)
	c.disown(s) // it is cleaned once
	l.clean(s)
}

// sequenced returns the idle backend that knows what the client asks of
// sequences, nil if there is none. It is not idle any more then.
func (l *Loop) sequenced(c *Client, p *pool) *server {
	want := c.m.Sequenced()
	if want == nil {
		return nil
	}
	for i, s := range p.idle {
		if &s.State != want {
			continue
		}
		if ok, _ := l.usable(s, c.m.Decision()); ok {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return s
		}
	}
	return nil
}
