package stress_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
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

var easeFlag = flag.Duration("stress.ease", 0, "how long the clients of TestSwitchover rest between two rounds, 0 for as little as they can")

// visitors is how many book at one time in TestSwitchover.
const visitors = 4

// TestSwitchover: planned switchovers of a real cluster of Patroni under pgbench's
// TPC-B, the booking example, and short transactions, single writes and reads. New
// work waits from the announcement on; an error of a client is an error of the
// test. Only transactions that Patroni's stop cut off, for which it does not wait,
// are counted and listed, unless -stress.strict is set: on a busy machine one takes
// longer than the moment between the announcement and the stop. It prints, for each
// switchover, the cluster's own gap and the longest pause of a client; with
// -stress.strict no pause is longer than the gap by more than -stress.pause-more.
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
	var waits pauses
	bench := newPgbench(t, s, &waits)
	if _, err := bench.run(t.Context(), "-i", "-q", "-s", "4"); err != nil {
		t.Fatal(err)
	}
	th := openTheatre(t, s, p.ZooKeeper())

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup // whose goroutines end with stop or enough
	enough := make(chan struct{})
	var gap gapMeter
	for i, m := range p.Members() {
		wg.Go(func() { gap.watch(ctx, m, 10+i) })
	}
	var told announcements
	wg.Go(func() { told.watch(ctx, s.srv.Router()) })
	clients := make([]*commuter, 8)
	for i := range clients {
		c := &commuter{key: i + 1, s: s, pauses: &waits}
		clients[i] = c
		wg.Go(func() { c.drive(ctx) })
	}
	guests := make([]*visitor, visitors)
	for i := range guests {
		v := &visitor{id: i, th: th, pauses: &waits}
		guests[i] = v
		wg.Go(func() { v.drive(ctx) })
	}
	var turns sync.WaitGroup
	turns.Go(func() { bench.drive(t.Context(), 15, enough) })

	type window struct{ from, to time.Time }
	var windows []window
	for n := range *switchoversFlag {
		from, err := switchOver(t, p)
		if err != nil {
			t.Fatalf("switchover %d: %v", n+1, err)
		}
		windows = append(windows, window{from, time.Now()})
	}
	// Everybody goes on.
	for _, c := range clients {
		before := c.rounds()
		if err := until(t.Context(), "a client goes on", func() (bool, error) { return c.rounds() > before, nil }); err != nil {
			t.Error(err)
		}
	}
	close(enough)
	turns.Wait()
	stop()
	wg.Wait()

	stops := stopsOf(p)
	t.Logf("%4s %12s %9s %9s %14s %22s %14s %-8s %9s", "no", "asked", "heard", "stopped", "cluster's gap", "from its announcement", "longest pause", "of", "more")
	var worst time.Duration
	var held []heldUp
	for n, w := range windows {
		own, end := gap.during(w.from, w.to)
		one := waits.during(w.from, w.to)
		took := one.to.Sub(one.from)
		held = append(held, heldUp{own, took, one.who})
		worst = max(worst, took-own)
		t.Logf("%4d %12s %9v %9v %14v %22v %14v %-8s %9v", n+1, w.from.UTC().Format(logTime), after(w.from, told.times()), after(w.from, stops), own.Round(time.Millisecond), end.Sub(w.from).Round(time.Millisecond), took.Round(time.Millisecond), one.who, (took - own).Round(time.Millisecond))
	}
	total, booked, lost := 0, 0, 0
	var errs, caught []error
	late := 0 // of caught: no announcement was heard between its beginning and its end
	within := func(c *cutOff) bool {
		return slices.ContainsFunc(windows, func(w window) bool { return c.ended.After(w.from) && c.began.Before(w.to) })
	}
	judge := func(err error) {
		c, ok := errors.AsType[*cutOff](err)
		switch {
		case ok && told.during(c.began, c.ended):
			caught = append(caught, err)
		case ok && within(c):
			late++
			caught = append(caught, err)
		default:
			errs = append(errs, err)
		}
	}
	for _, c := range clients {
		total += c.done
		for _, err := range c.errors {
			judge(err)
		}
		lost += c.lost
	}
	for _, v := range guests {
		booked += v.booked
		errs = append(errs, v.errors...)
	}
	for _, err := range bench.errors {
		judge(err)
	}
	t.Logf("%d switchovers; %d rounds, %d transactions of pgbench in %d turns, %d bookings; %d errors, %d transactions were cut off by the stop (%d of them without an announcement heard meanwhile), %d connections lost; at most %v more than the cluster's gap",
		len(windows), total, bench.done, bench.runs, booked, len(errs), len(caught), late, lost, worst.Round(time.Millisecond))
	if *strictFlag {
		errs, caught = append(errs, caught...), nil
		for _, line := range tooLong(held, *pauseMoreFlag) {
			t.Error(line)
		}
	}
	for _, err := range caught {
		t.Logf("cut off: %v", err)
	}
	for _, err := range errs {
		t.Errorf("a client saw: %v", err)
	}
	if len(errs)+len(caught) > 0 {
		for _, m := range p.Members() {
			t.Logf("the end of the log of %s:\n%s", m, m.LogTail(8<<10))
		}
	}
}

