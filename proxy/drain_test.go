package proxy_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/proxy"
)

// TestDrain: when the proxy is told to end, transactions end first, idle
// clients are told, and nothing is left.
func TestDrain(t *testing.T) {
	c := use(t, trusting)
	settled(t)
	goroutines, files := ours(), descriptors(t)
	s, err := serve(proxy.Config{Source: source(c), Auth: proxy.AuthTrust, Loops: 2, Listen: []string{"127.0.0.1:0", "unix:" + t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	idle, busy, slow := s.enter(t), s.enter(t), s.enter(t)
	half, err := pgx.Connect(t.Context(), s.dsn(""))
	if err != nil {
		t.Fatal(err)
	}
	half.Close(t.Context())
	idle.get(t, "select 1")
	busy.get(t, "create table if not exists drain_t (a int)")
	busy.get(t, "begin")
	busy.get(t, "insert into drain_t values (1)")
	if err := slow.send(frame('Q', "select repeat('x', 1000) from generate_series(1, 2000)\x00"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := slow.next(); err != nil {
		t.Fatal(err)
	}
	s.cancel()
	if m, err := idle.next(); err != nil || !strings.Contains(m.String(), "C=57P01") {
		t.Errorf("the idle client is told %v, %v", m, err)
	}
	rows := 0
	for {
		m, err := slow.next()
		if err != nil {
			t.Errorf("the client that reads slowly gets %d rows, then %v", rows, err)
			break
		}
		if m.typ == 'E' {
			if !strings.Contains(m.String(), "C=57P01") {
				t.Error(m)
			}
			break
		}
		if m.typ == 'D' {
			rows++
		}
	}
	if rows != 2000 {
		t.Errorf("the client that reads slowly gets %d rows", rows)
	}
	busy.get(t, "insert into drain_t values (2)")
	busy.get(t, "commit")
	if m, err := busy.next(); err != nil || !strings.Contains(m.String(), "C=57P01") {
		t.Errorf("after its transaction the client is told %v, %v", m, err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*peer{idle, busy, slow} {
		p.conn.Close()
	}
	eventually(t, func() error {
		if now := ours(); now > goroutines {
			return errString(fmt.Sprintf("%d goroutines, there were %d\n%s", now, goroutines, stacks()))
		}
		if now := descriptors(t); now > files {
			return errString(fmt.Sprintf("%d descriptors, there were %d", now, files))
		}
		return nil
	})
	if v, err := c.Primary().QueryString(t.Context(), "select count(*) from drain_t"); err != nil || v != "2" {
		t.Errorf("%s rows, %v", v, err)
	}
}

// TestEndWithoutDrain: clients that stay in a transaction do not keep the
// proxy from ending when it must.
func TestEndWithoutDrain(t *testing.T) {
	settled(t)
	goroutines := ours()
	s, err := serveFor(proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	p, q := s.enter(t), s.enter(t)
	p.get(t, "begin")
	p.get(t, "create temp table x (a int)")
	if err := q.send(frame('Q', "create temp table y (a int)\x00"), nil); err != nil { // it waits for the backend
		t.Fatal(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*peer{p, q} {
		if _, err := x.next(); err == nil {
			if _, err = x.next(); err == nil {
				t.Error("the client's connection goes on")
			}
		}
		x.conn.Close()
	}
	eventually(t, func() error {
		if now := ours(); now > goroutines {
			return errString(fmt.Sprintf("%d goroutines, there were %d\n%s", now, goroutines, stacks()))
		}
		return nil
	})
}

// settled waits until the shared proxy has all that it keeps open.
func settled(t *testing.T) {
	t.Helper()
	s := use(t, plain)
	p := s.enter(t)
	eventually(t, func() error {
		p.get(t, "select 1")
		if top := s.Router().Topology(); top.Replicas() != 2 {
			return errString(top.String())
		}
		if role := p.lastRole(t); role != "replica" {
			return errString("reads on the " + role)
		}
		return nil
	})
	p.conn.Close()
	eventually(t, func() error {
		if n := s.Stats().Clients; n != 0 {
			return errString(fmt.Sprintf("%d clients of earlier tests are left", n))
		}
		return nil
	})
}

// stacks are the stacks of all goroutines.
func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

// ours counts the goroutines of proxies and routers.
func ours() int {
	n := 0
	for _, g := range strings.Split(stacks(), "\n\n") {
		if strings.Contains(g, "pgroute/pgroute/proxy.") || strings.Contains(g, "pgroute/pgroute/router") || strings.Contains(g, "proxy/internal/") {
			n++
		}
	}
	return n
}

// descriptors counts this process's open files.
func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(list)
}
