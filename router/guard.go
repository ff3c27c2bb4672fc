package router

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var errProbeTimeout = errors.New("the server did not answer in time")

// guard is the context of one connection. It bounds each call on it without
// making a context for each.
type guard struct {
	ctx    context.Context //nolint:containedctx // it lives as long as the connection does
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

// newGuard returns a guard with its timer running, for the connect. end must
// be called.
func newGuard(parent context.Context, limit time.Duration) *guard {
	ctx, cancel := context.WithCancelCause(parent)
	return &guard{ctx: ctx, cancel: cancel, limit: limit,
		timer: time.AfterFunc(limit, func() { cancel(errProbeTimeout) })}
}

// arm starts the time of one call, disarm ends it.
func (g *guard) arm()    { g.timer.Reset(g.limit) }
func (g *guard) disarm() { g.timer.Stop() }

func (g *guard) end() {
	g.timer.Stop()
	g.cancel(nil)
}

// connectPrimary opens a connection to the primary of e and makes sure that it
// is still that.
func (r *Router) connectPrimary(limit *guard, e *era) (Probe, error) {
	limit.arm()
	defer limit.disarm()
	probe, err := r.cfg.Prober.Connect(limit.ctx, e.node.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect to primary %s: %w", e.node.Name, err)
	}
	st, err := probe.Identify(limit.ctx)
	if err == nil && !e.is(e.node, &st) {
		err = errEraChanged
	}
	if err != nil {
		probe.Close()
		return nil, fmt.Errorf("identify primary %s: %w", e.node.Name, err)
	}
	return probe, nil
}

// backoff spaces attempts that fail. The zero value begins anew.
type backoff struct{ last time.Duration }

const (
	backoffLeast = 50 * time.Millisecond
	backoffMost  = 500 * time.Millisecond
)

// wait sleeps longer each time, until wake or the end of ctx.
func (b *backoff) wait(ctx context.Context, wake <-chan struct{}) {
	b.last = min(max(2*b.last, backoffLeast), backoffMost)
	sleep(ctx, b.last, wake)
}

// sleep returns after d, when wake has something, or when ctx is done.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
}
