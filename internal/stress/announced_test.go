package stress_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pgroute/pgroute/router"
)

// announcements are when a router heard that a switchover is to come.
type announcements struct {
	mu   sync.Mutex // guards the field below
	list []time.Time
}

// watch ends with ctx.
func (a *announcements) watch(ctx context.Context, r *router.Router) {
	known := false
	for ctx.Err() == nil {
		t := r.Topology()
		announced := !t.Switchover.IsZero()
		if announced && !known {
			a.mu.Lock()
			a.list = append(a.list, time.Now())
			a.mu.Unlock()
		}
		known = announced
		select {
		case <-t.Changed():
		case <-ctx.Done():
		}
	}
}

// times returns when each came.
func (a *announcements) times() []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.list)
}

// during reports whether one came between from and to.
func (a *announcements) during(from, to time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, at := range a.list {
		if at.After(from) && at.Before(to) {
			return true
		}
	}
	return false
}

// cutOff is the error of a transaction that the server did not bring to its end.
type cutOff struct {
	error
	began, ended time.Time
}

func (c *cutOff) Unwrap() error { return c.error }
