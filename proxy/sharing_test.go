package proxy_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// shared is a proxy whose clients have one backend on each node for all.
func shared(t *testing.T, level router.Level) *served {
	t.Helper()
	return start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 1,
		Policy: proxy.Policy{Consistency: level}})
}

// raw logs a raw client in.
func (s *served) raw(t *testing.T) *peer {
	t.Helper()
	return s.enter(t)
}

// query runs one Query and returns the answer.
func (p *peer) query(t *testing.T, sql string) []string {
	t.Helper()
	return p.must(t, step{bytes: wire.AppendQuery(nil, sql), ready: 1})
}

func (p *peer) must(t *testing.T, s step) []string {
	t.Helper()
	out, err := p.play(s, nil)
	if err != nil {
		t.Fatalf("%v after %q", err, out)
	}
	return out
}

// until reads up to a message of type typ.
func (p *peer) until(t *testing.T, typ byte) message {
	t.Helper()
	for {
		m, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if m.typ == typ {
			return m
		}
	}
}

func has(answer []string, what string) bool {
	return slices.ContainsFunc(answer, func(m string) bool { return strings.Contains(m, what) })
}

// A server ends a COPY that fails at once, also in the middle of a message of
// the client: what is still to come of it must not meet the backend's next
// client, nor be taken for a message.
func TestCopyFailsWithinMessage(t *testing.T) {
	s := shared(t, router.LevelPrimary)
	a, b := s.raw(t), s.raw(t)
	a.query(t, "create table if not exists copy_fails (v int)")
	if err := a.send(wire.AppendQuery(nil, "copy copy_fails from stdin"), nil); err != nil {
		t.Fatal(err)
	}
	a.until(t, 'G')
	long := frame('d', strings.Repeat("1\n", 50000))
	if err := a.send(append(frame('d', "bad\n"), long[:70000]...), nil); err != nil {
		t.Fatal(err)
	}
	a.until(t, 'E')
	// The backend is ready, and the proxy has had its turn since.
	direct := connect(t, use(t, trusting).Primary().DSN(cluster.SuperUser, cluster.SuperPassword, cluster.AppDatabase))
	for idle := 0; idle == 0; {
		if err := direct.QueryRow(t.Context(), `select count(*) from pg_stat_activity
			where query = 'copy copy_fails from stdin' and state = 'idle'`).Scan(&idle); err != nil {
			t.Fatal(err)
		}
	}
	b.query(t, "show pgroute.consistency")
	if err := a.send(long[70000:], nil); err != nil {
		t.Fatal(err)
	}
	a.until(t, 'Z')
	for range 2 {
		if got := b.query(t, "select 'b'"); !has(got, `\x01b`) {
			t.Errorf("the other client is told %q", got)
		}
		if got := a.query(t, "select 'a'"); !has(got, `\x01a`) {
			t.Errorf("the client is told %q", got)
		}
	}
}

// A COMMIT that fails takes back what SET has set in the transaction.
func TestFailedCommitTakesSettingsBack(t *testing.T) {
	s := shared(t, router.LevelPrimary)
	a, b := s.raw(t), s.raw(t)
	a.query(t, "create table if not exists deferred (v int unique deferrable initially deferred)")
	want := a.query(t, "show work_mem")
	for _, sql := range []string{"begin", "set work_mem = '777kB'", "insert into deferred values (1), (1)"} {
		a.query(t, sql)
	}
	if got := a.query(t, "commit"); !has(got, "23505") {
		t.Fatalf("the COMMIT is answered %q", got)
	}
	for _, p := range []*peer{a, b, a} {
		if got := p.query(t, "show work_mem"); !slices.Equal(got, want) {
			t.Errorf("work_mem is %q, want %q", got, want)
		}
	}
}

// Whoever prepares a statement again after its tables have changed gets what a
// server would give him.
func TestPrepareAgainAfterChange(t *testing.T) {
	t.Run("of any backend", func(t *testing.T) { prepareAgain(t, "select 1") })
	// Its backend is not cleaned while it stays.
	t.Run("of its own backend", func(t *testing.T) { prepareAgain(t, "load 'plpgsql'") })
}

