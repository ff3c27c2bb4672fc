package proxy_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

// TestNoPrimary: while there is no primary, writes wait for a bounded time and
// reads go on; when it is back, everything goes on.
func TestNoPrimary(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust, PrimaryWait: 500 * time.Millisecond})
	p, idle := s.enter(t), s.enter(t)
	p.get(t, "create table outage_t (a int)")
	p.get(t, "insert into outage_t values (1)")
	eventually(t, func() error { // a replica can serve
		p.get(t, "select count(*) from outage_t")
		if role := p.lastRole(t); role != "replica" {
			return errString("read on the " + role)
		}
		return nil
	})
	if err := c.Primary().Stop(cluster.Fast); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		began := time.Now()
		out, err := p.ask("insert into outage_t values (2)")
		if err != nil {
			t.Fatal(err)
		}
		if code := sqlState(out); code != "57P03" {
			return errString("the write is told " + code)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("the write was refused after %v", took)
		}
		return nil
	})
	if n := p.get(t, "select count(*) from outage_t"); n != "1" {
		t.Errorf("a read sees %s rows", n)
	}
	q := s.enter(t) // a login needs no primary
	if n := q.get(t, "/* pgroute: eventual */ select count(*) from outage_t"); n != "1" {
		t.Errorf("a new client sees %s rows", n)
	}
	if out, err := q.ask("/* pgroute: strong */ select 1"); err != nil || sqlState(out) == "" {
		t.Errorf("a strong read is told %v, %v", out, err)
	}
	if err := c.Primary().Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		out, err := p.ask("insert into outage_t values (3)")
		if err != nil {
			t.Fatal(err)
		}
		if code := sqlState(out); code != "" {
			return errString(code)
		}
		return nil
	})
	// Who was idle all the time notices nothing.
	idle.get(t, "insert into outage_t values (4)")
	idle.get(t, "select count(*) from outage_t")
}

// lastRole is the role of the node that served the last statement.
func (p *peer) lastRole(t testing.TB) string {
	t.Helper()
	out, err := p.ask("show pgroute.last_route")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range out {
		if m.typ == 'D' {
			if strings.Contains(string(m.body), "replica") {
				return "replica"
			}
			return "primary"
		}
	}
	return "nobody"
}

