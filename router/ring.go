package router

import (
	"sync/atomic"

	"github.com/pgroute/pgroute/lsn"
)

const (
	ringSlots = 1024
	// Each level of the ring keeps one answer in ringStride of the level below,
	// so that the past reaches back ringSlots * ringStride^2 tickets.
	ringStride = 64
	ringLevels = 3
)

// ring keeps the answers to the last tickets. Any later answer answers a
// ticket as well, only with a higher position than necessary; so of the older
// tickets only some are kept, and what is older than all gets the latest. One
// goroutine writes; reading takes no lock and does not allocate.
type ring struct {
	last   atomic.Uint64 // the highest generation that is answered
	levels [ringLevels][ringSlots]slot
}

// slot holds the answer of one generation. gen is 0 while it is written.
type slot struct {
	gen, era, lsn, insert atomic.Uint64
}

// unprovenBit marks an era number in a slot.
const unprovenBit = 1 << 63

func (s *slot) store(gen uint64, f Floor) {
	era := f.Era
	if f.Unproven {
		era |= unprovenBit
	}
	s.gen.Store(0)
	s.era.Store(era)
	s.lsn.Store(uint64(f.LSN))
	s.insert.Store(uint64(f.insert))
	s.gen.Store(gen)
}

func (s *slot) load(gen uint64) (Floor, bool) {
	if s.gen.Load() != gen {
		return Floor{}, false
	}
	era := s.era.Load()
	f := Floor{
		Era:      era &^ unprovenBit,
		LSN:      lsn.LSN(s.lsn.Load()),
		Unproven: era&unprovenBit != 0,
		insert:   lsn.LSN(s.insert.Load()),
	}
	return f, s.gen.Load() == gen
}

// put answers every generation that has no answer yet, up to gen, with f.
func (a *ring) put(gen uint64, f Floor) {
	from := a.last.Load() + 1
	stride := uint64(1)
	for level := range a.levels {
		slots := &a.levels[level]
		// Among the multiples of stride only the last ringSlots find room.
		first := max(roundUp(from, stride), roundUp(gen-min(gen-1, stride*ringSlots-1), stride))
		for g := first; g <= gen; g += stride {
			slots[g/stride%ringSlots].store(g, f)
		}
		stride *= ringStride
	}
	a.last.Store(gen)
}

// answer returns the answer to gen, or of a later generation, and false if
// there is none yet.
func (a *ring) answer(gen uint64) (Floor, bool) {
	for {
		last := a.last.Load()
		if gen == 0 || gen > last {
			return Floor{}, false
		}
		stride := uint64(1)
		for level := range a.levels {
			g := roundUp(gen, stride)
			if g > last {
				break
			}
			if f, ok := a.levels[level][g/stride%ringSlots].load(g); ok {
				return f, true
			}
			stride *= ringStride
		}
		if f, ok := a.levels[0][last%ringSlots].load(last); ok {
			return f, true
		}
		// The writer has gone round the whole ring meanwhile.
	}
}

func roundUp(g, stride uint64) uint64 { return (g + stride - 1) / stride * stride }