// switchOver makes another member the leader. Patroni refuses for as long as that
// one has not caught up. It returns when it was asked.
func switchOver(t *testing.T, p *cluster.PatroniCluster) (from time.Time, err error) {
	err = until(t.Context(), "Patroni switches over", func() (bool, error) {
		leader, err := p.Leader(t.Context())
		if err != nil {
			return false, err
		}
		next := p.Members()[0]
		if next == leader {
			next = p.Members()[1]
		}
		from = time.Now()
		if err := p.Switchover(t.Context(), next); err != nil {
			t.Log(err)
			return false, p.WaitSteady(t.Context())
		}
		return true, p.WaitSteady(t.Context())
	})
	return from, err
}

// commuter is a client of TestSwitchover.
type commuter struct {
	key    int
	s      *sidecar
	mu     sync.Mutex // guards done while it drives
	done   int
	lost   int
	pauses *pauses
	errors []error
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
		if err := c.round(ctx, conn); err != nil {
			c.saw(ctx, err)
			if conn.IsClosed() && ctx.Err() == nil {
				c.lost++
			} else if _, err := simple(context.WithoutCancel(ctx), conn, "ROLLBACK"); err != nil {
				c.saw(ctx, err)
			}
		}
		c.mu.Lock()
		c.done++
		c.mu.Unlock()
		rest(ctx, max(time.Millisecond, *easeFlag))
	}
}

func (c *commuter) round(ctx context.Context, conn *pgx.Conn) error {
	started := time.Now()
	for i, sql := range []string{"BEGIN", "UPDATE kv SET v = v + 1 WHERE k = %d", "SELECT v FROM kv WHERE k = %d", "COMMIT",
		"UPDATE kv SET v = v + 1 WHERE k = %d", "SELECT v FROM kv WHERE k = %d"} {
		if len(sql) > 10 {
			sql = fmt.Sprintf(sql, c.key)
		}
		began := time.Now()
		_, err := simple(ctx, conn, sql)
		c.pauses.add("client", began, time.Now())
		if err != nil {
			err = fmt.Errorf("statement %d of a round, %s, from %s on for %v: %w", i+1, sql, began.UTC().Format(logTime), time.Since(began).Round(time.Millisecond), err)
			switch {
			case i == 0, i == 5: // a BEGIN and a read run again
				return err
			case i == 4:
				started = began
			}
			return &cutOff{err, started, time.Now()}
		}
	}
	return nil
}

// logTime is how PostgreSQL's log writes times.
const logTime = "15:04:05.000"

func (c *commuter) saw(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		err = fmt.Errorf("%w (%s)", err, e.Detail)
	}
	c.errors = append(c.errors, err)
}

// stopsOf returns when PostgreSQL was told to stop, by the logs of the members.
func stopsOf(p *cluster.PatroniCluster) (stops []time.Time) {
	for _, m := range p.Members() {
		for line := range strings.Lines(m.LogTail(64 << 20)) {
			if at, rest, ok := strings.Cut(line, " UTC "); ok && strings.Contains(rest, "received fast shutdown request") {
				if when, err := time.Parse("2006-01-02 "+logTime, at); err == nil {
					stops = append(stops, when)
				}
			}
		}
	}
	slices.SortFunc(stops, time.Time.Compare)
	return stops
}

// after returns how long after from the first of times came that did, "-" if none.
func after(from time.Time, times []time.Time) string {
	for _, at := range times {
		if d := at.Sub(from); d > 0 {
			return d.Round(time.Millisecond).String()
		}
	}
	return "-"
}
