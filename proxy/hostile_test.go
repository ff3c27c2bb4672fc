package proxy_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/proxy/internal/wire"
)

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
	grewBy(t, before, 8<<20)
}

// taken waits until the proxy has taken what was sent: nothing is left in the
// socket when another client of the same loop has been served.
func (p *peer) taken(t *testing.T) {
	t.Helper()
	use(t, plain).enter(t).get(t, "select 1")
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
