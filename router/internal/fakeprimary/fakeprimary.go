// Package fakeprimary is a router over one primary that exists in memory only,
// for the tests of what needs tickets and tokens and reads nothing.
package fakeprimary

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

var errRestarted = errors.New("connection reset")

// Primary is the server. It is also the Prober that reaches it.
type Primary struct {
	// Router follows the server. It runs until the test ends.
	Router *router.Router

	mu     sync.Mutex // guards the fields below
	status router.Status
	mute   chan struct{} // not nil while the server is silent; closed by Speak
}

// Start returns a primary with a router that knows it.
func Start(t testing.TB) *Primary {
	t.Helper()
	p := &Primary{status: router.Status{
		SystemID: 7, Timeline: 1, BeginKnown: true, Incarnation: 100, PostmasterStart: 90,
		Insert: 1000, Flush: 1000, Version: 150000, BlockSize: 8192,
	}}
	source, err := router.Static("primary:5432")
	if err != nil {
		t.Fatal(err)
	}
	r, err := router.New(router.Config{Source: source, Prober: p, HealthInterval: 20 * time.Millisecond,
		ProbeTimeout: time.Minute, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	p.Router = r
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("end the router: %v", err)
		}
	})
	p.WaitFor(t, func(topology *router.Topology) bool { return topology.Primary != nil })
	return p
}

// WaitFor waits until the router has published a topology that ok accepts.
func (p *Primary) WaitFor(t testing.TB, ok func(*router.Topology) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Router.WaitTopology(ctx, ok); err != nil {
		t.Fatal(err)
	}
}

// Advance moves the primary's position on by one commit.
func (p *Primary) Advance() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Insert += 100
	p.status.Flush = p.status.Insert
}

// Restart begins a new life of the primary, which ends all connections.
func (p *Primary) Restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Incarnation++
}

// Position is where the primary is now.
func (p *Primary) Position() lsn.Position {
	p.mu.Lock()
	defer p.mu.Unlock()
	return lsn.Position{SystemID: p.status.SystemID, Timeline: p.status.Timeline, LSN: p.status.Insert, Incarnation: p.status.Incarnation}
}

// Mute lets the primary answer nothing until Speak.
func (p *Primary) Mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mute == nil {
		p.mute = make(chan struct{})
	}
}

// Speak undoes Mute. What was asked meanwhile is answered.
func (p *Primary) Speak() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mute != nil {
		close(p.mute)
		p.mute = nil
	}
}

// Connect is router.Prober's.
func (p *Primary) Connect(ctx context.Context, _ router.Addr) (router.Probe, error) {
	c := &connection{p: p}
	st, err := c.ask(ctx)
	c.incarnation = st.Incarnation
	return c, err
}

// connection is one monitor connection, which lives as long as the server.
type connection struct {
	p           *Primary
	incarnation int64
}

// ask waits until the server speaks and returns its status.
func (c *connection) ask(ctx context.Context) (router.Status, error) {
	for {
		c.p.mu.Lock()
		st, mute := c.p.status, c.p.mute
		c.p.mu.Unlock()
		switch {
		case c.incarnation != 0 && st.Incarnation != c.incarnation:
			return st, errRestarted
		case mute == nil:
			st.At = time.Now()
			return st, nil
		}
		select {
		case <-mute:
		case <-ctx.Done():
			return st, context.Cause(ctx)
		}
	}
}

func (c *connection) Identify(ctx context.Context) (router.Status, error) { return c.ask(ctx) }

func (c *connection) Replay(ctx context.Context) (router.Reading, error) {
	_, err := c.ask(ctx)
	return router.Reading{}, err
}

func (c *connection) Insert(ctx context.Context) (insert, flush lsn.LSN, err error) {
	st, err := c.ask(ctx)
	return st.Insert, st.Flush, err
}

func (c *connection) Nudge(ctx context.Context) error {
	_, err := c.ask(ctx)
	return err
}

func (c *connection) Close() error { return nil }
