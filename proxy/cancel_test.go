package proxy_test

import (
	"encoding/binary"
	"net"
	"testing"

	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// cancelKey sends a cancel request and waits until it was taken.
func (s *served) cancelKey(t testing.TB, pid uint32, secret []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b := make([]byte, 12, 12+len(secret))
	binary.BigEndian.PutUint32(b, uint32(12+len(secret)))
	binary.BigEndian.PutUint32(b[4:], 80877102)
	binary.BigEndian.PutUint32(b[8:], pid)
	if _, err := conn.Write(append(b, secret...)); err != nil {
		t.Fatal(err)
	}
	conn.Read(make([]byte, 1)) // it is closed without an answer
}

// TestCancelHitsTheQuery: a cancel request ends what its client runs, and
// nothing else.
func TestCancelHitsTheQuery(t *testing.T) {
	s := use(t, plain)
	a, b := s.enter(t), s.enter(t)
	pid := func(p *peer) string {
		t.Helper()
		if err := p.send(wire.AppendQuery(nil, "select pg_sleep(600) /* cancel_t */"), nil); err != nil {
			t.Fatal(err)
		}
		return ""
	}
	pid(a)
	pid(b)
	watch := s.enter(t)
	running := func(want string) {
		t.Helper()
		eventually(t, func() error {
			// It may run on any server.
			n := 0
			for _, node := range use(t, trusting).Nodes() {
				v, err := node.QueryString(t.Context(), "select count(*) from pg_stat_activity where query like '%cancel_t */' and state = 'active'")
				if err != nil {
					return err
				}
				n += int(v[0] - '0')
			}
			if got := string(rune('0' + n)); got != want {
				return errString(got + " run")
			}
			return nil
		})
	}
	running("2")
	s.cancelKey(t, a.pid, []byte{1, 2, 3, 4})
	s.cancelKey(t, a.pid+1000, a.secret)
	s.cancelKey(t, a.pid, a.secret)
	out, err := a.answer()
	if err != nil || sqlState(out) != "57014" {
		t.Fatalf("the cancelled client is told %v, %v", out, err)
	}
	a.get(t, "select 1")
	running("1")
	s.cancelKey(t, b.pid, b.secret)
	if out, err := b.answer(); err != nil || sqlState(out) != "57014" {
		t.Fatalf("the cancelled client is told %v, %v", out, err)
	}
	watch.get(t, "select 1")
}

// TestLateCancelHitsNobody: a request that comes too late does not end the
// next query on the same backend.
func TestLateCancelHitsNobody(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 1})
	a, b := s.enter(t), s.enter(t)
	done := make(chan error, 1)
	go func() {
		for range 200 {
			out, err := b.ask("select count(*) from generate_series(1, 20000) for update of generate_series")
			if err != nil {
				done <- err
				return
			}
			if code := sqlState(out); code == "57014" {
				done <- errString("somebody else's query was cancelled")
				return
			}
		}
		done <- nil
	}()
	for {
		if _, err := a.ask("select pg_postmaster_start_time()"); err != nil {
			t.Fatal(err)
		}
		s.cancelKey(t, a.pid, a.secret)
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}

// TestCancelWhileWaiting: a client that waits for a backend can be cancelled
// too.
func TestCancelWhileWaiting(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 1})
	holder, p := s.enter(t), s.enter(t)
	holder.get(t, "begin; lock table pg_class in access share mode; create temp table h (a int)")
	if err := p.send(wire.AppendQuery(nil, "create temp table x (a int)"), nil); err != nil {
		t.Fatal(err)
	}
	got := make(chan message, 1)
	go func() {
		m, _ := p.next()
		got <- m
	}()
	for {
		s.cancelKey(t, p.pid, p.secret)
		select {
		case m := <-got:
			if m.typ != 'E' || string(wire.Field(m.body, 'C')) != "57014" {
				t.Errorf("got %s", m)
			}
			if m, err := p.next(); err != nil || m.String() != `Z "I"` {
				t.Errorf("got %v, %v", m, err)
			}
			holder.get(t, "rollback")
			holder.conn.Close()
			p.get(t, "create temp table x (a int)")
			return
		default:
		}
	}
}

// TestLateCancelHitsNotTheNext: a request that comes too late does not end the
// client's own next query either, although it has kept its backend.
func TestLateCancelHitsNotTheNext(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 2})
	p := s.enter(t)
	p.get(t, "create temp table late_cancel (a int)")
	for range 100 {
		if err := p.send(wire.AppendQuery(nil, "select count(*) from late_cancel, generate_series(1, 20000)"), nil); err != nil {
			t.Fatal(err)
		}
		s.cancelKey(t, p.pid, p.secret)
		if _, err := p.answer(); err != nil {
			t.Fatal(err)
		}
		out, err := p.ask("select count(*) from late_cancel right join generate_series(1, 20000) on true")
		if err != nil {
			t.Fatal(err)
		}
		if code := sqlState(out); code != "" {
			t.Fatalf("the next query is told %s", code)
		}
	}
}

// TestCancelIsOverWithItsConnection: when the connection that brought a cancel
// request has been closed, the request hits nothing that its client sends then.
func TestCancelIsOverWithItsConnection(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust})
	p, busy := s.enter(t), s.enter(t)
	// The loop has something to do before it comes to the request.
	for range 20 {
		if err := busy.send(wire.AppendQuery(nil, "select repeat('x', 100000) from generate_series(1, 30)"), nil); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		for {
			if _, err := busy.answer(); err != nil {
				return
			}
		}
	}()
	for range 100 {
		s.cancelKey(t, p.pid, p.secret)
		out, err := p.ask("select pg_sleep(0.002)")
		if code := sqlState(out); err != nil || code != "" {
			t.Fatalf("a request that was over has cancelled the next query: %s, %v", code, err)
		}
	}
}
