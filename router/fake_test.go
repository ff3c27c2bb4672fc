package router_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

const systemID = 7

var (
	errDown   = errors.New("connection refused")
	errKilled = errors.New("connection reset")
)

// server is a PostgreSQL server as far as a monitor sees it.
type server struct {
	name string
	rtt  time.Duration

	mu     sync.Mutex // guards the fields below
	st     router.Status
	down   bool
	mute   bool   // it takes connections and does not answer
	packed bool   // it takes no new connections
	life   uint64 // changes when all its connections end
	dials  int
	shown  int // how often it identified itself
	xids   xids
	// xacts is what it says of transactions.
	xacts map[uint64]router.XactState
}

// connects returns how often somebody connected.
func (s *server) connects() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dials
}

// identified returns how often somebody asked who it is.
func (s *server) identified() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown
}

// full makes the server take no new connections, or take them again.
func (s *server) full(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packed = yes
}

// set changes the server.
func (s *server) set(f func(st *router.Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.st)
}

func (s *server) replay(l lsn.LSN) { s.set(func(st *router.Status) { st.Replay = l }) }
func (s *server) insert(l lsn.LSN) { s.set(func(st *router.Status) { st.Insert, st.Flush = l, l }) }

// kill ends all connections; with down, no new ones are taken.
func (s *server) kill(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life++
	s.down = down
}

// restart brings the server back as st says.
func (s *server) restart(f func(st *router.Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life++
	s.down = false
	s.st.Incarnation++
	f(&s.st)
}

// promote ends all connections, in one and the same life of the server.
func (s *server) promote(f func(st *router.Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life++
	f(&s.st)
}

// cluster is the Prober of its servers.
type cluster struct {
	servers map[string]*server
	// nodes are the candidates, for a source.
	nodes []router.Candidate
}

// newCluster returns a primary p on timeline 1 at LSN 1000 and replicas that
// have replayed that far.
func newCluster(replicas ...string) *cluster {
	c := &cluster{servers: make(map[string]*server)}
	c.add("p", router.Status{Timeline: 1, BeginKnown: true, Insert: 1000, Flush: 1000})
	for _, name := range replicas {
		c.add(name, router.Status{InRecovery: true, Timeline: 1, Replay: 1000})
	}
	return c
}

func (c *cluster) add(name string, st router.Status) *server {
	st.SystemID, st.Incarnation, st.PostmasterStart, st.BlockSize = systemID, 100, 90, 8192
	s := &server{name: name, st: st, rtt: 100 * time.Microsecond}
	c.servers[name] = s
	c.nodes = append(c.nodes, router.Candidate{Addr: router.Addr{Name: name, Host: name, Port: 5432}})
	return s
}

func (c *cluster) Connect(ctx context.Context, addr router.Addr) (router.Probe, error) {
	s := c.servers[addr.Name]
	s.mu.Lock()
	s.dials++
	p := &probe{s: s, life: s.life}
	packed := s.packed
	s.mu.Unlock()
	if packed {
		return nil, errDown
	}
	if err := p.trip(ctx, nil); err != nil {
		return nil, err
	}
	return p, nil
}

type probe struct {
	s    *server
	life uint64
}

// trip is one round trip; f runs on the server.
func (p *probe) trip(ctx context.Context, f func()) error {
	if err := pause(ctx, p.s.rtt/2); err != nil {
		return err
	}
	p.s.mu.Lock()
	down, mute, killed := p.s.down, p.s.mute, p.s.life != p.life
	if !down && !mute && !killed && f != nil {
		f()
	}
	p.s.mu.Unlock()
	switch {
	case killed:
		return errKilled
	case down:
		return errDown
	case mute:
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return pause(ctx, p.s.rtt/2)
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *probe) Identify(ctx context.Context) (st router.Status, err error) {
	err = p.trip(ctx, func() {
		p.s.shown++
		st = p.s.st
	})
	st.At = time.Now()
	return st, err
}

func (p *probe) Replay(ctx context.Context) (r router.Reading, err error) {
	err = p.trip(ctx, func() {
		r = router.Reading{Replay: p.s.st.Replay, InRecovery: p.s.st.InRecovery}
	})
	return r, err
}

func (p *probe) Insert(ctx context.Context) (insert, flush lsn.LSN, err error) {
	err = p.trip(ctx, func() { insert, flush = p.s.st.Insert, p.s.st.Flush })
	return insert, flush, err
}

func (p *probe) Nudge(ctx context.Context) error {
	return p.trip(ctx, func() { p.s.st.Flush = max(p.s.st.Flush, p.s.st.Insert) })
}

func (p *probe) Outcomes(ctx context.Context, xids []uint64) (states []router.XactState, err error) {
	err = p.trip(ctx, func() {
		for _, xid := range xids {
			states = append(states, p.s.xacts[xid])
		}
	})
	return states, err
}

func (p *probe) Close() error { return nil }

// source is a Source whose word a test can change.
type source struct {
	first   router.Candidates
	updates chan router.Candidates
}

func newSource(first router.Candidates) *source { return &source{first: first} }

// begin makes the channel, which has to belong to the bubble.
func (s *source) begin() {
	s.updates = make(chan router.Candidates, 10)
	s.updates <- s.first
}

func (s *source) Watch(ctx context.Context, publish func(router.Candidates)) error {
	for {
		select {
		case c := <-s.updates:
			publish(c)
		case <-ctx.Done():
			return nil
		}
	}
}

// waiter counts its wakes.
type waiter struct {
	wakes chan uint64
}

func newWaiter() *waiter { return &waiter{wakes: make(chan uint64, 100)} }

func (w *waiter) Wake(seq uint64, err error) {
	if err != nil {
		panic(err)
	}
	w.wakes <- seq
}

// world is a running router over a cluster, inside a synctest bubble.
type world struct {
	*testing.T
	*cluster
	r *router.Router
}

// run runs f in a bubble with a router over c that has found its primary and
// all its replicas.
func run(t *testing.T, c *cluster, cfg router.Config, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if cfg.Source == nil {
			cfg.Source = newSource(router.Candidates{Nodes: c.nodes})
		}
		cfg.Source.(*source).begin()
		cfg.Prober, cfg.Seed = c, 1
		if cfg.Logger == nil {
			cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
		}
		r, err := router.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		}()
		w := &world{T: t, cluster: c, r: r}
		w.settle()
		f(w)
	})
}