func prepareAgain(t *testing.T, first string) {
	s := shared(t, router.LevelPrimary)
	a := s.raw(t)
	a.query(t, first)
	a.query(t, "drop table if exists changing")
	a.query(t, "create table changing (v int)")
	run := wire.AppendBind(nil, nil, []byte("s"), make([]byte, 6))
	run = append(run, 'E', 0, 0, 0, 9, 0, 0, 0, 0, 0)
	run = wire.AppendSync(run)
	prepare := wire.AppendParse(nil, []byte("s"), []byte("select * from changing\x00\x00\x00"))
	if got := a.must(t, step{bytes: append(prepare, run...), ready: 1}); has(got, "E ") {
		t.Fatalf("the first use is answered %q", got)
	}
	a.query(t, "alter table changing add w int")
	if got := a.must(t, step{bytes: run, ready: 1}); !has(got, "0A000") {
		t.Fatalf("the use after the change is answered %q", got)
	}
	again := append(wire.AppendNamed(nil, 'C', 'S', []byte("s")), append(prepare, run...)...)
	if got := a.must(t, step{bytes: again, ready: 1}); has(got, "E ") {
		t.Errorf("the use after a new Parse is answered %q", got)
	}
}

// What pools of applications send between two users takes back the settings of
// pgroute as well.
func TestDiscardTakesPolicyBack(t *testing.T) {
	s := use(t, plain)
	for _, sql := range []string{"discard all", "reset all"} {
		p := s.raw(t)
		p.query(t, "set pgroute.consistency = eventual")
		p.query(t, sql)
		if got := p.query(t, "show pgroute.consistency"); !has(got, "session") {
			t.Errorf("after %s it is %q", sql, got)
		}
	}
}

// naming is a Source that names the primary that it is told.
type naming struct {
	nodes   []router.Candidate
	primary chan string
}

func (n *naming) Watch(ctx context.Context, publish func(router.Candidates)) error {
	for {
		select {
		case name := <-n.primary:
			publish(router.Candidates{Nodes: n.nodes, NamesPrimary: true, Primary: name, Confirmed: time.Now()})
		case <-ctx.Done():
			return nil
		}
	}
}

// While nobody leads, no write runs on a backend that a client holds (I6).
func TestHeldBackendTakesNoWriteWithoutLeader(t *testing.T) {
	c := use(t, trusting)
	n := &naming{primary: make(chan string, 1)}
	for _, node := range c.Nodes() {
		n.nodes = append(n.nodes, router.Candidate{Addr: router.Addr{Name: node.Name, Host: node.Host, Port: node.Port}})
	}
	name := c.Primary().Name
	n.primary <- name
	s := start(t, proxy.Config{Source: n, Auth: proxy.AuthTrust, PrimaryWait: time.Second})
	s.led(t)
	pinned, tx := s.connect(t, ""), s.connect(t, "")
	run := func(sql string) {
		t.Helper()
		if _, err := pinned.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	run("create table if not exists led (v int)")
	run("truncate led")
	run("create temp table mine (v int)")
	begun, err := tx.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := begun.Exec(t.Context(), "insert into led values (1)"); err != nil {
		t.Fatal(err)
	}
	leads := func(want bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := s.Router().WaitTopology(ctx, func(t *router.Topology) bool { return t.Leadership == want }); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(what string, err error) {
		t.Helper()
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != "57P03" {
			t.Errorf("%s without a leader: %v", what, err)
		}
	}
	n.primary <- ""
	leads(false)
	_, err = pinned.Exec(t.Context(), "insert into led values (2)")
	refused("a write of a pinned client", err)
	refused("a COMMIT", begun.Commit(t.Context()))
	n.primary <- name
	leads(true)
	run("insert into mine values (1)")
	var rows int
	if err := pinned.QueryRow(t.Context(), "select count(*) from led").Scan(&rows); err != nil || rows != 0 {
		t.Errorf("%d rows, %v; want none", rows, err)
	}
}
