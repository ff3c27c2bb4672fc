package stress_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
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
	wakeMaxFlag = flag.Duration("stress.wake-max", 0, "fail if 99% of the wake-ups come later than this after a busy poller sees the floor replayed; the goal is 1ms. WAIT FOR LSN may be worse than polling by a tenth of it")
)

// wakeRounds is how often TestWakeUp changes between the kinds, so that what
// else the machine does concerns both alike.
const wakeRounds = 5

// A read that waits for a replica is woken soon after a poller that does
// nothing else would have seen that the replica is there: by polling, and where
// the server has WAIT FOR LSN by that, which is to be at least as good. Polling that sleeps by timers is there to
// be compared. Where the replica is there before the primary has said where that
// is, the wait for the primary is in it; what comes after that is told apart.
func TestWakeUp(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	if err := errors.Join(c.Primary().Exec(t.Context(), "CREATE TABLE w (v int)"), c.WaitCaughtUp(t.Context())); err != nil {
		t.Fatal(err)
	}
	major, err := c.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kinds := []*wakeKind{{name: "polling", napper: true}, {name: "polling by timers"}}
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
				prober = plainProber{prober, !k.napper}
			}
			k.measure(t, src, prober, writer.PgConn(), c.Replicas()[0], max(*wakesFlag/wakeRounds, 1))
		}
	}
	for _, k := range kinds {
		t.Logf("PostgreSQL %d, %-17s %5d wake-ups, %5.1f readings and %.1f parked questions each; after the commit (p50) floor known %v, replay seen %v; waiter woken later than the poller by p50 %v, p90 %v, p99 %v, most %v; later than both by p50 %v, p90 %v, p99 %v, most %v",
			major, k.name, k.later.len(), float64(k.readings)/float64(k.later.len()), float64(k.parked)/float64(k.later.len()),
			us(k.known.percentile(50)), us(k.seen.percentile(50)),
			us(k.over.percentile(50)), us(k.over.percentile(90)), us(k.over.percentile(99)), us(k.over.percentile(100)),
			us(k.later.percentile(50)), us(k.later.percentile(90)), us(k.later.percentile(99)), us(k.later.percentile(100)))
		if k.later.len() < *wakesFlag/2 {
			t.Errorf("%s: only %d of %d reads had to wait", k.name, k.later.len(), *wakesFlag)
		}
		if k.park && k.parked == 0 {
			t.Errorf("%s: no question was parked", k.name)
		}
		if !k.park && k.parked != 0 {
			t.Errorf("%s: %d questions were parked", k.name, k.parked)
		}
		if got := k.over.percentile(99); *wakeMaxFlag > 0 && (k.napper || k.park) && got > *wakeMaxFlag {
			t.Errorf("%s: 99%% of the wake-ups come within %v, %v is asked for", k.name, got, *wakeMaxFlag)
		}
		if k.park && *wakeMaxFlag > 0 {
			for _, line := range worse(&k.over, &kinds[0].over, *wakeMaxFlag/10) {
				t.Errorf("%s: %s", k.name, line)
			}
		}
	}
}

// worse says where wake-ups come later than others by more than slack.
func worse(these, others *latencies, slack time.Duration) (list []string) {
	for _, p := range []int{50, 90, 99} {
		if got, than := these.percentile(p), others.percentile(p); got > than+slack {
			list = append(list, fmt.Sprintf("%d%% of the wake-ups come within %v, by polling within %v", p, us(got), us(than)))
		}
	}
	return list
}

func us(d time.Duration) time.Duration { return d.Round(time.Microsecond) }

// wakeKind is one way to be woken, and what was measured of it.
type wakeKind struct {
	name             string
	park, napper     bool
	known            latencies // when the floor was known after the commit
	seen             latencies // when the poller saw the replica there after the commit
	over, later      latencies // how much later than that, and than both, the waiter was woken
	readings, parked uint64
}

// measure runs a router of its own for one round.
func (k *wakeKind) measure(t *testing.T, src router.Source, prober router.Prober, writer *pgconn.PgConn, replica *cluster.Node, wakes int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var answered atomic.Int64 // when the primary last told its position
	r, err := router.New(router.Config{Source: src, Prober: prober, Wait: time.Minute, OnTimeout: router.OnTimeoutError, Logger: logger("router"),
		Trace: router.Trace{Position: func(time.Duration, error) { answered.Store(time.Now().UnixNano()) }}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	// Ends with ctx; waited for below.
	go func() { ended <- r.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("router: %v", err)
		}
	}()
	poller, err := startBusyPoller(ctx, replica)
	if err != nil {
		t.Fatal(err)
	}
	if err := until(ctx, "the replica counts", func() (bool, error) {
		top := r.Topology()
		return top.Primary != nil && top.Replicas() == 1, nil
	}); err != nil {
		t.Fatal(err)
	}
	var before router.Stats
	var waits []wake
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
		if i >= 0 && d.Reason == router.ReasonWaited {
			waits = append(waits, wake{d.Floor.LSN, wrote.UnixNano(), answered.Load(), woken.UnixNano()})
		}
	}
	after := r.Stats()
	k.readings += after.Readings - before.Readings
	k.parked += after.Parked - before.Parked
	seen, err := poller.stop()
	if err != nil {
		t.Fatalf("the busy poller: %v", err)
	}
	for _, w := range waits {
		i := slices.IndexFunc(seen, func(s sighting) bool { return s.lsn >= w.floor })
		if i < 0 {
			i = len(seen) // the poller was ended before it saw that
			seen = append(seen, sighting{w.floor, w.woken})
		}
		k.seen.add(time.Duration(seen[i].at - w.wrote))
		k.known.add(time.Duration(w.known - w.wrote))
		k.over.add(time.Duration(max(0, w.woken-seen[i].at)))
		k.later.add(time.Duration(max(0, w.woken-max(seen[i].at, w.known))))
	}
}

