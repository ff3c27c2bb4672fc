// Package reactor runs clients and backends on event loops. A loop is a
// single-threaded world: every socket, buffer and machine in it belongs to one
// goroutine, and nothing in the data plane takes a lock (I3). Other goroutines
// reach a loop through its mailbox only.
package reactor

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/listener"
	"github.com/pgroute/pgroute/proxy/internal/settings"
	"github.com/pgroute/pgroute/proxy/internal/tlsconn"
	"github.com/pgroute/pgroute/router"
)

// Config is what loops are made of. It is not changed while they run.
type Config struct {
	Router *router.Router
	Logger *slog.Logger
	// GatherLimit bounds a request that is looked at as a whole; 0 means
	// 64 KiB.
	GatherLimit int
	// Limits are those to begin with.
	Limits Limits
	// PeerID is the number of this proxy among its peers, up to MaxPeer.
	PeerID int
	// PrimaryWait is how long a statement waits for a primary while there is
	// none; 0 means 30 s.
	PrimaryWait time.Duration
	// DialTimeout bounds opening a connection; 0 means 10 s.
	DialTimeout time.Duration
	// SessionPool keeps one backend for a client's life.
	SessionPool bool
}

func (c *Config) fill() {
	setDefault(&c.GatherLimit, 64<<10)
	setDefault(&c.PrimaryWait, 30*time.Second)
	setDefault(&c.DialTimeout, 10*time.Second)
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Loop is one event loop.
type Loop struct {
	cfg   Config
	group *Group
	poll  *poller
	mail  mailbox
	taken []mail

	env     client.Env
	judged  router.Request // of reads in shadow mode
	effects client.Effects
	event   client.Event

	slots   []slot // by file descriptor
	scratch []byte
	sealed  []byte // the records of what was sealed last
	free    [][]byte

	tenants map[tenantKey]*tenant
	opens   func(*pool) // dial
	ears    map[*listener.Hub]*ear
	told    []*Client // of the notification that is at hand
	// ready are clients whose lease can be tried now.
	ready, spare []readyLease
	// homeless are clients that wait for a primary.
	homeless  []*Client
	timers    timers
	lastTimer uint64
	// tending is when the pools are looked after next, every pace at least;
	// former are pools of nodes that have gone, as long as they hold something.
	tending time.Time
	pace    time.Duration
	former  []*pool
	sentry  sentry

	// lent counts the leases, load is its moving average times 16; batch says
	// which scheduling class the thread has, since looked.
	lent, load int
	batch      bool
	looked     time.Time

	clients  int
	draining bool
	done     chan struct{}
}

// slot says whose a file descriptor is.
type slot struct {
	c *Client
	b *server
}

func newLoop(g *Group, cfg Config) (*Loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	l := &Loop{
		cfg: cfg, group: g, poll: p,
		scratch: make([]byte, cfg.GatherLimit+3*readChunk+tlsconn.Slack),
		tenants: make(map[tenantKey]*tenant),
		ears:    make(map[*listener.Hub]*ear),
		done:    make(chan struct{}),
		pace:    maxPace,
	}
	l.opens = l.dial
	l.env = client.Env{
		Router:      cfg.Router,
		Settings:    settings.NewInterner(4096),
		Statements:  client.NewStatements(4096),
		GatherLimit: cfg.GatherLimit,
		Stats:       new(client.Stats),
		// A client with a backend for its life listens there.
		SharedListen: !cfg.SessionPool,
	}
	l.env.Init()
	return l, nil
}

// run is the body of the loop. It ends after ctx is done and every client has
// left; then all backends are closed.
func (l *Loop) run(ctx context.Context) {
	// The loop keeps to one thread, whose scheduling class it sets; see yield.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer l.yield(false)
	defer close(l.done)
	defer l.poll.close()
	stop := context.AfterFunc(ctx, func() { l.post(mail{kind: mailCall, fn: l.stop}) })
	defer stop()
	l.tending = time.Now()
	for {
		events := l.poll.wait(l.timeout())
		l.mail.asleep.Store(false)
		l.env.Now = time.Now()
		// The servers' events first: their answers free backends, which the
		// clients' requests of the same batch can then have.
		for i := range events {
			if s := l.slot(int(events[i].Fd)); s.b != nil {
				l.serverEvent(s.b, events[i].Events)
			}
		}
		for i := range events {
			fd := int(events[i].Fd)
			if s := l.slot(fd); s.c != nil {
				l.clientEvent(s.c, events[i].Events)
			} else if fd == l.poll.wake {
				l.poll.drain()
			}
		}
		for _, m := range l.take() {
			l.receive(&m)
		}
		l.expire()
		l.classify()
		for len(l.ready) > 0 {
			l.serveReady()
		}
		if l.draining && l.clients == 0 {
			l.closeServers()
			l.retire()
			return
		}
	}
}

func (l *Loop) slot(fd int) slot {
	if fd < len(l.slots) {
		return l.slots[fd]
	}
	return slot{}
}

func (l *Loop) setSlot(fd int, s slot) {
	for len(l.slots) <= fd {
		l.slots = append(l.slots, slot{})
	}
	l.slots[fd] = s
}

// clock is the time of the present turn in nanoseconds since the group was made:
// a step of the machine's clock does not change it.
func (l *Loop) clock() int64 { return int64(l.env.Now.Sub(l.group.began)) }

// timeout says how long the loop may wait, and announces that it does.
func (l *Loop) timeout() int {
	l.mail.asleep.Store(true)
	if l.mail.full.Load() {
		return 0
	}
	wait := time.Until(l.tending)
	if len(l.timers) > 0 {
		wait = min(wait, time.Until(l.timers[0].at))
	}
	if l.sentry.every > 0 && l.clients > 0 {
		wait = min(wait, time.Until(l.sentry.next))
	}
	if wait <= 0 {
		return 0
	}
	return int((wait + time.Millisecond - 1) / time.Millisecond)
}

// receive handles one message.
func (l *Loop) receive(m *mail) {
	switch m.kind {
	case mailAdopt:
		l.adopt(m.client)
	case mailWake:
		if c := m.client; !c.dead && c.seq == m.seq {
			l.again(c)
		}
	case mailDialled:
		l.dialled(m)
	case mailTopology:
		l.topologyChanged()
	case mailCancel:
		l.cancel(m.client, m.done)
	case mailCanceled:
		l.canceled(m.server)
	case mailCall:
		m.fn()
	}
}

// expire calls the timers whose time has come.
func (l *Loop) expire() {
	for len(l.timers) > 0 && !l.timers[0].at.After(l.env.Now) {
		t := l.timers.pop()
		if c := t.client; !c.dead && c.timer == t.seq {
			c.timer = 0
			l.deadline(c)
		}
	}
	if !l.env.Now.Before(l.tending) {
		l.tend()
	}
	if l.sentry.every > 0 && !l.env.Now.Before(l.sentry.next) {
		l.look()
	}
}

// arm sets the client's one timer.
func (l *Loop) arm(c *Client, at time.Time) {
	if len(l.timers) > 2*l.clients+256 {
		l.timers.prune()
	}
	l.lastTimer++
	c.timer = l.lastTimer
	l.timers.add(timer{at, c, c.timer})
}

// stop ends the loop once its clients have left: idle ones leave now.
func (l *Loop) stop() {
	l.draining = true
	for i := range l.slots {
		if c := l.slots[i].c; c != nil {
			l.drain(c)
		}
	}
}
