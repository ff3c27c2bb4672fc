package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Router knows the servers of one cluster, how far each has got, and where a
// read may run. Its methods are safe for concurrent use; what they are given
// (Request, Chain) belongs to one caller at a time.
type Router struct {
	cfg    Config
	log    *slog.Logger
	oracle oracle
	nudger nudger
	sights sights
	budget budget
	stats  stats
	seeds  atomic.Uint64
	conns  atomic.Uint64 // numbers for Node.conn
	topo   atomic.Pointer[Topology]
	prefs  atomic.Pointer[Preferences]
	// inquirer asks for the outcome of COMMITs.
	inquirer inquirer
	// rounds counts how often all servers were asked who they are because of a
	// token, tokens are those who wait for what they say.
	rounds atomic.Uint64
	tokens waitList

	running  atomic.Bool
	monitors sync.WaitGroup

	mu         sync.Mutex // guards the fields below and the facts of all nodes
	candidates Candidates
	departed   departed
	// nodes are sorted by name and replaced whole.
	nodes    []*Node
	timeline uint32 // the highest that a primary was elected on
	started  time.Time
}

// New returns a router that does nothing until Run is called: there are no
// nodes, and tickets are not answered. It returns an error for a Config without
// Source or Prober, or with a negative HealthInterval, ProbeTimeout or
// PositionPace.
func New(cfg Config) (*Router, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := &Router{cfg: cfg, log: cfg.Logger, departed: departed{}}
	r.budget.size = cfg.FallbackBudget
	r.oracle = oracle{r: r, wake: make(chan struct{}, 1)}
	r.oracle.samples.init()
	r.nudger = nudger{r: r, wake: make(chan struct{}, 1)}
	r.sights = sights{r: r, wake: make(chan struct{}, 1)}
	r.inquirer = inquirer{r: r, wake: make(chan struct{}, 1)}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	r.seeds.Store(cfg.Seed)
	r.Prefer(cfg.Preferences)
	r.topo.Store(&Topology{era: &era{}, Reason: "the source of servers has not answered yet", Management: &Management{}, changed: make(chan struct{})})
	return r, nil
}

// Config returns the configuration with its defaults filled in.
func (r *Router) Config() Config { return r.cfg }

// Ticket returns a number that stands for everything acknowledged before the
// call; it is never 0. The position that covers it will be asked for, and is then
// the answer of Await and WaitTicket. It costs a few atomic operations and does
// not allocate.
func (r *Router) Ticket() uint64 {
	r.stats.tickets.Add(1)
	return r.oracle.ticket()
}

// seed returns a seed for a chain.
func (r *Router) seed() uint64 {
	// SplitMix64; its result is 0 for one input, which xorshift does not take.
	z := r.seeds.Add(0x9e3779b97f4a7c15)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return max(z^z>>31, 1)
}

// Run watches the source and the servers until ctx is done, and returns after
// everything it started has ended: nil, or an error if the source gave up. It
// may be called once.
func (r *Router) Run(ctx context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		return errors.New("router: Run was called before")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.mu.Lock()
	r.started = time.Now()
	r.mu.Unlock()

	var wg sync.WaitGroup
	var failure error
	// Each ends when ctx is done, and is waited for below.
	wg.Go(func() {
		if failure = r.watch(ctx); failure != nil {
			cancel(failure)
		}
	})
	wg.Go(func() { r.oracle.run(ctx) })
	wg.Go(func() { r.nudger.run(ctx) })
	wg.Go(func() { r.sights.run(ctx) })
	wg.Go(func() { r.inquirer.run(ctx) })
	wg.Go(func() { r.keep(ctx) })
	wg.Wait()
	// The source has ended, so no monitor is started any more; those that run
	// end with ctx.
	r.monitors.Wait()
	return failure
}

// watch follows the source.
func (r *Router) watch(ctx context.Context) error {
	err := r.cfg.Source.Watch(ctx, func(c Candidates) { r.apply(ctx, c) })
	switch {
	case ctx.Err() != nil:
		return nil
	case err == nil:
		err = errors.New("it ended by itself")
	}
	return fmt.Errorf("watch the source of servers: %w", err)
}

// keep reviews what changes by the mere passing of time: proofs that end,
// pauses of breakers that are over, slow starts.
func (r *Router) keep(ctx context.Context) {
	for ctx.Err() == nil {
		t := r.topo.Load()
		pause := r.cfg.HealthInterval
		if !t.until.IsZero() {
			pause = max(min(pause, time.Until(t.until)), time.Millisecond)
		}
		sleep(ctx, pause, nil)
		r.tryNodes(ctx, time.Now())
		r.review()
	}
}

