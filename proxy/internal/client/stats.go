package client

import (
	"sync"
	"sync/atomic"

	"github.com/pgroute/pgroute/router"
)

// Stats are the counters of one event loop. The loop writes, anybody reads.
type Stats struct {
	Writes     atomic.Uint64
	Violations atomic.Uint64
	Cycles     atomic.Uint64
	// Overheard counts notifications that were dropped because a client did
	// not take them.
	Overheard atomic.Uint64
	pinStats

	reads  [MaxNodes]nodeReads
	gone   readCounts // of nodes whose place another has
	shadow readCounts

	mu     sync.Mutex // guards redone, which is written rarely
	redone map[string]uint64
}

// MaxNodes is how many nodes a router has at most; their IDs are below it.
const MaxNodes = 64

const reasons = 16

type nodeReads struct {
	node   atomic.Pointer[router.Node]
	counts readCounts
}

type readCounts [3][reasons]atomic.Uint64

// Read counts one read.
func (s *Stats) Read(n *router.Node, role router.Role, reason router.Reason) {
	x := &s.reads[n.ID]
	if x.node.Load() != n {
		s.seat(x, n)
	}
	x.counts[role][reason%reasons].Add(1)
}

// seat gives the place to n: the router gives the ID of a node that has gone to the
// next that comes, which is often the same server.
func (s *Stats) seat(x *nodeReads, n *router.Node) {
	if old := x.node.Load(); old != nil && old.Name != n.Name {
		for role := range x.counts {
			for reason := range x.counts[role] {
				s.gone[role][reason].Add(x.counts[role][reason].Swap(0))
			}
		}
	}
	x.node.Store(n)
}

// Shadow counts a read that was judged only.
func (s *Stats) Shadow(role router.Role, reason router.Reason) { s.shadow[role][reason%reasons].Add(1) }

// EachShadow calls f with every counter of judged reads that is not zero.
func (s *Stats) EachShadow(f func(role router.Role, reason router.Reason, n uint64)) {
	for role := range s.shadow {
		for reason := range s.shadow[role] {
			if n := s.shadow[role][reason].Load(); n > 0 {
				f(router.Role(role), router.Reason(reason), n)
			}
		}
	}
}

// Redone counts a read that is run again.
func (s *Stats) Redone(code string) {
	s.mu.Lock()
	if s.redone == nil {
		s.redone = make(map[string]uint64)
	}
	s.redone[code]++
	s.mu.Unlock()
}

// EachRead calls f with every counter of reads that is not zero, by the name of
// the node; without a name are those of nodes that were replaced by others.
func (s *Stats) EachRead(f func(node string, role router.Role, reason router.Reason, n uint64)) {
	for i := range s.reads {
		if n := s.reads[i].node.Load(); n != nil {
			s.reads[i].counts.each(n.Name, f)
		}
	}
	s.gone.each("", f)
}

func (c *readCounts) each(name string, f func(node string, role router.Role, reason router.Reason, n uint64)) {
	for role := range c {
		for reason := range c[role] {
			if n := c[role][reason].Load(); n > 0 {
				f(name, router.Role(role), router.Reason(reason), n)
			}
		}
	}
}

// EachRedo calls f with every counter of reads that were run again.
func (s *Stats) EachRedo(f func(sqlstate string, n uint64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for code, n := range s.redone {
		f(code, n)
	}
}
