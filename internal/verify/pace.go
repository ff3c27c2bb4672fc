package verify

import (
	"context"
	"sync"
	"time"
)

// pace spreads the operations of all clients evenly.
type pace struct {
	step time.Duration // 0: as fast as they can

	mu   sync.Mutex // guards the field below
	next time.Time
}

func newPace(rate int) *pace {
	if rate == 0 {
		return &pace{}
	}
	return &pace{step: time.Second / time.Duration(rate)}
}

// wait returns when the caller may go on; false once ctx is done.
func (p *pace) wait(ctx context.Context) bool {
	if p.step == 0 {
		return ctx.Err() == nil
	}
	p.mu.Lock()
	now := time.Now()
	// After a pause nobody hurries to make up for it.
	if p.next.Before(now) {
		p.next = now
	}
	at := p.next
	p.next = p.next.Add(p.step)
	p.mu.Unlock()
	return rest(ctx, time.Until(at))
}

// rest lets time pass; false once ctx is done.
func rest(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
