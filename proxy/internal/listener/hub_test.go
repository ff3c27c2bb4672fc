package listener_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy/internal/listener"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// patience is how long a test waits for what is to happen, on a busy machine.
const patience = 2 * time.Minute

// lab is a Hub that listens on a primary of its own.
type lab struct {
	testing.TB
	*listener.Hub
	ctx    context.Context
	server *pgx.Conn
}

func newLab(t testing.TB, cfg listener.Config) *lab {
	t.Helper()
	c := cluster.Start(t, cluster.Options{Replicas: -1})
	src, err := router.Static(c.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	mon, err := pgprobe.New(pgprobe.Config{DSN: "postgres://" + cluster.MonitorUser + ":" + cluster.MonitorPassword + "@x/postgres?sslmode=disable"})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	r, err := router.New(router.Config{Source: src, Prober: mon, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Router, cfg.Monitor, cfg.Database, cfg.Logger = r, mon, cluster.AppDatabase, log
	x := &lab{TB: t, Hub: listener.NewHub(cfg)}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	running.Go(func() { x.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		mon.Close()
	})
	var stop context.CancelFunc
	x.ctx, stop = context.WithTimeout(t.Context(), patience)
	t.Cleanup(stop)
	if x.server, err = c.Primary().Super(x.ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.server.Close(context.Background()) })
	return x
}

func (x *lab) exec(sql string) {
	x.Helper()
	if _, err := x.server.Exec(x.ctx, sql); err != nil {
		x.Fatal(err)
	}
}

// ear is a member that remembers what it was told.
type ear struct {
	*lab
	member  *listener.Member
	batches chan *listener.Batch
	heard   []string
	missed  int
}

func (x *lab) join() *ear {
	e := &ear{lab: x, batches: make(chan *listener.Batch, 1<<16)}
	e.member = x.Join(func(b *listener.Batch) { e.batches <- b })
	return e
}

// next takes one batch.
func (e *ear) next() *listener.Batch {
	e.Helper()
	select {
	case b := <-e.batches:
		for _, n := range b.Notes {
			frame := n.Frame[5+4:]
			e.heard = append(e.heard, strings.ReplaceAll(strings.TrimSuffix(string(frame), "\x00"), "\x00", "="))
		}
		if b.Missed {
			e.missed++
		}
		e.member.Taken(b)
		return b
	case <-e.ctx.Done():
		e.Fatal("nothing is heard")
		return nil
	}
}

// trip waits for a round trip that is asked for now.
func (e *ear) trip() {
	e.Helper()
	for gen := e.Ask(); e.next().Done < gen; {
	}
}

func (e *ear) expect(want ...string) {
	e.Helper()
	if got := fmt.Sprint(e.heard); got != fmt.Sprint(want) {
		e.Errorf("it hears %v, want %v", got, want)
	}
	e.heard = nil
}

// A round trip brings everything whose commit was acknowledged before it was
// asked for.
func TestRoundTripBringsWhatWasNotified(t *testing.T) {
	x := newLab(t, listener.Config{})
	a, b := x.join(), x.join()
	x.Listen("c")
	a.trip()
	for i := range 300 {
		x.exec(fmt.Sprintf("notify c, '%d'", i))
		a.trip()
		a.expect(fmt.Sprintf("c=%d", i))
	}
	b.trip()
	if len(b.heard) != 300 {
		t.Errorf("the other member hears %d", len(b.heard))
	}
	if st := x.Stats(); st.Channels != 1 || st.Notifications != 300 || st.Reconnects != 0 {
		t.Errorf("it counts %+v", st)
	}
}

// A channel is listened to as long as anybody wants it, whatever its name is.
func TestChannelsOnAndOff(t *testing.T) {
	x := newLab(t, listener.Config{})
	e := x.join()
	names := []string{"plain", "Upper", `quo"te`, "semi; colon", "ä", strings.Repeat("l", 63)}
	for _, n := range names {
		x.Listen(n)
		x.Listen(n)
	}
	e.trip()
	notify := func() (all []string) {
		for _, n := range names {
			x.exec("notify " + listener.Quote(n) + ", '1'")
			all = append(all, n+"=1")
		}
		e.trip()
		return all
	}
	e.expect(append([]string(nil), notify()...)...)
	for _, n := range names {
		x.Unlisten(n)
	}
	e.trip()
	e.expect(notify()...)
	for _, n := range names {
		x.Unlisten(n)
	}
	e.trip()
	notify()
	e.expect()
	x.Listen("plain")
	e.trip()
	x.exec("notify plain, '2'")
	e.trip()
	e.expect("plain=2")
}

// listeners counts the connections of Hubs.
func (x *lab) listeners() (n int) {
	x.Helper()
	if err := x.server.QueryRow(x.ctx, "select count(*) from pg_stat_activity where application_name = 'pgroute listener'").Scan(&n); err != nil {
		x.Fatal(err)
	}
	return n
}

// A lost connection is replaced; everybody learns that something may have been
// missed, once.
func TestLostConnectionIsReplaced(t *testing.T) {
	x := newLab(t, listener.Config{})
	e := x.join()
	x.Listen("c")
	e.trip()
	for round := 1; round <= 3; round++ {
		x.exec("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgroute listener'")
		for !e.next().Down {
		}
		for e.missed < round {
			e.next()
		}
		x.exec(fmt.Sprintf("notify c, '%d'", round))
		e.trip()
		e.expect(fmt.Sprintf("c=%d", round))
		if e.missed != round || x.Stats().Reconnects != uint64(round) {
			t.Errorf("round %d: %d times something was missed, %+v", round, e.missed, x.Stats())
		}
	}
}

// Without a channel there is no connection, after a while.
func TestConnectionLingers(t *testing.T) {
	x := newLab(t, listener.Config{Linger: 50 * time.Millisecond})
	e := x.join()
	if n := x.listeners(); n != 0 {
		t.Errorf("%d connections before anybody listens", n)
	}
	x.Listen("c")
	e.trip()
	if n := x.listeners(); n != 1 {
		t.Errorf("%d connections for one channel", n)
	}
	x.Unlisten("c")
	for x.listeners() > 0 {
		if x.ctx.Err() != nil {
			t.Fatal("the connection stays")
		}
	}
	x.Listen("d")
	e.trip()
	x.exec("notify d")
	e.trip()
	e.expect("d=")
	if e.missed > 0 {
		t.Error("somebody is told that something was missed, but nobody listened")
	}
}

// A member that takes nothing stops the Hub before it holds much, and a member
// that has left does not.
func TestMemberThatTakesNothing(t *testing.T) {
	x := newLab(t, listener.Config{})
	slow := x.Join(func(*listener.Batch) {})
	e := x.join()
	x.Listen("c")
	e.trip()
	const each = 7000
	payload := strings.Repeat("x", each)
	flood := func() {
		x.exec(fmt.Sprintf("select pg_notify('c', '%s' || g) from generate_series(1, 300) g", payload))
	}
	flood()
	gen := e.Ask()
	for range 5 {
		flood()
	}
	// What the first member holds is bounded, so the second one hears no more.
	for len(e.heard)*each < 4<<20-256<<10 {
		e.next()
	}
	if n := len(e.heard) * each; n > 5<<20 {
		t.Errorf("%d bytes came past a member that takes nothing", n)
	}
	slow.Leave()
	for len(e.heard) < 1800 {
		e.next()
	}
	for e.next().Done < gen {
	}
}

// TestChannelsThatNobodyHeardOfAreForgotten: channels that are wanted and left
// again while there is no connection do not count.
func TestChannelsThatNobodyHeardOfAreForgotten(t *testing.T) {
	h := listener.NewHub(listener.Config{})
	for i := range 2 * listener.MaxChannels {
		name := fmt.Sprint(i)
		if !h.Listen(name) {
			t.Fatalf("after %d channels there are too many", i)
		}
		h.Unlisten(name)
	}
}
