package router

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	// breakerFailures is how many failures in a row open the breaker.
	breakerFailures = 3
	// breakerLeast and breakerMost bound the pause after which an open breaker
	// lets something be tried. It doubles each time that the breaker opens
	// again, and is the shortest again once the node was trusted for
	// breakerForget.
	breakerLeast  = time.Second
	breakerMost   = 30 * time.Second
	breakerForget = time.Minute
	// breakerProofs is how many logins in a row have to succeed until a node is
	// trusted again: the first is the router's own, so that no client tries a
	// server that hangs, the others are whoever's come first.
	breakerProofs = 2
	// trialPatience is how long clients are left to prove a node on trial by
	// using it. After that the router logs in once more.
	trialPatience = 2 * time.Second
)

// The states of a breaker.
const (
	breakerClosed uint32 = iota
	// breakerOpen: the node is left out.
	breakerOpen
	// breakerTrial: a login has succeeded, and a few reads may go there. The
	// first failure opens the breaker again.
	breakerTrial
)

var breakerNames = []string{"closed", "open", "trial"}

// health is the breaker of one node. It is fed by those who use the node, and
// so knows what a monitor cannot, whose connection has long been there: that
// logins fail, or that new connections hang. For the same reason only a new
// login can prove that the node is well again.
//
// A breaker keeps reads away from a replica, and nothing else: who takes writes
// is the election's to say.
type health struct {
	// state mirrors the breaker's, so that looking at it takes no lock.
	state atomic.Uint32
	// openings counts how often it has opened.
	openings atomic.Uint64
	// doubted: somebody waits for a login and wants to know what is wrong.
	doubted atomic.Bool

	mu      sync.Mutex // guards the fields below
	breaker *gobreaker.CircuitBreaker[struct{}]
	// pause is the last one, until is when it ends; opened and closed are when
	// the breaker last was.
	pause                 time.Duration
	until, opened, closed time.Time
	// proved is when a login last proved the node, while it is on trial. trying
	// is true while one is under way.
	proved time.Time
	trying bool
	seed   uint64
}

func (h *health) init(name string, seed uint64) {
	h.seed = seed
	h.breaker = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        name,
		MaxRequests: breakerProofs,
		// Only the shortest pause is gobreaker's; until is what counts.
		Timeout:     breakerLeast / 2,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
		// Who gave up says nothing about the node.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
	})
}

func (h *health) open() bool { return h.state.Load() == breakerOpen }

// report notes an outcome at the time now and reports whether the state
// changed. An open breaker does not listen: what comes late was begun before it
// opened.
func (h *health) report(err error, now time.Time) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open() {
		return false
	}
	return h.executeLocked(err, now)
}

// executeLocked puts an outcome into the breaker and follows its state.
func (h *health) executeLocked(err error, now time.Time) (changed bool) {
	_, refused := h.breaker.Execute(func() (struct{}, error) { return struct{}{}, err })
	if errors.Is(refused, gobreaker.ErrOpenState) || errors.Is(refused, gobreaker.ErrTooManyRequests) {
		return false
	}
	before, after := h.state.Load(), breakerClosed
	switch h.breaker.State() {
	case gobreaker.StateOpen:
		after = breakerOpen
		h.openLocked(now)
	case gobreaker.StateHalfOpen:
		after = breakerTrial
		h.proved = now
	default:
		if before != breakerClosed {
			h.closed = now
		}
	}
	h.state.Store(after)
	return after != before
}

// openLocked chooses how long the node is left alone.
func (h *health) openLocked(now time.Time) {
	if h.state.Load() == breakerClosed && now.Sub(h.closed) >= breakerForget {
		h.pause = 0
	}
	h.pause = min(max(2*h.pause, breakerLeast), breakerMost)
	// Proxies that saw the same trouble shall not all come back at once.
	h.seed = h.seed*6364136223846793005 + 1442695040888963407
	spread := time.Duration(h.seed>>33) % (h.pause / 4)
	h.opened, h.until = now, now.Add(h.pause-h.pause/8+spread)
	h.openings.Add(1)
}

// due reports whether the router should try a login now. Then it is under way
// until tried is called.
func (h *health) due(now time.Time) bool {
	state, doubted := h.state.Load(), h.doubted.Swap(false)
	if state == breakerClosed && !doubted {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	wait := h.until
	switch {
	case state == breakerTrial && !doubted:
		wait = h.proved.Add(trialPatience)
	case state != breakerOpen:
		wait = now
	}
	if h.trying || now.Before(wait) {
		return false
	}
	h.trying = true
	return true
}

// tried notes how the login ended that due asked for.
func (h *health) tried(err error, now time.Time) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trying = false
	changed = h.executeLocked(err, now)
	// Of a node that is doubted, one failure confirms what others have met.
	for range breakerFailures - 1 {
		if err == nil || h.open() || errors.Is(err, context.Canceled) {
			break
		}
		changed = h.executeLocked(err, now) || changed
	}
	return changed
}

// met notes that the monitor has logged in anew, in a connection that it began
// at the time began. Whatever was wrong before may be over, so that the rest
// of a long pause is not waited for.
func (h *health) met(began time.Time) {
	if !h.open() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if soon := h.opened.Add(breakerLeast); h.opened.Before(began) && soon.Before(h.until) {
		h.until = soon
	}
}

// nextPause is how long the node is left alone after the last opening.
func (h *health) nextPause() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.until.Sub(h.opened)
}
