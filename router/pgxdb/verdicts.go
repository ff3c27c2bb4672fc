package pgxdb

import (
	"sync"
	"sync/atomic"
)

const (
	// maxVerdicts bounds how many texts are remembered, and maxVerdictText how
	// long one may be: 16 MiB at most.
	maxVerdicts    = 4 << 10
	maxVerdictText = 4 << 10
)

// verdicts remembers what the classifier has said of texts, so that a text
// that runs again is not scanned again. Looking one up takes no lock.
type verdicts struct {
	known sync.Map // text → *verdict
	count atomic.Int64

	misses sync.Map // text → struct{}: what a replica refused
	missed atomic.Int64
}

// find returns what was said of a text when the catalogue was gen.
func (s *verdicts) find(sql string, gen uint64) (verdict, bool) {
	x, ok := s.known.Load(sql)
	if !ok {
		return verdict{}, false
	}
	v := x.(*verdict)
	return *v, v.gen == gen
}

// add remembers a verdict. When there are too many, all are forgotten: that
// costs a scan for each.
func (s *verdicts) add(sql string, v verdict) {
	if len(sql) > maxVerdictText {
		return
	}
	if _, had := s.known.Swap(sql, &v); !had && s.count.Add(1) > maxVerdicts {
		s.known.Clear()
		s.count.Store(0)
	}
}

// misjudged remembers that a text is not a read, whatever the catalogue says.
func (s *verdicts) misjudged(sql string) {
	if len(sql) > maxVerdictText {
		return
	}
	if _, had := s.misses.LoadOrStore(sql, struct{}{}); !had && s.missed.Add(1) > maxVerdicts {
		s.misses.Clear()
		s.missed.Store(0)
	}
	s.known.Delete(sql)
}

// wasMisjudged reports whether a replica refused the text before.
func (s *verdicts) wasMisjudged(sql string) bool {
	if s.missed.Load() == 0 {
		return false
	}
	_, ok := s.misses.Load(sql)
	return ok
}
