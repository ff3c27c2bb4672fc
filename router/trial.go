package router

import (
	"context"
	"fmt"
	"time"
)

// tryNodes lets nodes whose breaker's pause is over, or that are doubted, prove
// that a login succeeds. Each attempt is a goroutine of its own, because a server that hangs
// takes all the time it is given; it ends by itself within ProbeTimeout, and
// Run waits for it.
func (r *Router) tryNodes(ctx context.Context, now time.Time) {
	for _, n := range r.topo.Load().Nodes {
		// Without the monitor's own connection it would not count anyway.
		if n.Role() == RoleUnknown || !n.health.due(now) {
			continue
		}
		r.monitors.Go(func() { r.tryNode(ctx, n) })
	}
}

// tryNode logs in to n anew, which is what went wrong for its clients, and
// tells the breaker.
func (r *Router) tryNode(ctx context.Context, n *Node) {
	limit := newGuard(ctx, r.cfg.ProbeTimeout)
	defer limit.end()
	err := r.loginTo(limit, n)
	if ctx.Err() != nil {
		err = context.Canceled // the router ends, which says nothing about n
	}
	if n.health.tried(err, time.Now()) {
		n.breakerChanged(err)
	}
}

func (r *Router) loginTo(limit *guard, n *Node) error {
	probe, err := r.cfg.Prober.Connect(limit.ctx, n.Addr)
	if err != nil {
		return fmt.Errorf("log in to %s: %w", n.Name, err)
	}
	defer probe.Close()
	if _, err := probe.Identify(limit.ctx); err != nil {
		return fmt.Errorf("identify %s: %w", n.Name, err)
	}
	return nil
}

// Report tells the outcome of dialling or using the node: nil for success. A
// replica with which it goes wrong again and again serves no reads until a
// login has succeeded, which is tried after a pause that grows; a primary stays
// what it is. It may take locks.
func (n *Node) Report(err error) {
	if n.health.report(err, time.Now()) {
		n.breakerChanged(err)
	}
}

// Doubt says that a login to the node takes unusually long. The router then
// tries one of its own, and if that hangs too, the node's breaker opens without
// waiting for more failures. It does not block and takes no locks.
func (n *Node) Doubt() { n.health.doubted.Store(true) }

// breakerChanged tells everybody what has become of the breaker.
func (n *Node) breakerChanged(err error) {
	log := n.r.log
	switch n.health.state.Load() {
	case breakerOpen:
		log.Warn("connections to the node fail: its breaker has opened", "node", n.Name, "error", err,
			"tries_again_in", n.health.nextPause().Round(time.Millisecond))
	case breakerTrial:
		log.Info("the node is on trial", "node", n.Name)
	default:
		log.Info("the node is trusted again: its breaker has closed", "node", n.Name)
	}
	n.r.review()
}
