package reactor

import (
	"maps"
	"slices"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/listener"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// ear is a database's shared listener as a loop sees it: which of its clients
// listens to what, and what it was told. Only the loop touches it.
type ear struct {
	hub      *listener.Hub
	member   *listener.Member
	channels map[string][]*Client
	clients  map[*Client]int // how many channels each has
	// done is the highest generation that is done, up whether the connection
	// stood then.
	done    uint64
	up      bool
	waiting []*Client
}

// maxUnread bounds what is queued for a client that does not read, beyond
// which its notifications are dropped.
const maxUnread = 1 << 20

// subscribe carries out Listen.
func (l *Loop) subscribe(c *Client) {
	hub := c.login.Hub
	for _, s := range c.m.Subscriptions() {
		e := c.ear
		if e == nil {
			if !s.On || hub == nil {
				continue
			}
			e = l.ear(hub)
			c.ear = e
		}
		if s.On {
			if len(e.channels[s.Channel]) == 0 && !hub.Listen(s.Channel) {
				c.deaf = true // awaitHeard tells it
				continue
			}
			e.channels[s.Channel] = append(e.channels[s.Channel], c)
			e.clients[c]++
			l.group.listeners.Add(1)
			c.generation = hub.Ask()
		} else {
			l.unsubscribe(c, s.Channel)
		}
	}
	l.leaveEar(c)
}

// ear returns the loop's view of a hub.
func (l *Loop) ear(hub *listener.Hub) *ear {
	e := l.ears[hub]
	if e == nil {
		e = &ear{hub: hub, channels: make(map[string][]*Client), clients: make(map[*Client]int)}
		e.member = hub.Join(func(b *listener.Batch) {
			l.post(mail{kind: mailCall, fn: func() { l.hear(e, b) }})
		})
		l.ears[hub] = e
	}
	return e
}

// unsubscribe takes one channel of the client back.
func (l *Loop) unsubscribe(c *Client, channel string) {
	e := c.ear
	list := e.channels[channel]
	i := slices.Index(list, c)
	if i < 0 {
		return
	}
	list[i] = list[len(list)-1]
	list[len(list)-1] = nil
	list = list[:len(list)-1]
	l.group.listeners.Add(-1)
	if len(list) == 0 {
		delete(e.channels, channel)
		e.hub.Unlisten(channel)
	} else {
		e.channels[channel] = list
	}
	e.clients[c]--
	l.leaveEar(c)
}

// leaveEar takes the client off its ear if it has no channel any more.
func (l *Loop) leaveEar(c *Client) {
	e := c.ear
	if e == nil || e.clients[c] > 0 {
		return
	}
	delete(e.clients, c)
	c.ear = nil
	if len(e.clients) == 0 {
		delete(l.ears, e.hub)
		e.member.Leave()
	}
}

// unsubscribeAll takes all channels of a client back that leaves.
func (l *Loop) unsubscribeAll(c *Client) {
	c.m.EachChannel(func(channel string) {
		if c.ear != nil {
			l.unsubscribe(c, channel)
		}
	})
	if c.ear == nil {
		return
	}
	// It ends before it was carried out that it has left a channel.
	for _, channel := range slices.Collect(maps.Keys(c.ear.channels)) {
		if l.unsubscribe(c, channel); c.ear == nil {
			return
		}
	}
}

// ask carries out Hear.
func (l *Loop) ask(c *Client) {
	if c.ear != nil {
		c.generation = c.ear.hub.Ask()
	}
}

// awaitHeard waits until what the client has asked for is done. Without a
// connection there is nothing to wait for but a new one, which only LISTEN
// does.
func (l *Loop) awaitHeard(c *Client) (client.Event, bool) {
	e := c.ear
	switch {
	case c.deaf:
		c.deaf = false
		return client.Event{Kind: client.Heard, Report: &wire.Report{Severity: "ERROR", Code: sqlstate.ProgramLimitExceeded,
			Message: "too many channels are listened to in this database"}}, true
	case e == nil, c.generation <= e.done, !e.up && !c.m.Subscribes():
		return client.Event{Kind: client.Heard}, true
	}
	c.seq++ // no late wake of the router's is meant
	c.wait = waitHeard
	e.waiting = append(e.waiting, c)
	l.arm(c, l.env.Now.Add(l.cfg.PrimaryWait))
	return client.Event{}, false
}

// unhear ends the wait for the shared listener.
func (l *Loop) unhear(c *Client) {
	if e := c.ear; e != nil {
		e.waiting = slices.DeleteFunc(e.waiting, func(x *Client) bool { return x == c })
	}
}

// hear takes what the hub says.
func (l *Loop) hear(e *ear, b *listener.Batch) {
	defer e.member.Taken(b)
	for i := range b.Notes {
		n := &b.Notes[i]
		// A client that is told may leave, which changes the list.
		l.told = append(l.told[:0], e.channels[n.Channel]...)
		for _, c := range l.told {
			l.notify(c, n.Frame)
		}
	}
	clear(l.told)
	if b.Missed {
		for c := range e.clients {
			l.listenStep(c, client.Event{Kind: client.Missed})
		}
	}
	if b.Down {
		e.up = false
	}
	if b.Done > e.done {
		e.done, e.up = b.Done, true
	}
	if b.Done == 0 && !b.Down {
		return
	}
	waiting := e.waiting
	e.waiting = nil
	for _, c := range waiting {
		switch {
		case c.dead || c.wait != waitHeard:
		case c.generation <= e.done || !e.up && !c.m.Subscribes():
			c.wait, c.timer = waitNothing, 0
			l.listenStep(c, client.Event{Kind: client.Heard})
		default:
			e.waiting = append(e.waiting, c)
		}
	}
}

// notify gives a notification to a client, unless it does not read.
func (l *Loop) notify(c *Client, frame []byte) {
	ev := client.Event{Kind: client.Notified, Data: frame}
	if c.queued() > maxUnread {
		ev = client.Event{Kind: client.Overheard}
	}
	l.listenStep(c, ev)
}

// listenStep is step for an event of the shared listener.
func (l *Loop) listenStep(c *Client, ev client.Event) {
	if c.dead || c.closed {
		return
	}
	l.step(c, ev)
	if ev.Kind == client.Heard {
		l.settled(c)
	}
}

// heardTimeout ends the wait for the shared listener.
func (l *Loop) heardTimeout(c *Client) {
	c.wait = waitNothing
	l.unhear(c)
	ev := client.Event{Kind: client.Heard}
	if c.m.Subscribes() {
		ev.Report = &wire.Report{Severity: "ERROR", Code: sqlstate.CannotConnectNow,
			Message: "there is no connection to the primary that could listen", Hint: "See SHOW NODES in the pgroute database."}
	}
	l.listenStep(c, ev)
}
