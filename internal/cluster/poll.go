package cluster

import (
	"context"
	"fmt"
	"time"
)

// poll calls done every few milliseconds until it says so, fails, or ctx ends.
func poll(ctx context.Context, what string, done func() (bool, error)) error {
	return pollUntil(ctx.Done(), func() error { return context.Cause(ctx) }, what, done)
}

// pollFor is poll for a time instead of a context.
func pollFor(within time.Duration, what string, done func() (bool, error)) error {
	stop := make(chan struct{})
	timer := time.AfterFunc(within, func() { close(stop) })
	defer timer.Stop()
	return pollUntil(stop, func() error { return fmt.Errorf("not after %v", within) }, what, done)
}

func pollUntil(stop <-chan struct{}, cause func() error, what string, done func() (bool, error)) error {
	pause := 2 * time.Millisecond
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return fmt.Errorf("%s: %w", what, cause())
		case <-timer.C:
		}
		ok, err := done()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if ok {
			return nil
		}
		timer.Reset(pause)
		pause = min(pause+pause/4, 25*time.Millisecond)
	}
}
