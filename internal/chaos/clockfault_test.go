package chaos_test

import (
	"context"
	"math/rand/v2"
	"time"
)

// clockTakes is by when every process of a server has seen that its clock was set.
const clockTakes = 2 * time.Second

// setClock sets the clock of a member's server, forward or back, by so much that
// Patroni or PostgreSQL would care or by so little that nobody does. Half of the
// time the server crashes meanwhile, so that a life of it begins with a wrong time;
// and then again once the time is right.
func setClock(pick picker) func(context.Context, *lab, *rand.Rand) (*fault, error) {
	return func(ctx context.Context, l *lab, rng *rand.Rand) (*fault, error) {
		m, err := pick(ctx, l, rng)
		if err != nil {
			return nil, err
		}
		by := []time.Duration{200 * time.Millisecond, 3 * time.Second, time.Minute, 3 * time.Hour, 400 * 24 * time.Hour}[rng.IntN(5)]
		if rng.IntN(2) == 0 {
			by = -by
		}
		crashes := rng.IntN(2) == 0
		step := func(ctx context.Context, by time.Duration) error {
			if err := m.SetClock(by); err != nil {
				return err
			}
			if crashes && pause(ctx, clockTakes) {
				// It may be gone, or hang.
				ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
				defer cancel()
				_ = m.CrashPostgres(ctx)
			}
			return nil
		}
		target := m.Name + " by " + by.String()
		if crashes {
			target += ", with crashes"
		}
		return &fault{target: target, holds: []string{m.Name},
			begin: func(ctx context.Context) error { return step(ctx, by) },
			end:   func(ctx context.Context) error { return step(ctx, 0) }}, nil
	}
}
