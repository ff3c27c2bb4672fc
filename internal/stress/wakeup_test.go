package stress_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

var (
	wakesFlag   = flag.Int("stress.wakes", 200, "how many wake-ups TestWakeUp measures of each kind; the goal is judged over 5000 on a machine that does nothing else")
	wakeMaxFlag = flag.Duration("stress.wake-max", 0, "fail if 99% of the wake-ups come later than this after what a busy poller sees; the goal is 1ms")
)

// wakeRounds is how often TestWakeUp changes between the kinds, so that what
// else the machine does concerns both alike.
const wakeRounds = 5

// A read that waits for a replica is woken soon after a poller that does
// nothing else would have seen that the replica is there: by polling, and where
// the server has WAIT FOR LSN by that.
func TestWakeUp(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	if err := errors.Join(c.Primary().Exec(t.Context(), "CREATE TABLE w (v int)"), c.WaitCaughtUp(t.Context())); err != nil {
		t.Fatal(err)
	}
	major, err := c.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kinds := []*wakeKind{{name: "polling", park: false}}
	if major >= 19 {
		kinds = append(kinds, &wakeKind{name: "WAIT FOR LSN", park: true})
	}
	src, err := router.Static(c.Primary().Addr(), c.Replicas()[0].Addr())
	if err != nil {
		t.Fatal(err)
	}
	writer, err := c.Primary().Super(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp(writer)
	for range wakeRounds {
		for _, k := range kinds {
			var prober router.Prober = newProber(t)
			if !k.park {
				prober = pollingOnly{prober}
			}
			k.measure(t, src, prober, writer.PgConn(), c.Replicas()[0], max(*wakesFlag/wakeRounds, 1))
		}
	}
	for _, k := range kinds {
		t.Logf("PostgreSQL %d, %-12s %5d wake-ups, %5.1f readings and %.1f parked questions each; replay seen %v after the commit (p50), waiter woken later by p50 %v, p90 %v, p99 %v, most %v",
			major, k.name, k.later.len(), float64(k.readings)/float64(k.later.len()), float64(k.parked)/float64(k.later.len()),
			us(k.seen.percentile(50)), us(k.later.percentile(50)), us(k.later.percentile(90)), us(k.later.percentile(99)), us(k.later.percentile(100)))
		if k.later.len() < *wakesFlag/2 {
			t.Errorf("%s: only %d of %d reads had to wait", k.name, k.later.len(), *wakesFlag)
		}
		if k.park && k.parked == 0 {
			t.Errorf("%s: no question was parked", k.name)
		}
		if !k.park && k.parked != 0 {
			t.Errorf("%s: %d questions were parked", k.name, k.parked)
		}
		if got := k.later.percentile(99); *wakeMaxFlag > 0 && got > *wakeMaxFlag {
			t.Errorf("%s: 99%% of the wake-ups come within %v, %v is asked for", k.name, got, *wakeMaxFlag)
		}
	}
}

func us(d time.Duration) time.Duration { return d.Round(time.Microsecond) }

// wakeKind is one way to be woken, and what was measured of it.
type wakeKind struct {
	name             string
	park             bool
	seen, later      latencies
	readings, parked uint64
}

// measure runs a router of its own for one round.
func (k *wakeKind) measure(t *testing.T, src router.Source, prober router.Prober, writer *pgconn.PgConn, replica *cluster.Node, wakes int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := router.New(router.Config{Source: src, Prober: prober, Wait: time.Minute, OnTimeout: router.OnTimeoutError, Logger: logger("router")})
	if err != nil {
		t.Fatal(err)
	}
	p := &busyPoller{}
	var wg sync.WaitGroup
	// Both end with ctx and are waited for below.
	wg.Go(func() { err = r.Run(ctx) })
	conn, dialErr := replica.Super(ctx)
	if dialErr != nil {
		t.Fatal(dialErr)
	}
	wg.Go(func() { p.poll(ctx, t, conn.PgConn()) })
	defer func() {
		cancel()
		wg.Wait()
		hangUp(conn)
		if err != nil {
			t.Errorf("router: %v", err)
		}
	}()
	if err := until(ctx, "the replica counts", func() (bool, error) {
		top := r.Topology()
		return top.Primary != nil && top.Replicas() == 1, nil
	}); err != nil {
		t.Fatal(err)
	}
	var before router.Stats
	for i := -3; i < wakes; i++ { // the first ones open connections
		if i == 0 {
			before = r.Stats()
		}
		if _, err := writer.Exec(ctx, "INSERT INTO w VALUES (1)").ReadAll(); err != nil {
			t.Fatal(err)
		}
		wrote := time.Now()
		session := r.NewSession()
		session.Wrote(r)
		chain, q := session.Borrow(r), r.NewRequest(router.LevelSession)
		d, err := r.Pick(ctx, q, chain)
		woken := time.Now()
		if err != nil {
			t.Fatal(err)
		}
		d.Done()
		reached, err := p.reached(ctx, d.Floor.LSN)
		if err != nil {
			t.Fatal(err)
		}
		if i < 0 || d.Reason != router.ReasonWaited {
			continue
		}
		k.seen.add(reached.Sub(wrote))
		k.later.add(max(0, woken.Sub(reached)))
	}
	after := r.Stats()
	k.readings += after.Readings - before.Readings
	k.parked += after.Parked - before.Parked
}

// busyPoller asks a replica how far it has replayed, again and again.
type busyPoller struct {
	mu   sync.Mutex // guards the field below
	seen []sighting
	last atomic.Uint64
}

// sighting is a position and when it was first seen.
type sighting struct {
	lsn lsn.LSN
	at  time.Time
}

func (p *busyPoller) poll(ctx context.Context, t *testing.T, conn *pgconn.PgConn) {
	oid, err := conn.Exec(ctx, "SELECT 'pg_catalog.pg_last_wal_replay_lsn()'::regprocedure::oid").ReadAll()
	if err != nil {
		t.Errorf("the busy poller: %v", err)
		return
	}
	var function uint32
	if _, err := fmt.Sscan(string(oid[0].Rows[0][0]), &function); err != nil {
		t.Errorf("the busy poller: %v", err)
		return
	}
	call, err := (&pgproto3.FunctionCall{Function: function, ResultFormatCode: 1}).Encode(nil)
	if err != nil {
		t.Errorf("the busy poller: %v", err)
		return
	}
	front := conn.Frontend()
	for ctx.Err() == nil {
		if _, err := conn.Conn().Write(call); err != nil {
			t.Errorf("the busy poller: %v", err)
			return
		}
		for ready := false; !ready; {
			msg, err := front.Receive()
			if err != nil {
				t.Errorf("the busy poller: %v", err)
				return
			}
			switch msg := msg.(type) {
			case *pgproto3.FunctionCallResponse:
				if l := binary.BigEndian.Uint64(msg.Result); l > p.last.Load() {
					p.mu.Lock()
					p.seen = append(p.seen, sighting{lsn.LSN(l), time.Now()})
					p.mu.Unlock()
					p.last.Store(l)
				}
			case *pgproto3.ReadyForQuery:
				ready = true
			}
		}
	}
}

// reached returns when the replica was first seen at l or beyond.
func (p *busyPoller) reached(ctx context.Context, l lsn.LSN) (time.Time, error) {
	err := until(ctx, "the busy poller has seen it, too", func() (bool, error) { return p.last.Load() >= uint64(l), nil })
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.seen, func(s sighting) bool { return s.lsn >= l })
	if err != nil || i < 0 {
		return time.Time{}, errors.Join(errors.New("the busy poller has not seen "+l.String()), err)
	}
	return p.seen[i].at, nil
}

// pollingOnly is a Prober whose servers cannot be left a question.
type pollingOnly struct{ router.Prober }

func (p pollingOnly) Connect(ctx context.Context, addr router.Addr) (router.Probe, error) {
	probe, err := p.Prober.Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	return pollingProbe{probe}, nil
}

type pollingProbe struct{ router.Probe }

func (p pollingProbe) Identify(ctx context.Context) (router.Status, error) {
	st, err := p.Probe.Identify(ctx)
	st.Parks = false
	return st, err
}