// settle gives everything time to find out what is new.
func (w *world) settle() {
	time.Sleep(1200 * time.Millisecond)
	synctest.Wait()
}

func (w *world) node(name string) *router.Node {
	n := w.r.Topology().Node(name)
	if n == nil {
		w.Fatalf("there is no node %s", name)
	}
	return n
}

// client is one client with its chain and request.
type client struct {
	*world
	router.Chain
	router.Request
	w *waiter
}

func (w *world) client(s *router.Session) *client {
	c := &client{world: w, w: newWaiter()}
	c.Init(w.r, s, true)
	c.Request = router.Request{Wait: 100 * time.Millisecond}
	return c
}

// decide routes one read to its end and returns the decision. It does not call
// Done.
func (c *client) decide() router.Decision {
	c.Helper()
	c.Seq++
	c.r.Begin(&c.Request, &c.Chain, time.Now())
	return c.resume()
}

func (c *client) resume() router.Decision {
	c.Helper()
	for {
		d, done := c.r.Decide(&c.Request, &c.Chain, time.Now(), c.w)
		if done {
			if d.Role == router.RoleReplica && !d.Node.Covers(d.Floor, 0, 0) {
				c.Errorf("the node does not cover its own decision: %s", describe(d))
			}
			return d
		}
		wait := time.Until(c.Deadline())
		if wait <= 0 {
			c.Fatalf("not decided, and nothing to wait for: due %s ago", -wait)
		}
		timer := time.NewTimer(wait)
		select {
		case seq := <-c.w.wakes:
			if seq > c.Seq {
				c.Errorf("woken with %d, want at most %d", seq, c.Seq)
			}
		case <-timer.C:
		}
		timer.Stop()
	}
}

// read routes one read and notes that it was done.
func (c *client) read() router.Decision {
	c.Helper()
	d := c.decide()
	switch d.Role {
	case router.RoleReplica:
		c.SawReplica(d.Node)
	case router.RolePrimary:
		c.SawPrimary()
	}
	d.Done()
	return d
}

// write commits at l on the server p and settles.
func (c *client) write(l lsn.LSN) {
	c.servers["p"].insert(l)
	c.Wrote()
}

// refusal is the RouteError that err is.
func refusal(err error) *router.RouteError {
	e, ok := errors.AsType[*router.RouteError](err)
	if !ok {
		panic(fmt.Sprintf("%T is no RouteError: %v", err, err))
	}
	return e
}

func describe(d router.Decision) string {
	switch {
	case d.Err != nil:
		return "error " + refusal(d.Err).Code
	case d.Stale:
		return fmt.Sprintf("%s stale", d.Node.Name)
	}
	return fmt.Sprintf("%s %s", d.Node.Name, d.Reason)
}

// want checks what a decision says.
func (w *world) want(d router.Decision, want string) {
	w.Helper()
	if got := describe(d); got != want {
		detail := ""
		if d.Err != nil {
			detail = d.Err.Error()
		}
		w.Errorf("decided %q, want %q %s", got, want, detail)
	}
}
