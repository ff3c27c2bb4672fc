package stress_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
)

var guardFlag = flag.Int("stress.guard", 2000, "pairs of a read on a replica and one on the primary in each part of TestReplicaToPrimary; the goal is 50000")

// patientHint is for a read on the primary whose wait may take as long as a
// busy machine needs.
const patientHint = "/* pgroute: consistency=primary wait=300s */ "

// silence makes commits on the primary wait for standby, which receives
// nothing any more, so that every other replica shows them and the primary
// does not. The function that it returns undoes that: they are acknowledged.
func silence(ctx context.Context, c *cluster.Cluster, standby *cluster.Node) (func() error, error) {
	p := c.Primary()
	undo := func() error {
		return errors.Join(standby.Thaw(), p.Exec(ctx, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()"))
	}
	err := errors.Join(standby.StopReceiver(ctx), synchronous(ctx, p, standby))
	if err != nil {
		return nil, errors.Join(err, undo())
	}
	return undo, nil
}

// synchronous makes commits wait for standby, which is connected.
func synchronous(ctx context.Context, p, standby *cluster.Node) error {
	if err := p.SetSynchronous(ctx, standby.Name); err != nil {
		return err
	}
	return until(ctx, "commits wait for "+standby.Name, func() (bool, error) {
		n, err := p.QueryString(ctx, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")
		return n == "1", err
	})
}

// declareProbe opens a cursor: its snapshot is taken then, not by FETCH.
const declareProbe = "DECLARE c CURSOR FOR " + probeSQL

// readAfterReplica: a commit waits for a synchronous standby that is silent. A
// client sees it on a replica; then it reads on the primary, which hides it
// until the standby has answered. It does so by a statement of its own
// and in a transaction that may write, also by one that is sent along with its
// BEGIN, or on to its COMMIT; and in one that no server knows yet, by one that
// tells when it began. And it opens a cursor there, and fetches from it later.
func readAfterReplica(l *lab) error {
	for _, way := range []struct {
		before string
		read   []string // more than one are a group under one Sync
		fetch  string   // shows what was read, if that does not
		after  string
	}{
		{"", []string{"/* pgroute: primary */ " + probeSQL}, "", ""},
		{"BEGIN", []string{probeSQL}, "", "COMMIT"},
		{"", []string{"BEGIN", probeSQL}, "", "COMMIT"},
		{"", []string{"BEGIN; " + probeSQL}, "", "COMMIT"},
		{"", []string{"BEGIN", probeSQL, "COMMIT"}, "", ""},
		{"SET pgroute.transaction_reads = 'until-write'; BEGIN", []string{probeSQL + " AND now() IS NOT NULL"}, "", "COMMIT"},
		{"BEGIN", []string{declareProbe}, "FETCH c", "COMMIT"},
		{"", []string{"BEGIN; " + declareProbe}, "FETCH c", "COMMIT"},
		{"", []string{"BEGIN", declareProbe, "FETCH c"}, "", "COMMIT"},
		{"", []string{"DECLARE c NO SCROLL CURSOR WITH HOLD FOR " + probeSQL}, "FETCH c", "CLOSE c"},
	} {
		if err := readEarly(l, way.before, way.read, way.fetch, way.after); err != nil {
			return fmt.Errorf("%q: %w", way.read, err)
		}
	}
	return nil
}

// inGroup sends several statements under one Sync and returns the one value that
// they read.
func inGroup(ctx context.Context, conn *pgx.Conn, sql []string) (value string, err error) {
	p := conn.PgConn().StartPipeline(ctx)
	for _, s := range sql {
		p.SendQueryParams(s, nil, nil, nil, nil)
	}
	err = p.Sync()
	for err == nil {
		var res any
		if res, err = p.GetResults(); res == nil {
			break
		}
		if r, ok := res.(*pgconn.ResultReader); ok {
			for r.NextRow() {
				value = string(r.Values()[0])
			}
			_, err = r.Close()
		}
	}
	return value, errors.Join(err, p.Close())
}

// early is a commit of v that a replica shows, to conn too, and the primary
// hides. end lets it be acknowledged; it may be called again.
type early struct {
	side *sidecar
	conn *pgx.Conn
	v    int64
	end  func() error
}

// hang makes a commit wait for the standby silent, and returns once a client
// has seen it on the other replica.
func hang(l *lab, silent *cluster.Node) (_ *early, err error) {
	s, err := l.sidecar(1)
	if err != nil {
		return nil, err
	}
	conn, err := l.dial(s, "pgroute.wait", "300s")
	if err != nil {
		return nil, err
	}
	v, err := l.mark()
	if err != nil {
		return nil, err
	}
	writer, err := l.c.Primary().App(l.ctx)
	if err != nil {
		return nil, err
	}
	answer, err := silence(l.ctx, l.c, silent)
	if err != nil {
		hangUp(writer)
		return nil, err
	}
	written := make(chan error, 1)
	// Ends once the standby answers: end waits for it.
	go func() {
		_, err := simple(l.ctx, writer, writeMark(v))
		written <- err
	}()
	e := &early{side: s, conn: conn, v: v, end: sync.OnceValue(func() error {
		defer hangUp(writer)
		return errors.Join(answer(), <-written)
	})}
	err = until(l.ctx, "the replica shows the commit", func() (bool, error) {
		text, err := simple(l.ctx, conn, probeSQL)
		return text == fmt.Sprint(v), err
	})
	if err != nil {
		return nil, errors.Join(err, e.end())
	}
	return e, nil
}

// readEarly reads on a replica, runs what leads to the primary, and reads there.
func readEarly(l *lab, before string, read []string, fetch, after string) (err error) {
	l.src = newSource(l.c.Primary(), l.c.Replicas()[0])
	e, err := hang(l, l.c.Replicas()[1])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.end()) }()
	for sql := range strings.SplitSeq(before, "; ") {
		if sql == "" {
			continue
		}
		if _, err := simple(l.ctx, e.conn, sql); err != nil {
			return err
		}
	}
	waits := func() uint64 { return e.side.srv.Router().Stats().GuardWaits }
	waited := waits()
	answered, failed := make(chan string, 1), make(chan error, 1)
	// Ends once the guard lets the read pass, at the latest after end.
	go func() {
		var text string
		var err error
		if len(read) == 1 {
			text, err = simple(l.ctx, e.conn, read[0])
		} else {
			text, err = inGroup(l.ctx, e.conn, read)
		}
		failed <- err
		answered <- text
	}()
	err = until(l.ctx, "the read waits or is answered", func() (bool, error) {
		return waits() > waited || len(answered) > 0, nil
	})
	if err == nil {
		err = e.end()
	}
	if err = errors.Join(err, <-failed); err != nil {
		return err
	}
	text := <-answered
	if fetch != "" {
		if text, err = simple(l.ctx, e.conn, fetch); err != nil {
			return err
		}
	}
	err = l.judge(e.conn, text, e.v)
	if after != "" {
		_, e := simple(l.ctx, e.conn, after)
		err = errors.Join(err, e)
	}
	return err
}

// TestGuardRefuses: with on_timeout = error the read fails while the commit
// hangs, its transaction goes on, and so does the read afterwards.
func TestGuardRefuses(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true})
	if err := errors.Join(c.Primary().Exec(t.Context(), schema...), c.WaitCaughtUp(t.Context())); err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, ctx: t.Context(), c: c, src: newSource(c.Primary(), c.Replicas()[0])}
	e, err := hang(l, c.Replicas()[1])
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.end(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := simple(l.ctx, e.conn, "BEGIN"); err != nil {
		t.Fatal(err)
	}
	// Long enough for a busy machine to ask what is hidden.
	_, err = simple(l.ctx, e.conn, "/* pgroute: on_timeout=error wait=3s */ "+probeSQL)
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "PR001" || !strings.Contains(pg.Detail, "shows 1 commit that") {
		t.Errorf("while the commit hangs: %v", err)
	}
	// The transaction has failed, as by any other error.
	if _, err := simple(l.ctx, e.conn, "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := e.end(); err != nil {
		t.Fatal(err)
	}
	if _, err := simple(l.ctx, e.conn, "BEGIN"); err != nil {
		t.Fatal(err)
	}
	if err := l.wantMark(e.conn, e.v); err != nil {
		t.Error(err)
	}
	if _, err := simple(l.ctx, e.conn, "COMMIT"); err != nil {
		t.Error(err)
	}
	if st := e.side.srv.Router().Stats(); st.GuardRefused != 1 {
		t.Errorf("%+v", st)
	}
}

