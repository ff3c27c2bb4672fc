package proxy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// TestNoPrimary: while there is no primary, writes wait for a bounded time and
// reads go on; when it is back, everything goes on.
func TestNoPrimary(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust, PrimaryWait: 500 * time.Millisecond})
	s.led(t)
	p, idle, piped, flushed := s.enter(t), s.enter(t), s.enter(t), s.enter(t)
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
		if took := time.Since(began); took > patience/2 {
			t.Errorf("the write was refused after %v", took)
		}
		return nil
	})
	// What was sent behind a BEGIN that fails belongs to its transaction.
	for q, begin := range map[*peer][]byte{
		piped:   wire.AppendQuery(nil, "begin"),
		flushed: append(executed("begin"), "H\x00\x00\x00\x04S\x00\x00\x00\x04"...),
	} {
		if err := q.send(wire.AppendQuery(wire.AppendQuery(begin, "insert into outage_t values (0)"), "rollback"), nil); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"57P03", "25P02", ""} {
			if out, err := q.answer(); err != nil || sqlState(out) != want {
				t.Errorf("who sends on behind a BEGIN is told %v, %v, want %q", out, err, want)
			}
		}
	}
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

// led waits until the proxy knows a primary.
func (s *served) led(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Router().WaitTopology(ctx, func(t *router.Topology) bool { return t.Primary != nil }); err != nil {
		t.Fatal(err)
	}
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
