package stress_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router/zookeeper"
)

var switchoversFlag = flag.Int("stress.switchovers", 1, "how many planned switchovers of a Patroni cluster are done under load")

// TestSwitchover: planned switchovers of a real cluster of Patroni under a load
// of short transactions, single writes and reads. New work waits from the
// announcement on; an error of a client is an error of the test, but for a
// transaction that was still open when Patroni stopped the server.
func TestSwitchover(t *testing.T) {
	if testing.Short() || !cluster.PatroniInstalled() {
		t.Skip("needs Patroni and ZooKeeper, and takes seconds")
	}
	p := cluster.StartPatroni(t, 3, cluster.PatroniOptions{})
	leader, err := p.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.Exec(t.Context(), schema...); err != nil {
		t.Fatal(err)
	}
	src, err := zookeeper.NewPatroni(zookeeper.Config{Hosts: p.ZooKeeper().Addr(), Path: p.Path(), SessionTimeout: 3 * time.Second, Logger: logger("zookeeper")})
	if err != nil {
		t.Fatal(err)
	}
	s := startSidecar(t, "a", src, func(cfg *proxy.Config) { cfg.Auth, cfg.PrimaryWait = proxy.AuthSCRAM, patience })
	if err := s.settle(t.Context(), probeSQL, 2); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	all := make([]*commuter, 8)
	var wg sync.WaitGroup
	for i := range all {
		c := &commuter{key: i + 1, s: s}
		all[i] = c
		wg.Go(func() { c.drive(ctx) }) // ends with stop, waited for below
	}
	for n := range *switchoversFlag {
		if err := switchOver(t, p); err != nil {
			stop()
			t.Fatalf("switchover %d: %v", n+1, err)
		}
	}
	// Everybody goes on.
	for _, c := range all {
		before := c.rounds()
		if err := until(t.Context(), "a client goes on", func() (bool, error) { return c.rounds() > before, nil }); err != nil {
			t.Error(err)
		}
	}
	stop()
	wg.Wait()
	total := commuter{}
	for _, c := range all {
		total.done += c.done
		total.errors = append(total.errors, c.errors...)
		total.longest = max(total.longest, c.longest)
		total.lost += c.lost
	}
	t.Logf("%d switchovers, %d rounds of 8 clients, the longest took %v, %d errors, %d connections lost", *switchoversFlag, total.done, total.longest, len(total.errors), total.lost)
	for _, err := range total.errors {
		t.Errorf("a client saw: %v", err)
	}
}

// switchOver makes another member the leader. Patroni refuses for as long as that
// one has not caught up.
func switchOver(t *testing.T, p *cluster.PatroniCluster) error {
	return until(t.Context(), "Patroni switches over", func() (bool, error) {
		leader, err := p.Leader(t.Context())
		if err != nil {
			return false, err
		}
		next := p.Members()[0]
		if next == leader {
			next = p.Members()[1]
		}
		if err := p.Switchover(t.Context(), next); err != nil {
			t.Log(err)
			return false, p.WaitSteady(t.Context())
		}
		return true, p.WaitSteady(t.Context())
	})
}

// commuter is a client of TestSwitchover.
type commuter struct {
	key     int
	s       *sidecar
	mu      sync.Mutex // guards done while it drives
	done    int
	lost    int
	longest time.Duration
	errors  []error
}

func (c *commuter) rounds() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done
}

// drive does rounds of a transaction, a write and a read until ctx ends.
func (c *commuter) drive(ctx context.Context) {
	var conn *pgx.Conn
	defer func() { hangUp(conn) }()
	for ctx.Err() == nil {
		if conn == nil || conn.IsClosed() {
			var err error
			if conn, err = c.s.dial(ctx); err != nil {
				c.saw(ctx, err)
				continue
			}
		}
		began := time.Now()
		if err := c.round(ctx, conn); err != nil {
			c.saw(ctx, err)
			if conn.IsClosed() && ctx.Err() == nil {
				c.lost++
			} else if _, err := simple(context.WithoutCancel(ctx), conn, "ROLLBACK"); err != nil {
				c.saw(ctx, err)
			}
		}
		c.longest = max(c.longest, time.Since(began))
		c.mu.Lock()
		c.done++
		c.mu.Unlock()
		rest(ctx, time.Millisecond)
	}
}

func (c *commuter) round(ctx context.Context, conn *pgx.Conn) error {
	for _, sql := range []string{"BEGIN", "UPDATE kv SET v = v + 1 WHERE k = %d", "SELECT v FROM kv WHERE k = %d", "COMMIT",
		"UPDATE kv SET v = v + 1 WHERE k = %d", "SELECT v FROM kv WHERE k = %d"} {
		if len(sql) > 10 {
			sql = fmt.Sprintf(sql, c.key)
		}
		if _, err := simple(ctx, conn, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

func (c *commuter) saw(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		err = fmt.Errorf("%w (%s)", err, e.Detail)
	}
	c.errors = append(c.errors, err)
}
