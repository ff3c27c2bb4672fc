package reactor

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgroute/pgroute/router"
)

// market is loops with their pools and queues as they are, but for the sockets:
// what the loops would do and hear is played by a test, in any order.
type market struct {
	t       testing.TB
	rnd     *rand.Rand
	g       *Group
	nodes   []*router.Node
	tenants []tenantKey
	now     time.Time
	dials   []dialing
	lent    []*Client
	waiting map[*Client]bool
	served  map[tenantKey]int
	order   []*Client // who was served
	failed  int
}

type dialing struct {
	l *Loop
	p *pool
}

func newMarket(t testing.TB, seed uint64, loops int, x Limits) *market {
	m := &market{
		t: t, rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1e9, 0), waiting: make(map[*Client]bool), served: make(map[tenantKey]int),
		g: &Group{ledger: newLedger(x)},
	}
	m.g.limits.Store(&x)
	for range loops {
		l := &Loop{group: m.g, tenants: make(map[tenantKey]*tenant), done: make(chan struct{}), pace: maxPace, tending: m.now.Add(24 * time.Hour)}
		l.env.Now = m.now
		l.opens = func(p *pool) { m.dials = append(m.dials, dialing{l, p}) }
		m.g.loops = append(m.g.loops, l)
	}
	return m
}

func (m *market) has(nodes int, tenants ...tenantKey) *market {
	for i := range nodes {
		m.nodes = append(m.nodes, &router.Node{ID: i, Addr: router.Addr{Name: fmt.Sprint("n", i)}})
	}
	m.tenants = tenants
	return m
}

// pool is where a client of a tenant goes.
func (m *market) pool(l *Loop, k tenantKey, n *router.Node) *pool {
	return l.pool(l.tenant(&Login{User: k.user, DatabaseName: k.database}), n)
}

// arrive has a client ask for a backend, as lease does.
func (m *market) arrive(l *Loop, k tenantKey, n *router.Node) *Client {
	p := m.pool(l, k, n)
	c := &Client{loop: l, tenant: p.tenant, login: p.tenant.login}
	m.ask(c, p)
	return c
}

func (m *market) ask(c *Client, p *pool) {
	l := c.loop
	if n := len(p.idle); n > 0 {
		s := p.idle[n-1]
		p.idle = p.idle[:n-1]
		m.lend(c, s)
		return
	}
	m.waiting[c] = true
	if _, refused := l.enqueue(c, p); refused {
		delete(m.waiting, c)
		m.failed++
	}
	m.deliver(l)
}

func (m *market) lend(c *Client, s *server) {
	delete(m.waiting, c)
	c.loop.lend(c, s)
	m.served[c.tenant.key]++
	m.lent = append(m.lent, c)
	m.order = append(m.order, c)
}

// deliver gives clients the backends that put has for them.
func (m *market) deliver(l *Loop) {
	for len(l.ready) > 0 {
		r := l.ready[0]
		l.ready = l.ready[1:]
		switch {
		case r.s.dead:
			if !r.c.dead {
				m.ask(r.c, r.s.pool)
			}
		case r.c.dead:
			r.s.pool.put(l, r.s)
		default:
			m.lend(r.c, r.s)
		}
	}
}

// end ends the lease at i.
func (m *market) end(i int) *Client {
	c := m.lent[i]
	m.lent = slices.Delete(m.lent, i, i+1)
	s := c.server
	c.server = nil
	c.loop.unlend(s)
	s.pool.put(c.loop, s)
	m.deliver(c.loop)
	return c
}

// die ends the lease at i with the backend.
func (m *market) die(i int) {
	c := m.lent[i]
	m.lent = slices.Delete(m.lent, i, i+1)
	s := c.server
	c.server = nil
	c.loop.drop(s)
	m.deliver(c.loop)
}

