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
	shadow nodeReads

	mu     sync.Mutex // guards redone, which is written rarely
	redone map[string]uint64
}

// MaxNodes bounds the nodes that are counted apart; the rest share the last.
const MaxNodes = 64

const reasons = 16

type nodeReads [3][reasons]atomic.Uint64

// Read counts one read.
func (s *Stats) Read(n *router.Node, role router.Role, reason router.Reason) {
	id := n.ID
	if id >= MaxNodes {
		id = MaxNodes - 1
	}
	s.reads[id][role][reason%reasons].Add(1)
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

// EachRead calls f with every counter of reads that is not zero.
func (s *Stats) EachRead(f func(node int, role router.Role, reason router.Reason, n uint64)) {
	for id := range s.reads {
		for role := range s.reads[id] {
			for reason := range s.reads[id][role] {
				if n := s.reads[id][role][reason].Load(); n > 0 {
					f(id, router.Role(role), router.Reason(reason), n)
				}
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
