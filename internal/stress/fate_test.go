package stress_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

// writer is a client of which it is known what it was told besides answers.
type writer struct {
	conn *pgx.Conn
	// ahead: it does everything in transactions, which begin with reads.
	ahead bool
	mu    sync.Mutex // guards the field below
	told  []string   // SQLSTATEs
}

func (l *lab) writer(s *sidecar) (*writer, error) {
	cfg, err := pgx.ParseConfig(fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable&connect_timeout=120",
		cluster.AppUser, cluster.AppPassword, s.addr, cluster.AppDatabase))
	if err != nil {
		return nil, err
	}
	w := &writer{}
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told = append(w.told, n.Code)
	}
	if w.conn, err = pgx.ConnectConfig(l.ctx, cfg); err != nil {
		return nil, err
	}
	l.t.Cleanup(func() { hangUp(w.conn) })
	return w, nil
}

// next runs a statement and returns what the client was told with it.
func (w *writer) next(ctx context.Context) []string {
	if w.ahead {
		return w.nextOf(ctx, "BEGIN", probeSQL, "COMMIT")
	}
	return w.nextOf(ctx, probeSQL)
}

// nextOf is next with statements of its own.
func (w *writer) nextOf(ctx context.Context, list ...string) []string {
	w.mu.Lock()
	w.told = nil
	w.mu.Unlock()
	var err error
	for _, sql := range list {
		_, e := simple(ctx, w.conn, sql)
		err = errors.Join(err, e)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	told := slices.Clone(w.told)
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return append(told, "error "+e.Code)
	}
	if err != nil {
		return append(told, err.Error())
	}
	return told
}

// deeds are what the clients of the tests below do. What they do is
// acknowledged, unless it says otherwise.
var deeds = map[string][]string{
	"reads":       {probeSQL},
	"writes":      {"UPDATE kv SET v = v + 1 WHERE k = 1"},
	"commits":     {"BEGIN", "UPDATE kv SET v = v + 1 WHERE k = 2", "SELECT 1", "COMMIT"},
	"rolls back":  {"BEGIN", "UPDATE kv SET v = v + 1 WHERE k = 3", "ROLLBACK"},
	"changes nil": {"UPDATE kv SET v = v + 1 WHERE false"},
	"fails":       {"INSERT INTO kv SELECT * FROM kv"},
	"reads first": {"SET pgroute.transaction_reads = 'until-write'", "UPDATE kv SET v = v + 1 WHERE k = 2"},
}

