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

// lend finds a lease for the machine's decision.
func (l *loop) lend(c *peer) (client.Event, bool) {
	d := c.m.Decision()
	r := l.w.r
	if backend.Outdated(r, d) {
		l.w.cover.outdated++
		if c.m.Writes() {
			return l.decide(c)
		}
		return client.Event{Kind: client.LeaseFailed, Data: c.in, Again: true, Elsewhere: d.Role == router.RoleReplica,
			Report: outOfService(d.Node)}, true
	}
	p := l.pools[d.Node.Port]
	retry, young := false, uint64(0)
	for i := len(p.idle) - 1; i >= 0; i-- {
		s := p.idle[i]
		ok, again := s.Serves(r, d)
		if ok {
			p.idle = slices.Delete(p.idle, i, i+1)
			return l.give(c, s), true
		}
		if again && !retry {
			retry, young = true, s.Dialed
		}
		if !again && (d.Role == router.RolePrimary || s.Primary || !s.Node.Eligible() && s.Node.Role() != router.RoleReplica) {
			l.drop(s)
		}
	}
	if retry {
		q := c.m.Request()
		c.seq++
		q.Seq = c.seq
		if !r.AwaitReading(q, d.Node, young, c) {
			l.w.cover.readings++
			c.wait = waitReading
			l.arm(c, l.now().Add(max(q.Wait, 50*time.Millisecond)))
			return client.Event{}, false
		}
		return client.Event{Kind: client.LeaseFailed, Data: c.in, Again: true, Report: outOfService(d.Node)}, true
	}
	p.queue = append(p.queue, c)
	c.wait, c.pool = waitLease, p
	l.arm(c, l.now().Add(leaseWait))
	l.growFor(p, d.Node)
	return client.Event{}, false
}

func outOfService(n *router.Node) *wire.Report {
	return &wire.Report{Severity: "ERROR", Code: sqlstate.ConnectionFailure, Message: "node " + n.Name + " is out of service"}
}

func (l *loop) give(c *peer, s *lease) client.Event {
	s.peer, c.lease = c, s
	l.leave(c)
	c.wait = waitNothing
	c.timer++
	return client.Event{Kind: client.Leased, Data: c.in, Backend: &s.State}
}

// grow dials for those who wait.
func (l *loop) grow(p *pool) {
	if len(p.queue) > 0 {
		l.growFor(p, p.queue[0].m.Decision().Node)
	}
}

func (l *loop) growFor(p *pool, n *router.Node) {
	for p.dialing < len(p.queue) && p.size+p.dialing < poolSize {
		p.dialing++
		l.dial(p, n)
	}
}

var (
	errRefused  = errors.New("connection refused")
	errSilent   = errors.New("the server did not answer in time")
	errNotAsOne = errors.New("the server is not what the topology took it for")
)

// dial opens a connection as reactor.Dial does: connect, take the number of the
// last reading, let the server prove what it is.
func (l *loop) dial(p *pool, n *router.Node) {
	w := l.w
	s := w.servers[n.Port]
	l.dials++
	d := roll(w.seed, 3, uint64(s.i), l.dials)
	era := w.r.Topology().Era()
	replica := n.Role() != router.RolePrimary
	trip := func() time.Duration { return time.Duration(50_000 + d.n(300_000)) }
	ended := false
	end := func(b *lease, err error) {
		if ended {
			return
		}
		ended = true
		n.Report(err)
		w.after(1000, func() { l.dialled(p, n, b, err) })
	}
	w.after(dialSlow, func() {
		if !ended {
			n.Doubt()
		}
	})
	w.after(dialLimit, func() { end(nil, errSilent) })
	w.after(trip(), func() {
		if s.cut || s.frozen {
			return // nobody answers
		}
		if !s.up {
			end(nil, errRefused)
			return
		}
		life := s.life
		w.after(trip(), func() {
			asked := n.Asked()
			w.after(trip(), func() {
				if s.cut || s.frozen || ended {
					return
				}
				if s.life != life || !s.up {
					end(nil, errRefused)
					return
				}
				b := &lease{pool: p}
				b.State = backend.State{Node: n, Primary: !s.standby, Era: era, Dialed: asked, Own: s.reported, Settings: l.env.Settings.Empty(), Tx: 'I',
					Captures: !s.standby}
				if s.standby != replica || s.postmaster != n.PostmasterStart() {
					end(nil, errNotAsOne)
					return
				}
				if b.Primary {
					b.Own = 0
				}
				w.connections++
				b.conn = &conn{w: w, s: s, be: b, dice: roll(w.seed, 4, uint64(s.i), l.dials), replica: replica, turn: s.turn, tx: 'I', serverUp: true, proxyUp: true,
					name: connName(s, w.connections)}
				s.conns = append(s.conns, b.conn)
				w.after(trip(), func() {
					if ended || !b.conn.serverUp {
						end(nil, errRefused)
						return
					}
					end(b, nil)
				})
			})
		})
	})
}

// dialled takes the outcome of a dial.
func (l *loop) dialled(p *pool, n *router.Node, b *lease, err error) {
	p.dialing--
	if err == nil && !b.conn.serverUp {
		err = errRefused
	}
	if err == nil {
		p.size++
		l.leases = append(l.leases, b)
		p.idle = append(p.idle, b)
		l.w.tracef("proxy", "has connected to %s, %s", n.Name, b.conn.name)
		l.serveNext(p)
		return
	}
	l.w.cover.failedDials++
	r := &wire.Report{Severity: "ERROR", Code: sqlstate.ConnectionFailure, Message: "cannot connect to the server", Detail: err.Error()}
	for _, c := range slices.Clone(p.queue) {
		if c.pool != p {
			continue
		}
		l.leave(c)
		c.wait = waitNothing
		if c.m.Writes() || c.m.Decision().Role == router.RolePrimary {
			if c.until.IsZero() {
				c.until = l.now().Add(primaryWait)
			}
			if l.now().Before(c.until) {
				c.m.Decision().Done()
				c.wait = waitRoute
				l.arm(c, l.now().Add(50*time.Millisecond))
				continue
			}
		}
		l.step(c, client.Event{Kind: client.LeaseFailed, Data: c.in, Report: r, Elsewhere: true})
		l.settled(c)
	}
}
