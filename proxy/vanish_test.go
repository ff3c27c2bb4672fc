package proxy_test

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// TestVanishInCopy: what a client has sent of a COPY when it vanishes is not
// committed, and its backend serves others.
func TestVanishInCopy(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 2})
	bystander(t, s)
	c := s.connect(t, "")
	if _, err := c.Exec(t.Context(), "drop table if exists vanish_t; create table vanish_t (a text)"); err != nil {
		t.Fatal(err)
	}
	c.Close(t.Context())
	row := frame('d', strings.Repeat("x", 1000)+"\n")
	for i, end := range [][]byte{nil, row[:500], {'d'}, frame('Q', "select")[:7], append(frame('c', "")[:5:5], 'X', 0, 0, 0)} {
		p := s.enter(t)
		if err := p.send(wire.AppendQuery(nil, "begin; copy vanish_t from stdin"), nil); err != nil {
			t.Fatal(err)
		}
		for m, err := p.next(); m.typ != 'G'; m, err = p.next() {
			if err != nil {
				t.Fatal(err)
			}
		}
		p.send(bytes.Repeat(row, 100*(i+1)), nil)
		p.send(end, nil)
		if i%2 == 0 {
			p.conn.(*net.TCPConn).SetLinger(0) // a reset
		}
		p.conn.Close()
	}
	// Both backends, of which one is the bystander's, serve on; nothing is
	// left in the table and nobody works on it.
	eventually(t, func() error {
		p := s.enter(t)
		defer p.conn.Close()
		if n := p.get(t, "select count(*) from pg_stat_activity where query like '%vanish_t from stdin%' and pid <> pg_backend_pid()"); n != "0" {
			return errString(n + " backends are still in the COPY")
		}
		return nil
	})
	p := s.enter(t)
	if n := p.get(t, "lock table vanish_t; select count(*) from vanish_t"); n != "0" {
		t.Errorf("%s rows were committed", n)
	}
}

// TestVanishInTransaction: a client that vanishes leaves nothing behind: not
// its transaction, its locks, its settings or its temporary tables.
func TestVanishInTransaction(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 1})
	s.enter(t).get(t, "create table if not exists vanish_x (a int)")
	for _, begin := range [][]string{
		{"begin", "insert into vanish_x values (1)"},
		{"begin", "set local work_mem = '999kB'", "set timezone = 'Asia/Tokyo'", "lock table vanish_x"},
		{"begin", "select 1/0"},
		{"create temp table left_over (a int)"},
		{"select pg_advisory_lock(4711)"},
		{"listen left_over"},
		{"prepare left_over as select 1"},
		{"set role app", "begin read only", "select 1"},
		{"set session authorization app"},
		{"select set_config('work_mem', '999kB', false)"},
	} {
		p := s.enter(t)
		for _, sql := range begin {
			if _, err := p.ask(sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
		p.conn.Close()
		q := s.enter(t)
		// There is one connection to the primary: it is clean when it is q's. What
		// q reads on replicas from then on is not older.
		q.get(t, "/* pgroute: primary */ select 1")
		for sql, want := range map[string]string{
			"select count(*) from vanish_x": "0",
			"begin; lock table vanish_x; select current_setting('work_mem') || current_setting('timezone') || current_user || session_user; commit": "4MBUTCpostgrespostgres",
			"select count(*) from pg_locks where locktype = 'advisory' and objid = 4711":                                                            "0",
			"select count(*) from pg_class where relname = 'left_over'":                                                                             "0",
			"select count(*) from pg_prepared_statements where name = 'left_over'":                                                                  "0",
			"select count(*) from pg_listening_channels()":                                                                                          "0",
		} {
			if got := q.get(t, sql); got != want {
				t.Errorf("after %q: %s is %q, want %q", begin, sql, got, want)
			}
		}
		q.conn.Close()
	}
}

// TestVanishWhileWaiting: a client may leave while it waits for a backend.
func TestVanishWhileWaiting(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 1})
	holder := s.enter(t)
	holder.get(t, "begin; create table if not exists waiting_t (a int)")
	var waiting []*peer
	for range 10 {
		p := s.enter(t)
		if err := p.send(wire.AppendQuery(nil, "insert into waiting_t values (1)"), nil); err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, p)
	}
	for i, p := range waiting {
		if i != 7 {
			p.conn.Close()
		}
	}
	eventually(t, func() error {
		if n := s.Stats().Clients; n != 2 {
			return errString("clients are left")
		}
		return nil
	})
	holder.get(t, "commit")
	if out, err := waiting[7].answer(); err != nil || sqlState(out) != "" {
		t.Errorf("who stayed is told %v, %v", out, err)
	}
	if n := holder.get(t, "with x as (delete from waiting_t returning 1) select count(*) from x"); n != "1" {
		t.Errorf("%s rows, want that of the client that stayed", n)
	}
}