// act lets every client do its deed, each between two positions that the router
// knows.
func (l *lab) act(s *sidecar) (map[string]*writer, error) {
	all := map[string]*writer{}
	helper, err := l.writer(s)
	if err != nil {
		return nil, err
	}
	for name, list := range deeds {
		if name == "reads first" && len(l.c.Replicas()) == 0 {
			continue // it reads on replicas
		}
		w, err := l.writer(s)
		if err != nil {
			return nil, err
		}
		all[name] = w
		w.ahead = name == "reads first"
		for _, sql := range append([]string{"SET synchronous_commit = off"}, list...) {
			if _, err := simple(l.ctx, w.conn, sql); err != nil && name != "fails" {
				return nil, fmt.Errorf("%s: %w", sql, err)
			}
		}
		// Something of somebody else between any two, and a fresh position.
		for _, sql := range []string{"SET synchronous_commit = off", "UPDATE kv SET v = v + 1 WHERE k = 4", "SHOW pgroute.token"} {
			if _, err := simple(l.ctx, helper.conn, sql); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// judgeFates compares what everybody is told with want, by deed.
func (l *lab) judgeFates(all map[string]*writer, want map[string]string) {
	l.t.Helper()
	for name, w := range all {
		expect := []string{}
		if want[name] != "" {
			expect = []string{want[name]}
		}
		if got := w.next(l.ctx); fmt.Sprint(got) != fmt.Sprint(expect) {
			l.t.Errorf("who %s is told %v, want %v", name, got, expect)
		}
		if got := w.next(l.ctx); len(got) != 0 {
			l.t.Errorf("who %s is told again: %v", name, got)
		}
	}
}

// TestLostWritesAreTold: when the promoted replica lacks what clients have had
// acknowledged, exactly these are told, once.
func TestLostWritesAreTold(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	if err := errors.Join(c.Primary().Exec(t.Context(), schema...), c.WaitCaughtUp(t.Context())); err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, ctx: t.Context(), c: c, src: newSource(c.Nodes()...)}
	warns := startSidecar(t, "warns", l.src, nil)
	fails := startSidecar(t, "fails", l.src, func(cfg *proxy.Config) { cfg.LostWritesFail = true })
	replica := c.Replicas()[0]
	relay, err := cluster.NewRelay(c.Primary().Addr(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	if err := replica.RepointAddr(l.ctx, "127.0.0.1", relay.Port()); err != nil {
		t.Fatal(err)
	}

	before, err := l.act(warns)
	if err != nil {
		t.Fatal(err)
	}
	// From here on the replica gets nothing more.
	if err := errors.Join(c.WaitCaughtUp(l.ctx), relay.Close()); err != nil {
		t.Fatal(err)
	}
	direct, err := connect(l.ctx, c.Primary().Addr(), cluster.AppDatabase)
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp(direct)
	if _, err := simple(l.ctx, direct, "UPDATE kv SET v = v + 1 WHERE k = 5"); err != nil {
		t.Fatal(err)
	}
	// A fresh position, so that what follows is known to lie behind it.
	for _, s := range []*sidecar{warns, fails} {
		w, err := l.writer(s)
		if err == nil {
			_, err = simple(l.ctx, w.conn, "SHOW pgroute.token")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	after, err := l.act(warns)
	if err != nil {
		t.Fatal(err)
	}
	refused, err := l.act(fails)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Primary().Stop(cluster.Immediate), replica.Promote(l.ctx)); err != nil {
		t.Fatal(err)
	}
	l.src.set(replica.Addr(), c.Nodes()...)
	for _, s := range []*sidecar{warns, fails} {
		// Until the change is known there is nothing to tell.
		if err := s.srv.Router().WaitTopology(l.ctx, func(t *router.Topology) bool {
			return t.Primary != nil && t.Primary.Name == replica.Addr()
		}); err != nil {
			t.Fatal(err)
		}
	}

	l.judgeFates(before, nil)
	l.judgeFates(after, map[string]string{"writes": "PR002", "commits": "PR002", "reads first": "PR002", "changes nil": "PR003"})
	l.judgeFates(refused, map[string]string{"writes": "error PR002", "commits": "error PR002", "reads first": "error PR002", "changes nil": "error PR003"})
	// The one in act that writes between the others was told by nobody's request yet.
	if st := warns.srv.Stats().Router; st.Lost != 3 || st.MaybeLost != 1 {
		t.Errorf("counted are %d lost and %d maybe lost writes, want 3 and 1", st.Lost, st.MaybeLost)
	}
}

// TestWritesLostInACrashAreTold: an asynchronous commit that a crash of the
// primary has lost is told, one that was flushed is not.
func TestWritesLostInACrashAreTold(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: -1, Settings: map[string]string{"autovacuum": "off"}})
	if err := c.Primary().Exec(t.Context(), schema...); err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, ctx: t.Context(), c: c, src: newSource(c.Nodes()...)}
	s := startSidecar(t, "a", l.src, nil)
	before, err := l.act(s)
	if err != nil {
		t.Fatal(err)
	}
	// A synchronous commit flushes all that came before it, and the position says so.
	w, err := l.writer(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"UPDATE kv SET v = v + 1 WHERE k = 6", "SHOW pgroute.token"} {
		if _, err := simple(l.ctx, w.conn, sql); err != nil {
			t.Fatal(err)
		}
	}
	// From here on nothing is flushed but by who waits for it.
	if err := c.Primary().StopWALWriter(l.ctx); err != nil {
		t.Fatal(err)
	}
	const written = "SELECT string_agg(v::text, ' ' ORDER BY k) FROM kv WHERE k IN (1, 2)"
	kept, err := c.Primary().QueryString(l.ctx, written)
	if err != nil {
		t.Fatal(err)
	}
	after, err := l.act(s)
	if err != nil {
		t.Fatal(err)
	}
	era := s.srv.Router().Topology().Era()
	if err := c.Primary().Restart(l.ctx, cluster.Kill); err != nil {
		t.Fatal(err)
	}
	if err := s.srv.Router().WaitTopology(l.ctx, func(t *router.Topology) bool { return t.Primary != nil && t.Era() != era }); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"writes": "PR002", "commits": "PR002", "changes nil": "PR003"}
	if now, err := c.Primary().QueryString(l.ctx, written); err != nil || now != kept {
		t.Fatalf("the crash was to lose what was not flushed: %s and %s, %v", kept, now, err)
	}
	l.judgeFates(before, nil)
	l.judgeFates(after, want)
}

// TestLostWriteIsToldToWhoWaits: the statement that waits for the new primary is
// the first that can tell the client of its lost write.
func TestLostWriteIsToldToWhoWaits(t *testing.T) {
	for _, fails := range []bool{false, true} {
		c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
		l := &lab{t: t, ctx: t.Context(), c: c, src: newSource(c.Nodes()...)}
		s := startSidecar(t, "a", l.src, func(cfg *proxy.Config) { cfg.LostWritesFail = fails })
		replica := c.Replicas()[0]
		if err := errors.Join(c.Primary().Exec(l.ctx, schema...), c.WaitCaughtUp(l.ctx)); err != nil {
			t.Fatal(err)
		}
		w, err := l.writer(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := simple(l.ctx, w.conn, "SHOW pgroute.token"); err != nil {
			t.Fatal(err)
		}
		// From here on the replica gets nothing more; it begins with a position
		// that the proxy knows to lie behind what the replica has.
		if err := replica.Stop(cluster.Immediate); err != nil {
			t.Fatal(err)
		}
		for _, sql := range []string{"UPDATE kv SET v = v + 1 WHERE k = 1", "SHOW pgroute.token", "UPDATE kv SET v = v + 1 WHERE k = 1"} {
			if _, err := simple(l.ctx, w.conn, sql); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Primary().Stop(cluster.Kill); err != nil {
			t.Fatal(err)
		}
		l.src.name("")
		told := make(chan []string, 1)
		go func() { told <- w.nextOf(l.ctx, "UPDATE kv SET v = v + 1 WHERE k = 2") }() // ends below
		if err := errors.Join(replica.Start(l.ctx), replica.Promote(l.ctx)); err != nil {
			t.Fatal(err)
		}
		l.src.name(replica.Addr())
		want := "[PR002]"
		if fails {
			want = "[error PR002]"
		}
		if got := fmt.Sprint(<-told); got != want {
			t.Errorf("who waits is told %s, want %s", got, want)
		}
		if got := w.next(l.ctx); len(got) != 0 {
			t.Errorf("it is told again: %v", got)
		}
	}
}