// TestReplicaToPrimary: many clients read on a replica and then on the primary,
// while others write as fast as they can, without and with a synchronous
// standby. None of them goes backwards.
func TestReplicaToPrimary(t *testing.T) {
	for _, mode := range []string{"asynchronous", "synchronous"} {
		t.Run(mode, func(t *testing.T) {
			if back := replicaToPrimary(t, mode == "synchronous", *guardFlag); len(back) > 0 {
				t.Errorf("%d reads on the primary went back:\n%s", len(back), strings.Join(back[:min(len(back), 20)], "\n"))
			}
		})
	}
}

// replicaToPrimary returns the pairs that went back.
func replicaToPrimary(t *testing.T, sync bool, pairs int) (back []string) {
	c := cluster.Start(t, cluster.Options{Trust: true})
	p, shows, standby := c.Primary(), c.Replicas()[0], c.Replicas()[1]
	if err := errors.Join(p.Exec(t.Context(), schema...), c.WaitCaughtUp(t.Context())); err != nil {
		t.Fatal(err)
	}
	if sync {
		if err := synchronous(t.Context(), p, standby); err != nil {
			t.Fatal(err)
		}
	}
	s := startSidecar(t, "guard", newSource(p, shows), roomy)
	if err := s.settle(t.Context(), probeSQL, 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m := &movers{addr: s.addr, pairs: int64(pairs), fail: make(chan error, 64)}
	for range 4 {
		// Ends with ctx; waited for below.
		m.writers.Go(func() { m.write(ctx, p.Addr()) })
	}
	began := time.Now()
	for range 16 {
		// Ends when there were enough pairs; waited for below.
		m.readers.Go(func() { m.read(ctx) })
	}
	m.readers.Wait()
	took := time.Since(began)
	cancel()
	m.writers.Wait()
	close(m.fail)
	for err := range m.fail {
		t.Error(err)
	}
	st := s.srv.Router().Stats()
	t.Logf("%d pairs in %v (%.0f/s) beside %d commits, %d back; %d waited, %.2f ms each, %d looks; unproven %d, refused %d",
		m.done.Load(), took.Round(time.Millisecond), float64(m.done.Load())/took.Seconds(), m.commits.Load(), len(m.back),
		st.GuardWaits, float64(st.GuardWaitSum)/float64(max(st.GuardWaits, 1))/1e6, st.Looks, st.GuardUnproven, st.GuardRefused)
	if st.GuardUnproven > 0 {
		t.Logf("nobody could say what was hidden in %d cases", st.GuardUnproven)
	}
	return m.back
}

// movers read on a replica, then on the primary.
type movers struct {
	addr             string
	pairs            int64
	readers, writers sync.WaitGroup
	done, commits    atomic.Int64
	fail             chan error

	mu   sync.Mutex // guards the field below
	back []string
}

// read makes pairs until there are enough.
func (m *movers) read(ctx context.Context) {
	conn, err := connect(ctx, m.addr, cluster.AppDatabase)
	if err != nil {
		m.fail <- err
		return
	}
	defer hangUp(conn)
	for m.done.Load() < m.pairs {
		if err := m.pair(ctx, conn); err != nil {
			m.fail <- err
			return
		}
	}
}

func (m *movers) pair(ctx context.Context, conn *pgx.Conn) error {
	k := rand.Int64N(hotRows)
	seen, at, err := readValue(ctx, conn, protoPrepared, hotRead, k)
	if err != nil {
		return err
	}
	then, where, err := readValue(ctx, conn, protoPrepared, patientHint+hotRead, k)
	if err != nil {
		return err
	}
	if at.role != "replica" || where.role != "primary" {
		return nil // not what is looked for
	}
	m.done.Add(1)
	if then < seen {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.back = append(m.back, fmt.Sprintf("row %d: %d at %+v after %d at %+v", k, then, where, seen, at))
	}
	return nil
}

// write commits as fast as it can, past the proxy.
func (m *movers) write(ctx context.Context, addr string) {
	conn, err := connect(ctx, addr, cluster.AppDatabase)
	if err != nil {
		m.fail <- err
		return
	}
	defer hangUp(conn)
	for ctx.Err() == nil {
		if _, err := conn.Exec(ctx, hotIncrement, rand.IntN(hotRows)); err != nil {
			if ctx.Err() == nil {
				m.fail <- err
			}
			return
		}
		m.commits.Add(1)
	}
}
