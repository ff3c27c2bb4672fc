package router

import (
	"sync/atomic"
	"time"

	"github.com/pgroute/pgroute/lsn"
)

const (
	// sampleSlots is how many positions each level of samples keeps, so that
	// one is found that is at most 1/sampleSlots older or younger than need be.
	sampleSlots = 16
	// sampleLeast is the distance of the samples of the lowest level; each level
	// doubles it.
	sampleLeast = int64(time.Millisecond)
	// sampleLevels reach back 16 ms × 2^23, which is more than a day.
	sampleLevels = 24
)

// samples remember which position the primary had at which time, for reads of
// bounded staleness. Every answer of the oracle is one: it covers everything
// that was acknowledged before its query was sent. One goroutine writes;
// reading takes no lock and does not allocate.
type samples struct {
	base   time.Time // times are nanoseconds since then
	levels [sampleLevels]sampleLevel
	// newest is when the latest sample was asked for.
	newest atomic.Int64
}

type sampleLevel struct {
	slots [sampleSlots]sample
	next  int   // the writer's own: which slot is the oldest
	last  int64 // the writer's own: the time of the latest
}

// sample is one answer. seq is odd while it is written.
type sample struct {
	seq, era, lsn atomic.Uint64
	asked         atomic.Int64
}

func (s *samples) init() { s.base = time.Now() }

// put notes that a query that was sent at asked was answered with f.
func (s *samples) put(asked time.Time, f Floor) {
	at := int64(asked.Sub(s.base))
	distance := sampleLeast
	for i := range s.levels {
		l := &s.levels[i]
		// The first level that is not due ends it: those above are due less
		// often.
		if l.last != 0 && at-l.last < distance {
			break
		}
		x := &l.slots[l.next]
		x.seq.Add(1)
		x.asked.Store(at)
		x.era.Store(f.Era)
		x.lsn.Store(uint64(f.LSN))
		x.seq.Add(1)
		l.next, l.last = (l.next+1)%sampleSlots, at
		distance *= 2
	}
	s.newest.Store(at)
}

// since returns the floor of about the oldest sample that was asked for at then
// or later, and false if there is none.
func (s *samples) since(then time.Time, now time.Time) (Floor, bool) {
	from, age := int64(then.Sub(s.base)), int64(now.Sub(then))
	reach := sampleLeast * sampleSlots
	first := 0
	for first < sampleLevels-1 && reach < age {
		first++
		reach *= 2
	}
	for i := first; i >= 0; i-- {
		var best Floor
		oldest := int64(-1)
		for j := range s.levels[i].slots {
			if at, f, ok := s.levels[i].slots[j].load(); ok && at >= from && (oldest < 0 || at < oldest) {
				oldest, best = at, f
			}
		}
		if oldest >= 0 {
			return best, true
		}
	}
	return Floor{}, false
}

// load returns the sample, and false if it is being written or was never.
func (x *sample) load() (asked int64, f Floor, ok bool) {
	seq := x.seq.Load()
	if seq == 0 || seq%2 != 0 {
		return 0, Floor{}, false
	}
	asked = x.asked.Load()
	f = Floor{Era: x.era.Load(), LSN: lsn.LSN(x.lsn.Load())}
	return asked, f, x.seq.Load() == seq
}

// age returns how long ago the latest sample was asked for.
func (s *samples) age(now time.Time) time.Duration {
	return now.Sub(s.base) - time.Duration(s.newest.Load())
}