// dialled ends the dial at i.
func (m *market) dialled(i int, err error) {
	d := m.dials[i]
	m.dials = slices.Delete(m.dials, i, i+1)
	d.p.dialing--
	if err != nil {
		for _, c := range d.p.queue.all() {
			delete(m.waiting, c)
			m.failed++
		}
		d.l.group.ledger.give(d.p.claim)
		d.l.dialFailed(d.p, err)
		m.deliver(d.l)
		return
	}
	fd, err := unix.Open("/dev/null", unix.O_RDWR, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	s := &server{pool: d.p, born: m.now}
	s.fd = fd
	d.l.setSlot(fd, slot{b: s})
	d.l.opened(d.p, s)
	m.deliver(d.l)
}

// leave has a client that waits go away.
func (m *market) leave(c *Client) {
	delete(m.waiting, c)
	c.dead = true
	if c.pool != nil {
		c.loop.leave(c)
	}
	m.deliver(c.loop)
}

// mail has a loop read its messages, and do what has become due.
func (m *market) mail(l *Loop) bool {
	list := slices.Clone(l.take())
	for _, x := range list {
		x.fn()
	}
	for len(l.timers) > 0 && !l.timers[0].at.After(m.now) {
		if x := l.timers.pop(); !x.client.dead && x.client.timer == x.seq && x.client.wait == waitLease {
			l.leaseDue(x.client)
		}
	}
	due := !l.tending.After(m.now)
	if due {
		l.tending = m.now.Add(24 * time.Hour)
		for _, t := range l.tenants {
			for _, p := range t.pools {
				if p != nil {
					l.tendPool(p, true)
				}
			}
		}
	}
	m.deliver(l)
	return len(list) > 0 || due
}

func (m *market) pass(d time.Duration) {
	m.now = m.now.Add(d)
	for _, l := range m.g.loops {
		l.env.Now = m.now
	}
}

func (m *market) close() {
	for _, l := range m.g.loops {
		for i := range l.slots {
			if s := l.slots[i].b; s != nil {
				l.drop(s)
			}
		}
	}
}

// String shows all pools.
func (m *market) String() string {
	var b strings.Builder
	for i, l := range m.g.loops {
		for _, t := range l.tenants {
			for _, p := range t.pools {
				if p != nil {
					fmt.Fprintf(&b, "loop %d %v %s: %d open, %d idle, %d dials, %d waiting; claim: %d held, %d granted, needs %d, queued %v, hungry %v, reserve %v %v\n", i, t.key,
						p.node.Name, p.size, len(p.idle), p.dialing, p.queue.n, p.claim.held, p.claim.granted, p.claim.need.Load(), p.claim.queued, p.hungry, p.reserve, p.claim.reserve)
				}
			}
		}
	}
	fmt.Fprintf(&b, "%d lent, %d dials\n", len(m.lent), len(m.dials))
	return b.String()
}

// check compares the ledger with what there is, and with the limits.
func (m *market) check() {
	m.t.Helper()
	open := make(map[countKey]int64)
	waits := make(map[countKey]int64)
	for _, l := range m.g.loops {
		for _, t := range l.tenants {
			for _, p := range t.pools {
				if p == nil {
					continue
				}
				if have := p.size + p.dialing + p.claim.granted; have != p.claim.held {
					m.t.Fatalf("a claim of %d slots for %d connections, %d dials and %d grants", p.claim.held, p.size, p.dialing, p.claim.granted)
				}
				for _, n := range p.claim.counts {
					open[n.key] += int64(p.claim.held)
				}
				waits[p.claim.counts[KindPool].key] += int64(p.queue.n)
			}
		}
	}
	for k, n := range m.g.ledger.counts {
		if n.open.Load() != open[k] {
			m.t.Fatalf("%v: %d counted, there are %d", k, n.open.Load(), open[k])
		}
		if n.waiting.Load() != waits[k] {
			m.t.Fatalf("%v: %d waiting counted, there are %d", k, n.waiting.Load(), waits[k])
		}
		if most := n.max.Load(); most > 0 && n.open.Load() > most+n.reserve.Load() {
			m.t.Fatalf("%v: %d connections where %d are allowed", k, n.open.Load(), most+n.reserve.Load())
		}
	}
}

var people = []tenantKey{{"ann", "shop"}, {"ann", "books"}, {"bob", "shop"}, {"bob", "books"}, {"eve", "shop"}}

// TestNobodyIsForgotten: whatever happens in whatever order, within whatever
// limits, everybody who waits is served once the others are done, and in the
// end nothing is counted that is not there.
func TestNobodyIsForgotten(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 50
	}
	for seed := range uint64(rounds) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		some := func(n int) int { return rnd.IntN(2) * (1 + rnd.IntN(n)) } // 0 half of the time
		x := Limits{MaxServer: some(6), MaxNode: some(4), MaxUser: some(4), MaxDatabase: some(4)}
		per := PoolLimits{Size: 1 + rnd.IntN(4), Reserve: some(2), Min: some(2), ReserveWait: time.Second, Lifetime: -1, IdleTimeout: -1, LeaseWait: -1}
		if rnd.IntN(3) == 0 {
			per.Lifetime = 3 * time.Second
		}
		x.Pool = func(string, string) PoolLimits { return per }
		m := newMarket(t, seed, 1+rnd.IntN(3), x).has(1+rnd.IntN(2), people[:1+rnd.IntN(len(people))]...)
		for range 600 {
			l := m.g.loops[m.rnd.IntN(len(m.g.loops))]
			switch m.rnd.IntN(12) {
			case 0, 1, 2:
				m.arrive(l, m.tenants[m.rnd.IntN(len(m.tenants))], m.nodes[m.rnd.IntN(len(m.nodes))])
			case 3, 4, 5:
				if n := len(m.lent); n > 0 {
					m.end(m.rnd.IntN(n))
				}
			case 6:
				if n := len(m.dials); n > 0 {
					m.dialled(m.rnd.IntN(n), nil)
				}
			case 7:
				if n := len(m.dials); n > 0 && m.rnd.IntN(4) == 0 {
					m.dialled(m.rnd.IntN(n), errors.New("no"))
				} else if n := len(m.lent); n > 0 && m.rnd.IntN(4) == 0 {
					m.die(m.rnd.IntN(n))
				}
			case 8:
				for c := range m.waiting {
					if m.rnd.IntN(4) == 0 {
						m.leave(c)
					}
					break
				}
			case 9:
				m.pass(time.Duration(m.rnd.IntN(500)) * time.Millisecond)
			default:
				m.mail(l)
			}
			m.check()
		}
		// Nobody comes any more; those who have something are done with it.
		for round := 0; len(m.waiting)+len(m.dials) > 0; round++ {
			if round > 2000 {
				t.Fatalf("seed %d: %d wait for ever, limits %+v, pools %+v\n%s", seed, len(m.waiting), x, per, m)
			}
			if len(m.lent) > 0 {
				m.end(m.rnd.IntN(len(m.lent)))
			}
			if len(m.dials) > 0 {
				m.dialled(m.rnd.IntN(len(m.dials)), nil)
			}
			m.mail(m.g.loops[m.rnd.IntN(len(m.g.loops))])
			m.pass(10 * time.Millisecond)
			m.check()
		}
		for len(m.lent) > 0 {
			m.end(0)
		}
		for again := true; again || len(m.dials) > 0; {
			again = false
			for len(m.dials) > 0 {
				m.dialled(0, nil)
			}
			for _, l := range m.g.loops {
				again = m.mail(l) || again
			}
		}
		m.check()
		per.Min = 0
		m.g.SetLimits(x)
		m.close()
		for range 3 {
			for _, l := range m.g.loops {
				m.mail(l)
			}
		}
		for k, n := range m.g.ledger.counts {
			if open := n.open.Load(); open != 0 {
				t.Fatalf("seed %d: %v: %d in the end", seed, k, open)
			}
		}
	}
}