// TestServersRestart under clients that are idle, which survive.
func TestServersRestart(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true})
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust})
	var clients []*peer
	for i := range 10 {
		p := s.enter(t)
		p.get(t, fmt.Sprintf("set application_name = 'survivor %d'", i))
		clients = append(clients, p)
	}
	clients[0].get(t, "create table restart_t (a int)")
	for _, n := range []*cluster.Node{c.Replicas()[0], c.Primary(), c.Replicas()[1]} {
		if err := n.Restart(t.Context(), cluster.Fast); err != nil {
			t.Fatal(err)
		}
		for i, p := range clients {
			p.get(t, "insert into restart_t values (1)")
			p.get(t, "select count(*) from restart_t")
			if got, want := p.get(t, "show application_name"), fmt.Sprintf("survivor %d", i); got != want {
				t.Errorf("client %d is called %q", i, got)
			}
		}
	}
	// A read on a replica that goes away while it runs is run elsewhere.
	p := clients[0]
	for _, n := range c.Nodes() {
		if n != c.Primary() {
			if _, err := n.QueryString(t.Context(), "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'postgres' and application_name like 'survivor%'"); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.get(t, "select count(*) from restart_t")
}

// TestLostTransaction: a backend that is killed takes its transaction with it,
// not its client.
func TestLostTransaction(t *testing.T) {
	s := use(t, plain)
	p := s.enter(t)
	p.get(t, "create table if not exists lost_t (a int)")
	killed := func() {
		t.Helper()
		if v, err := use(t, trusting).Primary().QueryString(t.Context(), "select count(pg_terminate_backend(pid)) from pg_stat_activity where query like 'insert into lost_t%'"); err != nil || v == "0" {
			t.Fatalf("%s were killed, %v", v, err)
		}
	}
	p.get(t, "begin")
	p.get(t, "insert into lost_t values (1)")
	killed()
	for _, x := range []struct{ sql, code, ready string }{
		{"insert into lost_t values (2)", "57P01", "E"},
		{"select 1", "25P02", "E"},
		{"rollback", "", "I"},
		{"select 1", "", "I"},
	} {
		var out []string
		eventually(t, func() (err error) {
			out, err = p.play(step{bytes: frame('Q', x.sql+"\x00"), ready: 1}, nil)
			return err
		})
		all := strings.Join(out, " ")
		if x.code == "57P01" && strings.Contains(all, "C=08006") {
			x.code = "08006" // it had gone before it could say why
		}
		if x.code != "" && !strings.Contains(all, "C="+x.code) || x.code == "" && strings.Contains(all, "E V=") || out[len(out)-1] != fmt.Sprintf("Z %q", x.ready) {
			t.Errorf("%s is told %v, want %q and %s", x.sql, out, x.code, x.ready)
		}
	}
	if n := p.get(t, "select count(*) from lost_t"); n != "0" {
		t.Errorf("%s rows are left", n)
	}
	// A client with a temporary table cannot go on without its backend.
	q := s.enter(t)
	q.get(t, "create temp table lost_temp (a int)")
	q.get(t, "insert into lost_temp values (1)")
	if _, err := use(t, trusting).Primary().QueryString(t.Context(), "select count(pg_terminate_backend(pid)) from pg_stat_activity where query like 'insert into lost_temp%'"); err != nil {
		t.Fatal(err)
	}
	out, err := q.ask("select 1")
	if err == nil || len(out) == 0 || string(out[len(out)-1].typ) != "E" {
		t.Errorf("a client that lost its temporary table is told %v, %v", out, err)
	}
}

// TestForeignServer: a server of another cluster among the nodes serves
// nobody.
func TestForeignServer(t *testing.T) {
	mine := use(t, trusting)
	other := cluster.Start(t, cluster.Options{Trust: true, Replicas: -1, UniqueSystemID: true})
	src, err := router.Static(append(mine.Addrs(), other.Addrs()...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Primary().Exec(t.Context(), "create table foreign_t (a int)"); err != nil {
		t.Fatal(err)
	}
	s := start(t, proxy.Config{Source: src, Auth: proxy.AuthTrust, PrimaryWait: 300 * time.Millisecond})
	p, err := login(s.addr(), cluster.SuperUser, cluster.AppDatabase)
	if err != nil {
		// Nobody can say which of two primaries is meant; to refuse is right,
		// to guess is not.
		if !strings.Contains(err.Error(), "57P03") {
			t.Errorf("the login fails with %v", err)
		}
		t.Skipf("pgroute serves nobody: %v", err)
	}
	defer p.conn.Close()
	for range 50 {
		for _, sql := range []string{"select count(*) from pg_class where relname = 'foreign_t'", "with x as (select pg_backend_pid()) select count(*) from pg_class, x where relname = 'foreign_t'"} {
			out, err := p.ask(sql)
			if err != nil {
				t.Fatal(err)
			}
			if code := sqlState(out); code != "" && code != "57P03" {
				t.Fatalf("%s: %s", sql, code)
			}
		}
	}
}

// TestDrain: when the proxy is told to end, transactions end first, idle
// clients are told, and nothing is left.
func TestDrain(t *testing.T) {
	c := use(t, trusting)
	use(t, plain)
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

// TestPromotion: clients with settings of their own over the connections that
// a replica has from before it was promoted.
func TestPromotion(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust, PrimaryWait: 10 * time.Second})
	var clients []*peer
	for i := range 8 {
		p := s.enter(t)
		p.get(t, fmt.Sprintf("set application_name = 'promoted %d'", i))
		clients = append(clients, p)
	}
	clients[0].get(t, "create table promoted_t (a int)")
	each := func(sql string) {
		t.Helper()
		var all sync.WaitGroup
		for _, p := range clients {
			all.Go(func() {
				if out, err := p.ask(sql); err != nil || sqlState(out) != "" {
					t.Errorf("%s: %v, %v", sql, out, err)
				}
			})
		}
		all.Wait()
	}
	eventually(t, func() error { // the replica's connections are there
		each("select pg_sleep(0.05)")
		if role := clients[0].lastRole(t); role != "replica" {
			return errString("reads on the " + role)
		}
		return nil
	})
	if err := c.WaitCaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Failover(t.Context(), c.Replicas()[0]); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		each("insert into promoted_t values (1)")
		each("select count(*) from promoted_t")
	}
	for i, p := range clients {
		if got, want := p.get(t, "show application_name"), fmt.Sprintf("promoted %d", i); got != want {
			t.Errorf("client %d is called %q", i, got)
		}
	}
	if n := clients[3].get(t, "select count(*) from promoted_t"); n != "24" {
		t.Errorf("%s rows, want 24", n)
	}
}
