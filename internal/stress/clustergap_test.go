package stress_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
)

// gapMeter writes to every member directly, without pgroute, as often as they
// take it. What lies between two writes that were taken is the cluster's own gap.
type gapMeter struct {
	mu     sync.Mutex // guards the field below
	writes []time.Time
}

// watch ends with ctx.
func (g *gapMeter) watch(ctx context.Context, m *cluster.PatroniMember, key int) {
	var conn *pgx.Conn
	defer func() { hangUp(conn) }()
	write := fmt.Sprintf("UPDATE kv SET v = v + 1 WHERE k = %d", key)
	follows := false // then it refuses writes, and would log each
	for ctx.Err() == nil {
		pause := 2 * time.Millisecond
		if conn == nil || conn.IsClosed() {
			var err error
			if conn, err = connect(ctx, m.Addr(), cluster.AppDatabase); err != nil {
				rest(ctx, pause)
				continue
			}
		}
		if follows {
			answer, err := simple(ctx, conn, "SELECT pg_is_in_recovery()")
			follows = err == nil && answer == "t"
		} else if _, err := simple(ctx, conn, write); err == nil {
			g.mu.Lock()
			g.writes = append(g.writes, time.Now())
			g.mu.Unlock()
		} else {
			follows = true
		}
		if follows {
			rest(ctx, pause)
		}
		rest(ctx, pause)
	}
}

// during returns the longest time without a write between from and to, and when
// the first write after it was.
func (g *gapMeter) during(from, to time.Time) (gap time.Duration, end time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	slices.SortFunc(g.writes, time.Time.Compare)
	var last time.Time
	for _, at := range g.writes {
		if d := at.Sub(last); !last.IsZero() && at.After(from) && last.Before(to) && d > gap {
			gap, end = d, at
		}
		last = at
	}
	return gap, end
}