// TestPoolsShareFairly: tenants that could all use every connection get about
// equally many, also where there is one connection for all.
func TestPoolsShareFairly(t *testing.T) {
	for _, most := range []int{1, 2, 5, 7} {
		for _, loops := range []int{1, 2} {
			t.Run(fmt.Sprintf("%d connections, %d loops", most, loops), func(t *testing.T) {
				m := newMarket(t, 1, loops, Limits{MaxDatabase: most}).has(1, tenantKey{"ann", "shop"}, tenantKey{"bob", "shop"}, tenantKey{"eve", "shop"})
				defer m.close()
				for _, k := range m.tenants { // ann's come first, and take everything
					for i := range 20 {
						m.arrive(m.g.loops[i%loops], k, m.nodes[0])
					}
				}
				dials := 0
				const turns = 6000
				for turn := range turns {
					for _, l := range m.g.loops {
						m.mail(l)
					}
					for len(m.dials) > 0 {
						dials++
						m.dialled(0, nil)
					}
					if len(m.lent) > 0 {
						c := m.end(m.rnd.IntN(len(m.lent)))
						m.arrive(c.loop, c.tenant.key, m.nodes[0]) // and again
					}
					m.pass(time.Millisecond)
					if turn%16 == 0 {
						m.check()
					}
				}
				for k, n := range m.served {
					if n < turns/6 {
						t.Errorf("%v was served %d times of %d", k, n, turns)
					}
				}
				if most >= 3*loops && dials > 3*most {
					t.Errorf("%d dials, although there are enough for all", dials)
				}
				if dials > most*turns/150+3*most {
					t.Errorf("%d dials in %d turns", dials, turns)
				}
			})
		}
	}
}

