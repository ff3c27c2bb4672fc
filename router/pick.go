package router

import (
	"context"
	"fmt"
	"time"
)

// Pick is Begin and Decide for a caller that may block. It returns the error
// of a decision (a *RouteError) as its own, and an error that wraps the cause of
// ctx if that is done first. The decision's Done must be called after a nil
// error.
func (r *Router) Pick(ctx context.Context, q *Request, c *Chain) (Decision, error) {
	r.Begin(q, c, time.Now())
	w := make(wakeChan, 1)
	for {
		d, done := r.Decide(q, c, time.Now(), w)
		if done {
			if d.Err != nil {
				return Decision{}, d.Err
			}
			return d, nil
		}
		sleep(ctx, time.Until(q.Deadline()), w)
		if ctx.Err() != nil {
			r.Cancel(q)
			return Decision{}, fmt.Errorf("wait for a replica: %w", context.Cause(ctx))
		}
	}
}

// WaitTicket is Await for a caller that may block. While there is no primary that
// answers it waits; the only error wraps the cause of ctx.
func (r *Router) WaitTicket(ctx context.Context, gen uint64) (Floor, error) {
	var q Request
	w := make(wakeChan, 1)
	for {
		if f, ok := r.Await(&q, gen, w); ok {
			return f, nil
		}
		select {
		case <-w:
		case <-ctx.Done():
			r.Cancel(&q)
			return Floor{}, fmt.Errorf("wait for the primary's position: %w", context.Cause(ctx))
		}
	}
}

// WaitReading waits until a reading of n's replay position that was asked after
// dialed is answered, so that Node.Covers can be asked again for a backend that
// was dialled then, or until n is no replica any more, which is no error. It is
// AwaitReading for a caller that may block; the only error wraps the cause of
// ctx.
func (r *Router) WaitReading(ctx context.Context, n *Node, dialed uint64) error {
	var q Request
	w := make(wakeChan, 1)
	for !r.AwaitReading(&q, n, dialed, w) {
		select {
		case <-w:
		case <-ctx.Done():
			r.Cancel(&q)
			return fmt.Errorf("wait for the replay position of %s: %w", n.Name, context.Cause(ctx))
		}
	}
	return nil
}

// wakeChan is a Waiter with room for one wake; more say nothing new.
type wakeChan chan struct{}

func (c wakeChan) Wake(uint64, error) {
	select {
	case c <- struct{}{}:
	default:
	}
}
