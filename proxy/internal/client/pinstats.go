package client

import (
	"sync/atomic"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// pinStats are the counters of pins, by kind.
type pinStats struct {
	// PinChecks are the questions to backends whether what pins a client is
	// still there.
	PinChecks atomic.Uint64

	pins [sqlclass.PinKinds]struct {
		total atomic.Uint64
		now   atomic.Int64
	}
}

func (s *pinStats) pinned(kinds sqlclass.Pins) {
	for i := range s.pins {
		if kinds&(1<<i) != 0 {
			s.pins[i].total.Add(1)
			s.pins[i].now.Add(1)
		}
	}
}

func (s *pinStats) unpinned(kinds sqlclass.Pins) {
	for i := range s.pins {
		if kinds&(1<<i) != 0 {
			s.pins[i].now.Add(-1)
		}
	}
}

// EachPin calls f for every kind of pin, with how often clients have got it
// and how many have it now.
func (s *pinStats) EachPin(f func(kind int, total uint64, now int64)) {
	for i := range s.pins {
		f(i, s.pins[i].total.Load(), s.pins[i].now.Load())
	}
}