// TestQueueIsInOrder: clients of one pool are served in the order in which they
// came, and those who leave are not.
func TestQueueIsInOrder(t *testing.T) {
	m := newMarket(t, 1, 1, Limits{Pool: func(string, string) PoolLimits { return PoolLimits{Size: 3} }}).has(1, people[0])
	defer m.close()
	var want []*Client
	var all []*Client
	for range 5000 {
		all = append(all, m.arrive(m.g.loops[0], people[0], m.nodes[0]))
	}
	for i, c := range all {
		if i%3 == 1 {
			m.leave(c)
		} else {
			want = append(want, c)
		}
	}
	for len(m.dials) > 0 {
		m.dialled(0, nil)
	}
	for len(m.lent) > 0 {
		m.end(0)
	}
	if !slices.Equal(m.order, want) {
		t.Errorf("%d were served out of order, or not at all, of %d", len(m.order), len(want))
	}
	m.check()
}

// TestIdleMakesRoom: who needs the place of a backend that nobody uses gets it,
// whichever loop and pool has it, and no more are closed than are needed.
func TestIdleMakesRoom(t *testing.T) {
	m := newMarket(t, 1, 3, Limits{MaxServer: 3}).has(1, people...)
	defer m.close()
	for i, l := range m.g.loops {
		m.arrive(l, people[i], m.nodes[0])
		m.dialled(0, nil)
		m.end(0)
	}
	m.arrive(m.g.loops[1], people[4], m.nodes[0])
	for range 10 {
		for _, l := range m.g.loops {
			m.mail(l)
		}
		m.pass(10 * time.Millisecond)
	}
	if len(m.dials) != 1 {
		t.Fatalf("%d dials\n%s", len(m.dials), m)
	}
	m.dialled(0, nil)
	m.check()
	if open := m.g.ledger.open("shop") + m.g.ledger.open("books"); len(m.waiting) > 0 || open != 3 {
		t.Errorf("%d wait, %d connections\n%s", len(m.waiting), open, m)
	}
}
