package stress_test

import (
	"context"
	"sync"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
)

// source is a router.Source that a test directs: it names the servers, and
// which of them may take writes. Any number of routers may watch it.
type source struct {
	mu      sync.Mutex // guards the fields below
	now     router.Candidates
	changed chan struct{} // closed by the next change
}

// newSource names nodes, the first of them as the primary.
func newSource(nodes ...*cluster.Node) *source {
	s := &source{changed: make(chan struct{})}
	s.set(nodes[0].Addr(), nodes...)
	return s
}

// set replaces everything. An empty primary means that nobody may take writes.
func (s *source) set(primary string, nodes ...*cluster.Node) {
	c := router.Candidates{NamesPrimary: true, Primary: primary}
	for _, n := range nodes {
		c.Nodes = append(c.Nodes, router.Candidate{Addr: router.Addr{Name: n.Addr(), Host: n.Host, Port: n.Port}})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = c
	close(s.changed)
	s.changed = make(chan struct{})
}

// name changes the primary only.
func (s *source) name(primary string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Primary = primary
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *source) Watch(ctx context.Context, publish func(router.Candidates)) error {
	for {
		s.mu.Lock()
		c, changed := s.now, s.changed
		s.mu.Unlock()
		c.Nodes = append([]router.Candidate(nil), c.Nodes...)
		c.Confirmed = time.Now()
		publish(c)
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}