const (
	// awaitedInterval is how often the server is identified that the source names
	// and that has not been promoted yet.
	awaitedInterval = 10 * time.Millisecond
	// awaitedFor bounds for how long, once it is named and once it answers: a
	// promotion that takes longer does not gain by it, and every proxy of a fleet
	// asks.
	awaitedFor = 10 * time.Second
)

// healthInterval is how often n, which has answered since met, is identified:
// more often while there is no primary, because then everybody waits for one.
func (r *Router) healthInterval(n *Node, met time.Time) time.Duration {
	switch t := r.topo.Load(); {
	case t.Primary != nil:
		return r.cfg.HealthInterval
	case t.awaited == n && (time.Since(t.named) < awaitedFor || time.Since(met) < awaitedFor):
		return min(r.cfg.HealthInterval, awaitedInterval)
	}
	return min(r.cfg.HealthInterval, backoffLeast)
}

// apply takes in what the source says: it starts a monitor for each new node
// and stops those of nodes that are gone.
func (r *Router) apply(ctx context.Context, c Candidates) {
	var begun, gone []*Node
	if c.ValidFor > 0 {
		r.stats.confirmed.Store(&c.Confirmed)
	}
	r.updateWith(func(fx *effects) {
		if era := r.topo.Load().era; c.SystemID != 0 && c.SystemID != r.candidates.SystemID && era.systemID != 0 && c.SystemID != era.systemID {
			// Positions of another cluster mean nothing here: it needs a router of its own.
			fx.warn("the source names another cluster; until a restart what is known stands",
				"system_id", c.SystemID, "own", era.systemID)
			r.stats.foreign.Add(1)
		}
		r.candidates = c
		r.candidates.Nodes = nil // kept as nodes
		nodes := make([]*Node, 0, len(c.Nodes))
		var used NodeSet
		for i := range c.Nodes {
			if n := r.knownLocked(&c.Nodes[i]); n != nil {
				nodes = append(nodes, n)
				used.Add(n)
				n.setAttributesLocked(fx, attributesOf(&c.Nodes[i]))
			}
		}
		for _, n := range r.nodes {
			if !slices.Contains(nodes, n) {
				gone = append(gone, n)
				n.okEra.Store(0)
			}
		}
		for i := range c.Nodes {
			if r.knownLocked(&c.Nodes[i]) != nil || len(nodes) == maxNodes {
				continue
			}
			n := r.newNode(&c.Nodes[i], used)
			used.Add(n)
			nodes, begun = append(nodes, n), append(begun, n)
		}
		slices.SortFunc(nodes, func(a, b *Node) int { return cmp.Compare(a.Name, b.Name) })
		if len(begun)+len(gone) > 0 {
			r.nodes = nodes
		}
		r.departed.note(&c, gone)
	})
	if len(c.Nodes) > maxNodes {
		r.log.Warn("the source names too many servers", "servers", len(c.Nodes), "used", maxNodes)
	}
	for _, n := range gone {
		n.stop(errDeparted)
		n.wakeWaiters()
	}
	for _, n := range begun {
		// Ends with ctx or n.stop; Run waits for it.
		var nodeCtx context.Context
		nodeCtx, n.stop = context.WithCancelCause(ctx)
		m := &monitor{n: n, r: r, parker: newParker(n, r)}
		r.monitors.Go(func() { m.run(nodeCtx) })
		r.monitors.Go(func() { m.parker.run(nodeCtx) })
	}
}

// knownLocked returns the node of a candidate, nil if it is new. Another address
// makes another node: what is known of the one says nothing about the other.
func (r *Router) knownLocked(c *Candidate) *Node {
	for _, n := range r.nodes {
		if n.Addr == c.Addr {
			return n
		}
	}
	return nil
}

func (r *Router) newNode(c *Candidate, used NodeSet) *Node {
	n := &Node{Addr: c.Addr, r: r, kick: make(chan struct{}, 1)}
	for used.has(n.ID) {
		n.ID++
	}
	n.conn.Store(r.conns.Add(1))
	a := attributesOf(c)
	n.attrs.Store(a)
	n.weight.Store(int64(a.weight))
	n.health.init(c.Name, r.seed())
	return n
}
