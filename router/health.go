package router

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// breakerPause is how long a node is left out after its breaker has opened.
const breakerPause = time.Second

// breakerFailures is how many failures in a row open the breaker.
const breakerFailures = 3

// health is the breaker of one node. It is fed by those who use the node, and
// so knows what a monitor cannot: that logins fail, or that new connections
// hang.
type health struct {
	breaker *gobreaker.CircuitBreaker[struct{}]
	// open mirrors the breaker's state, so that looking at it takes no lock.
	open atomic.Bool
}

func (h *health) init(name string) {
	h.breaker = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        name,
		Timeout:     breakerPause,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			h.open.Store(to == gobreaker.StateOpen)
		},
		// Who gave up says nothing about the node.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
	})
}

// report notes an outcome and reports whether the breaker opened or closed.
func (h *health) report(err error) (changed bool) {
	was := h.open.Load()
	// An open breaker refuses the call; the outcome is not wanted then.
	_, _ = h.breaker.Execute(func() (struct{}, error) { return struct{}{}, err })
	return h.open.Load() != was
}

// refresh lets an open breaker notice that its pause is over, and reports
// whether it was.
func (h *health) refresh() (changed bool) {
	if !h.open.Load() {
		return false
	}
	h.breaker.State()
	return !h.open.Load()
}
