package proxy_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// eventually waits until ok says nil.
func eventually(t testing.TB, ok func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("in vain: %v", err)
		}
	}
}

// enter logs a raw client in, which leaves with the test.
func (s *served) enter(t testing.TB, params ...string) *peer {
	t.Helper()
	p, err := login(s.addr(), cluster.SuperUser, cluster.AppDatabase, params...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.conn.Close() })
	return p
}

// ask runs a simple query and returns the answer without ReadyForQuery.
func (p *peer) ask(sql string) ([]message, error) {
	if err := p.send(wire.AppendQuery(nil, sql), nil); err != nil {
		return nil, err
	}
	return p.answer()
}

// answer reads up to the next ReadyForQuery.
func (p *peer) answer() ([]message, error) {
	var out []message
	for {
		m, err := p.next()
		if err != nil || m.typ == 'Z' {
			return out, err
		}
		out = append(out, m)
	}
}

// get is ask for a statement that succeeds. It returns the first value.
func (p *peer) get(t testing.TB, sql string) string {
	t.Helper()
	out, err := p.ask(sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	value := ""
	for _, m := range out {
		switch m.typ {
		case 'E':
			t.Fatalf("%s: %s", sql, m)
		case 'D':
			if n := int32(binary.BigEndian.Uint32(m.body[2:])); value == "" && n >= 0 {
				value = string(m.body[6 : 6+n])
			}
		}
	}
	return value
}

// sqlState returns the code of the error in an answer, empty if there is none.
func sqlState(answer []message) string {
	for _, m := range answer {
		if m.typ == 'E' {
			return string(wire.Field(m.body, 'C'))
		}
	}
	return ""
}

// bystander is a client that must notice nothing.
func bystander(t *testing.T, s *served) {
	p := s.enter(t)
	p.get(t, "create temp table stays (a int)")
	t.Cleanup(func() {
		if !t.Failed() {
			p.get(t, "select count(*) from stays")
			p.get(t, "select 1")
		}
	})
}

func TestGarbageOnThePort(t *testing.T) {
	s := use(t, plain)
	bystander(t, s)
	for _, x := range []struct {
		name, bytes string
		told        bool // as by PostgreSQL, which says nothing to what is no startup packet
	}{
		{"http", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", false},
		{"tls", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x42", 500), false},
		{"zeros", strings.Repeat("\x00", 1000), false},
		{"ones", strings.Repeat("\xff", 1000), false},
		{"two gigabytes", "\x7f\xff\xff\xff\x00\x03\x00\x00user\x00", false},
		{"protocol 2", "\x00\x00\x00\x08\x00\x02\x00\x00", true},
		{"no user", "\x00\x00\x00\x09\x00\x03\x00\x00\x00", true},
		{"nothing", "", false},
		{"the beginning of a length", "\x00\x00", false},
	} {
		t.Run(x.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte(x.bytes)); err != nil {
				t.Fatal(err)
			}
			conn.(*net.TCPConn).CloseWrite()
			conn.SetReadDeadline(time.Now().Add(patience))
			got, err := io.ReadAll(conn)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the connection stays open")
			}
			if told := len(got) > 0 && got[0] == 'E'; told != x.told || len(got) > 0 && !told {
				t.Errorf("the answer is %q", got)
			}
		})
	}
}

// TestBrokenMessages: a client that is logged in and breaks the protocol is
// told so and leaves.
func TestBrokenMessages(t *testing.T) {
	s := use(t, plain)
	bystander(t, s)
	for _, x := range []struct {
		name   string
		before string
		bytes  []byte
	}{
		{"two gigabytes", "", []byte("Q\x7f\xff\xff\xffselect")},
		{"four gigabytes", "", []byte("Q\xff\xff\xff\xffselect")},
		{"a length of zero", "", []byte("Q\x00\x00\x00\x00")},
		{"a length of three", "", []byte("S\x00\x00\x00\x03")},
		{"a long Sync", "", []byte("S\x00\x01\x00\x00")},
		{"an unknown type", "", []byte("!\x00\x00\x00\x04")},
		{"a query without an end", "", frame('Q', "select 1")},
		{"a query with two ends", "", frame('Q', "select 1\x00\x00")},
		{"a parse without an end", "", frame('P', "name")},
		{"a bind without an end", "", frame('B', "portal\x00name")},
		{"an empty describe", "", frame('D', "")},
		{"an empty execute", "", frame('E', "")},
		{"a password", "", frame('p', "x\x00")},
		{"in a transaction", "begin; create table broken_t (a int)", []byte("!\x00\x00\x00\x04")},
		{"in a pipeline", "", append(wire.AppendParse(nil, nil, []byte("select 1\x00\x00\x00")), "H\x00\x00\x00\x04S\x00\x00\x00\x00"...)},
	} {
		t.Run(x.name, func(t *testing.T) {
			p := s.enter(t)
			if x.before != "" {
				p.get(t, x.before)
			}
			b := x.bytes
			if wire.FrontendExtended(b[0]) {
				b = wire.AppendSync(b)
			}
			if err := p.send(b, nil); err != nil {
				t.Fatal(err)
			}
			out, err := p.answer()
			if err != io.EOF && err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("the connection goes on: %v", err)
			}
			if code := sqlState(out); code != "08P01" {
				t.Errorf("got SQLSTATE %q in %v, want 08P01", code, out)
			}
		})
	}
	c := s.connect(t, "")
	eventually(t, func() error {
		_, err := c.Exec(t.Context(), "create table if not exists broken_t (a int); drop table broken_t")
		return err
	})
}

// TestLongMessagesAreNotBelieved: what a message claims to hold is not
// allocated.
func TestLongMessagesAreNotBelieved(t *testing.T) {
	s := use(t, plain)
	bystander(t, s)
	before := heap()
	for _, b := range [][]byte{
		[]byte("Q\x3f\xff\xff\xf0select 1"),
		[]byte("P\x3f\xff\xff\xf0name\x00select"),
		[]byte("B\x3f\xff\xff\xf0\x00name\x00"),
		[]byte("F\x3f\xff\xff\xf0"),
		append(wire.AppendParse(nil, nil, []byte("show pgroute.wait\x00\x00\x00")), wire.AppendSync(frame('B', "\x00\x00\x00\x00\x00\x01\x7f\xff\xff\xff"))...),
	} {
		p := s.enter(t)
		if err := p.send(b, nil); err != nil {
			t.Fatal(err)
		}
		p.taken(t)
	}
	if after := heap(); after > before+8<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
}

// taken waits until the proxy has taken what was sent: nothing is left in the
// socket when another client of the same loop has been served.
func (p *peer) taken(t *testing.T) {
	t.Helper()
	use(t, plain).enter(t).get(t, "select 1")
}

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

type errString string

func (e errString) Error() string { return string(e) }

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

// TestHalfOpen: a client that says no more than half of a login does not keep
// anybody from being served.
func TestHalfOpen(t *testing.T) {
	s := use(t, plain)
	for range 50 {
		conn, err := net.Dial("tcp", s.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte{0, 0, 0, 50, 0, 3}); err != nil {
			t.Fatal(err)
		}
	}
	var one int
	if err := s.connect(t, "").QueryRow(t.Context(), "select 1", pgx.QueryExecModeExec).Scan(&one); err != nil {
		t.Error(err)
	}
}
