package reactor

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/auth"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
	"github.com/pgroute/pgroute/proxy/internal/listener"
	"github.com/pgroute/pgroute/router"
)

// Login is a client that has proven who it is. It is not changed.
type Login struct {
	User         string
	DatabaseName string
	// Keys log in to the servers, nil where they trust us.
	Keys *auth.Keys
	// Settings are those of the startup packet. Values are SQL source.
	Settings []handshake.Param
	Database client.Database
	// Hub is the database's shared listener.
	Hub     *listener.Hub
	Session *router.Session
	Policy  client.Policy
	// Reported is what a server reported to such a login.
	Reported []handshake.Param
	// Security is how the servers are spoken to, nil in the clear.
	Security *backend.Security
	// Rebased is Policy without what the startup packet asked for.
	Rebased client.Policy
	// Left is called once when its client has ended, from any goroutine. It may
	// be nil.
	Left func()
}

// Group is the loops of one process and what they share.
type Group struct {
	cfg   Config
	ctx   context.Context
	end   context.CancelFunc // ends ctx
	loops []*Loop
	next  atomic.Uint64
	dials chan struct{}  // bounds concurrent dials
	wg    sync.WaitGroup // the loops
	cold  sync.WaitGroup // dials and cancel requests

	clients atomic.Int64
	// listeners counts the channels of all clients on shared listeners.
	listeners atomic.Int64
	keys      sync.Map // uint32 → *Client, for cancel requests
	lastKey   atomic.Uint32

	ledger *ledger
	began  time.Time // the zero of Loop.clock
	limits atomic.Pointer[Limits]
	waits  waitStats
}

// NewGroup returns n loops that are not running yet.
func NewGroup(ctx context.Context, n int, cfg Config) (*Group, error) {
	cfg.fill()
	g := &Group{cfg: cfg, dials: make(chan struct{}, 32), ledger: newLedger(cfg.Limits), began: time.Now()}
	g.limits.Store(&cfg.Limits)
	g.ctx, g.end = context.WithCancel(context.WithoutCancel(ctx))
	for range max(n, 1) {
		l, err := newLoop(g, cfg)
		if err != nil {
			return nil, err
		}
		g.loops = append(g.loops, l)
	}
	return g, nil
}

// Run runs the loops until ctx is done and the clients have left.
func (g *Group) Run(ctx context.Context) {
	for _, l := range g.loops {
		g.wg.Add(1)
		go g.runLoop(ctx, l)
	}
	g.watchTopology(ctx)
	g.wg.Wait()
	g.end()
	g.cold.Wait()
}

// Close closes what was on its way to the loops when they ended. Nobody may
// use g any more.
func (g *Group) Close() {
	g.end()
	for _, l := range g.loops {
		for _, m := range l.take() {
			switch {
			case m.hello != nil:
				m.hello.Conn.Close()
			case m.kind == mailAdopt:
				closeFD(m.client.fd)
				g.left(m.client)
			}
		}
	}
}

func (g *Group) runLoop(ctx context.Context, l *Loop) {
	defer g.wg.Done()
	l.run(ctx)
}

// watchTopology tells the loops about every new topology, also while they
// drain.
func (g *Group) watchTopology(ctx context.Context) {
	ended := make(chan struct{})
	go g.waitLoops(ended)
	for {
		changed := g.cfg.Router.Topology().Changed()
		for _, l := range g.loops {
			l.post(mail{kind: mailTopology})
		}
		select {
		case <-changed:
		case <-ended:
			return
		}
	}
}

func (g *Group) waitLoops(ended chan<- struct{}) {
	for _, l := range g.loops {
		<-l.done
	}
	close(ended)
}

