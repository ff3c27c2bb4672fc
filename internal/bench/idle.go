package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
)

// An idleResult is what clients that do nothing cost a proxy.
type idleResult struct {
	Target  string `json:"target"`
	Clients int    `json:"clients"`
	None    int64  `json:"rss_none_bytes"`    // after one client came and left
	Login   int64  `json:"rss_login_bytes"`   // as soon as the last one is idle
	Settled int64  `json:"rss_settled_bytes"` // some seconds later
	Peak    int64  `json:"peak_bytes"`
	// PerClient is (Settled - None) / Clients.
	PerClient float64       `json:"bytes_per_client"`
	Took      time.Duration `json:"login_ns"` // until all were idle
}

// idleWorkers log clients in at the same time.
const idleWorkers = 16

// measureIdle logs the clients in by SCRAM, lets each run one simple and one
// prepared query, and reads the proxy's memory while they do nothing.
func (l *lab) measureIdle(ctx context.Context, rep *report) (err error) {
	c, err := l.cluster(ctx, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for _, name := range l.opts.targets {
		var p *program
		prepared := true
		switch name {
		case pgrouteSession:
			p, err = l.startPgroute(ctx, c, "session", "scram")
		case pgroutePrimary:
			if l.opts.has(pgrouteSession) {
				continue // the level does not change what a client weighs
			}
			p, err = l.startPgroute(ctx, c, "primary", "scram")
		case pgbouncer:
			prepared = l.bouncer.prepares()
			p, err = l.startBouncer(ctx, c, "transaction", "scram-sha-256", l.opts.pool)
		default:
			continue
		}
		if err != nil {
			return err
		}
		r, err := l.idle(ctx, p, prepared)
		p.stop()
		if err != nil {
			return fmt.Errorf("idle clients of %s: %w\n%s", name, err, p.tail())
		}
		r.Target = name
		r.print()
		rep.Idle = append(rep.Idle, r)
	}
	return nil
}

func (r *idleResult) print() {
	fmt.Printf("\nidle clients: %s, %d clients in %.1f s\n", r.Target, r.Clients, r.Took.Seconds())
	fmt.Printf("  RSS %.1f MiB with none, %.1f after the last login, %.1f settled, %.1f peak: %.2f KiB per client\n",
		mib(r.None), mib(r.Login), mib(r.Settled), mib(r.Peak), r.PerClient/1024)
}

// idle measures one proxy. Without prepared the second query has no name.
func (l *lab) idle(ctx context.Context, p *program, prepared bool) (*idleResult, error) {
	// The first client makes the proxy open what it opens only once.
	first := newCrowd(p.addr, 1, prepared)
	if err := first.login(ctx, 1); err != nil {
		return nil, err
	}
	first.leave()
	if err := pause(ctx, time.Second); err != nil {
		return nil, err
	}
	none, err := p.memory()
	if err != nil {
		return nil, err
	}
	crowd := newCrowd(p.addr, l.opts.idle, prepared)
	defer crowd.leave()
	began := time.Now()
	if err := crowd.login(ctx, idleWorkers); err != nil {
		return nil, err
	}
	took := time.Since(began)
	login, err := p.memory()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "bench: %d clients of %s are idle\n", l.opts.idle, p.name)
	if err := pause(ctx, l.opts.settle); err != nil {
		return nil, err
	}
	settled, err := p.memory()
	if err != nil {
		return nil, err
	}
	return &idleResult{
		Clients: l.opts.idle, None: none.now, Login: login.now, Settled: settled.now, Peak: settled.peak, Took: took,
		PerClient: float64(settled.now-none.now) / float64(l.opts.idle),
	}, nil
}

// pause waits for a measurement's own sake.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A crowd is many clients of one proxy.
type crowd struct {
	dsn      string
	prepared bool
	conns    []*pgconn.PgConn // each is set by the worker that drew its number
	next     atomic.Int64
}

func newCrowd(addr string, size int, prepared bool) *crowd {
	dsn := fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable&connect_timeout=30", cluster.AppUser, cluster.AppPassword,
		addr, cluster.AppDatabase)
	return &crowd{dsn: dsn, prepared: prepared, conns: make([]*pgconn.PgConn, size)}
}

// login logs all in and returns when each has run its queries, or one failed.
func (c *crowd) login(ctx context.Context, workers int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for range workers {
		all.Add(1)
		// Ends when every number is drawn or ctx is done; waited for below.
		go c.loginLoop(ctx, cancel, &all)
	}
	all.Wait()
	return context.Cause(ctx)
}

func (c *crowd) loginLoop(ctx context.Context, fail context.CancelCauseFunc, all *sync.WaitGroup) {
	defer all.Done()
	for ctx.Err() == nil {
		i := int(c.next.Add(1)) - 1
		if i >= len(c.conns) {
			return
		}
		conn, err := pgconn.Connect(ctx, c.dsn)
		if err == nil {
			c.conns[i] = conn
			err = c.query(ctx, conn)
		}
		if err != nil {
			fail(fmt.Errorf("client %d: %w", i+1, err))
		}
	}
}

// query runs one simple and one prepared query.
func (c *crowd) query(ctx context.Context, conn *pgconn.PgConn) error {
	if _, err := conn.Exec(ctx, "SELECT 1").ReadAll(); err != nil {
		return err
	}
	one := [][]byte{[]byte("1")}
	if !c.prepared {
		return conn.ExecParams(ctx, "SELECT $1::int", one, nil, nil, nil).Read().Err
	}
	if _, err := conn.Prepare(ctx, "bench", "SELECT $1::int", nil); err != nil {
		return err
	}
	return conn.ExecPrepared(ctx, "bench", one, nil, nil).Read().Err
}

// leave closes the sockets; a proxy must bear clients that leave that way.
func (c *crowd) leave() {
	for _, conn := range c.conns {
		if conn != nil {
			conn.Conn().Close()
		}
	}
}