// wake is one read that waited: for what, since when, when that was known, until
// when.
type wake struct {
	floor               lsn.LSN
	wrote, known, woken int64
}

// pollerDSN makes a process of this test the busy poller of the server that it
// names.
const pollerDSN = "PGROUTE_STRESS_POLL"

// sighting is a position and when it was first seen, in nanoseconds since the
// Unix epoch.
type sighting struct {
	lsn lsn.LSN
	at  int64
}

// busyPoller is another process that asks a replica again and again how far it
// has replayed. In this one it would keep the runtime awake, and what is
// measured would wake sooner than in a quiet process.
type busyPoller struct {
	cmd *exec.Cmd
	in  io.Closer
	out *bufio.Scanner
}

func startBusyPoller(ctx context.Context, replica *cluster.Node) (*busyPoller, error) {
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestBusyPoller$", "-test.v=false")
	cmd.Env = append(os.Environ(), pollerDSN+"="+replica.DSN(cluster.SuperUser, cluster.SuperPassword, "postgres"))
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p := &busyPoller{cmd: cmd, in: in, out: bufio.NewScanner(out)}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if !p.out.Scan() || p.out.Text() != "polling" {
		return nil, errors.Join(errors.New("the busy poller does not begin: "+p.out.Text()), p.in.Close(), cmd.Wait())
	}
	return p, nil
}

// stop ends the poller and returns what it has seen, in order.
func (p *busyPoller) stop() ([]sighting, error) {
	err := p.in.Close()
	var seen []sighting
	for p.out.Scan() {
		var s sighting
		if _, err := fmt.Sscan(p.out.Text(), (*uint64)(&s.lsn), &s.at); err == nil {
			seen = append(seen, s)
		}
	}
	return seen, errors.Join(err, p.cmd.Wait())
}

// TestBusyPoller is the busy poller of TestWakeUp when that has started it.
func TestBusyPoller(t *testing.T) {
	dsn := os.Getenv(pollerDSN)
	if dsn == "" {
		t.Skip("TestWakeUp starts it")
	}
	conn, err := pgconn.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	oid, err := conn.Exec(t.Context(), "SELECT 'pg_catalog.pg_last_wal_replay_lsn()'::regprocedure::oid").ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var function uint32
	if _, err := fmt.Sscan(string(oid[0].Rows[0][0]), &function); err != nil {
		t.Fatal(err)
	}
	call, err := (&pgproto3.FunctionCall{Function: function, ResultFormatCode: 1}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	var enough atomic.Bool
	// Ends with the end of what started this process.
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); enough.Store(true) }()
	fmt.Println("polling")
	var seen []sighting
	for last := lsn.LSN(0); !enough.Load(); {
		if _, err := conn.Conn().Write(call); err != nil {
			t.Fatal(err)
		}
		for ready := false; !ready; {
			msg, err := conn.Frontend().Receive()
			if err != nil {
				t.Fatal(err)
			}
			switch msg := msg.(type) {
			case *pgproto3.FunctionCallResponse:
				if l := lsn.LSN(binary.BigEndian.Uint64(msg.Result)); l > last {
					last, seen = l, append(seen, sighting{l, time.Now().UnixNano()})
				}
			case *pgproto3.ReadyForQuery:
				ready = true
			}
		}
	}
	for _, s := range seen {
		fmt.Println(uint64(s.lsn), s.at)
	}
}

// plainProber opens connections to servers that cannot be left a question, and
// with timers only, on which monitors sleep by the runtime's timers.
type plainProber struct {
	router.Prober
	timers bool
}

func (p plainProber) Connect(ctx context.Context, addr router.Addr) (router.Probe, error) {
	probe, err := p.Prober.Connect(ctx, addr)
	if err != nil || p.timers {
		return plainProbe{probe}, err
	}
	return nappingProbe{plainProbe{probe}, probe.(router.Napper)}, nil
}

type plainProbe struct{ router.Probe }

func (p plainProbe) Identify(ctx context.Context) (router.Status, error) {
	st, err := p.Probe.Identify(ctx)
	st.Parks = false
	return st, err
}

type nappingProbe struct {
	plainProbe
	router.Napper
}