// NewClient makes a client before it is told its key: from then on it may be
// canceled.
func (g *Group) NewClient(login *Login, minor int) (c *Client, pid uint32, secret []byte) {
	l := g.loops[g.next.Add(1)%uint64(len(g.loops))]
	c = &Client{loop: l, login: login}
	n := 4
	if minor >= 2 {
		n = 32
	}
	c.secret = make([]byte, n)
	rand.Read(c.secret)
	for {
		c.pid = key(g.cfg.PeerID, g.lastKey.Add(1))
		if _, taken := g.keys.LoadOrStore(c.pid, c); !taken {
			break
		}
	}
	g.clients.Add(1)
	return c, c.pid, c.secret
}

// Adopt hands a client's socket to its loop, which owns it from now on.
func (g *Group) Adopt(c *Client, x Socket) {
	c.fd, c.tls = x.fd, x.tls
	c.loop.post(mail{kind: mailAdopt, client: c})
}

// Abandon forgets a client that was never adopted.
func (g *Group) Abandon(c *Client) { g.left(c) }

func (g *Group) left(c *Client) {
	g.keys.Delete(c.pid)
	g.clients.Add(-1)
	if c.login.Left != nil {
		c.login.Left()
	}
}

// Clients returns how many clients there are.
func (g *Group) Clients() int64 { return g.clients.Load() }

// Listeners returns how many channels clients have on shared listeners; a
// channel counts once for each client.
func (g *Group) Listeners() int64 { return g.listeners.Load() }

// Cancel carries out a cancel request. One with a wrong key is ignored, as by
// PostgreSQL. It returns once it can hit nothing that the client sends later: the
// end of the connection that brought it tells the client so.
func (g *Group) Cancel(pid uint32, secret []byte) {
	v, ok := g.keys.Load(pid | keyOurs)
	if !ok {
		return
	}
	c := v.(*Client)
	if subtle.ConstantTimeCompare(c.secret, secret) != 1 {
		return
	}
	done := make(chan struct{})
	c.loop.post(mail{kind: mailCancel, client: c, done: done})
	timer := time.NewTimer(g.cfg.DialTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-c.loop.done:
	case <-timer.C:
	}
}

// sendCancel delivers a cancel request to a backend on a cold goroutine.
// done, if it is not nil, is closed when that is over.
func (g *Group) sendCancel(l *Loop, s *server, done chan<- struct{}) {
	t := s.pool.tenant.login.target(s.Node)
	g.cold.Add(1)
	go g.cancelOnce(l, s, t, s.PID, s.Secret, done)
}

func (g *Group) cancelOnce(l *Loop, s *server, t backend.Target, pid uint32, secret []byte, done chan<- struct{}) {
	defer g.cold.Done()
	if done != nil {
		defer close(done)
	}
	ctx, cancel := context.WithTimeout(g.ctx, g.cfg.DialTimeout)
	defer cancel()
	if err := backend.Cancel(ctx, t, pid, secret); err != nil {
		g.cfg.Logger.Warn("cancel request", "node", t.String(), "error", err)
	}
	l.post(mail{kind: mailCanceled, server: s})
}

// EachStats calls f with the counters of every loop.
func (g *Group) EachStats(f func(*client.Stats)) {
	for _, l := range g.loops {
		f(l.env.Stats)
	}
}

// Rebase gives every client the policy that its user and database have now,
// but for what it has set itself.
func (g *Group) Rebase(policy func(user, database string) client.Policy) {
	for _, l := range g.loops {
		l.post(mail{kind: mailCall, fn: func() { l.rebase(policy) }})
	}
}

func (l *Loop) rebase(policy func(user, database string) client.Policy) {
	for i := range l.slots {
		if c := l.slots[i].c; c != nil {
			c.m.Rebase(policy(c.login.User, c.login.DatabaseName))
		}
	}
}

// Kill ends all clients at once. The group must be draining.
func (g *Group) Kill() {
	for _, l := range g.loops {
		l.post(mail{kind: mailCall, fn: l.kill})
	}
}

func (l *Loop) kill() {
	for i := range l.slots {
		if c := l.slots[i].c; c != nil {
			l.gone(c)
		}
	}
}
