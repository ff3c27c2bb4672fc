package stress_test

import (
	"sync"
	"time"
)

// pauses are the statements, transactions and requests that took long.
type pauses struct {
	mu   sync.Mutex // guards the field below
	list []pause
}

type pause struct {
	who      string
	from, to time.Time
}

// add notes one, if it is worth it.
func (p *pauses) add(who string, from, to time.Time) {
	if to.Sub(from) < 50*time.Millisecond {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, pause{who, from, to})
}

// during returns the longest one that has a part between from and to.
func (p *pauses) during(from, to time.Time) (longest pause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.list {
		if one.to.After(from) && one.from.Before(to) && one.to.Sub(one.from) > longest.to.Sub(longest.from) {
			longest = one
		}
	}
	return longest
}
