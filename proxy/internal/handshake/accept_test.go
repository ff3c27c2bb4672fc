package handshake_test

import (
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/handshake"
)

var trust = handshake.Config{Mode: handshake.Trust}

func TestAcceptUnderstandsStartupPackets(t *testing.T) {
	type params = []handshake.Param
	for _, tc := range []struct {
		why, sent string
		user, db  string
		params    params
		repl      string
		minor     int
		answer    string // before AuthenticationOk
	}{
		{why: "as libpq says it", sent: packet(protocol30, "user", "app", "database", "shop", "application_name", "psql", "client_encoding", "UTF8"),
			user: "app", db: "shop", params: params{{"application_name", "psql"}, {"client_encoding", "UTF8"}}},
		{why: "the database is the user's", sent: packet(protocol30, "user", "app"), user: "app", db: "app"},
		{why: "an empty database, too", sent: packet(protocol30, "database", "", "user", "app"), user: "app", db: "app"},
		{why: "the last of two users counts", sent: packet(protocol30, "user", "a", "user", "b"), user: "b", db: "b"},
		{why: "long names are cut", sent: packet(protocol30, "user", strings.Repeat("u", 70), "database", strings.Repeat("d", 64)),
			user: strings.Repeat("u", 63), db: strings.Repeat("d", 63)},
		{why: "options come before the packet's own settings", sent: packet(protocol30, "user", "app", "work_mem", "1MB", "options", "-c work_mem=2MB --a.b=c"),
			user: "app", db: "app", params: params{{"work_mem", "2MB"}, {"a.b", "c"}, {"work_mem", "1MB"}}},
		{why: "logical replication", sent: packet(protocol30, "user", "app", "replication", "database"), user: "app", db: "app", repl: "database"},
		{why: "physical replication", sent: packet(protocol30, "user", "app", "replication", "YES"), user: "app", db: "app", repl: "true"},
		{why: "no replication", sent: packet(protocol30, "user", "app", "replication", "of"), user: "app", db: "app"},
		{why: "TLS is refused", sent: sslRequest + packet(protocol30, "user", "app"), user: "app", db: "app", answer: "N"},
		{why: "GSSAPI is refused", sent: gssRequest + packet(protocol30, "user", "app"), user: "app", db: "app", answer: "N"},
		{why: "TLS, then GSSAPI", sent: sslRequest + gssRequest + packet(protocol30, "user", "app"), user: "app", db: "app", answer: "NN"},
		{why: "GSSAPI, then TLS", sent: gssRequest + sslRequest + packet(protocol30, "user", "app"), user: "app", db: "app", answer: "NN"},
		{why: "3.2 is spoken", sent: packet(protocol30+2, "user", "app"), user: "app", db: "app", minor: 2},
		{why: "3.1 never was", sent: packet(protocol30+1, "user", "app"), user: "app", db: "app",
			answer: "v\x00\x00\x00\x0c\x00\x03\x00\x00\x00\x00\x00\x00"},
		{why: "3.9999 is negotiated down", sent: packet(protocol30+9999, "user", "app"), user: "app", db: "app", minor: 2,
			answer: "v\x00\x00\x00\x0c\x00\x03\x00\x02\x00\x00\x00\x00"},
		{why: "unknown protocol options are named", sent: packet(protocol30, "_pq_.a", "1", "user", "app", "_pq_.b", "2"), user: "app", db: "app",
			answer: "v\x00\x00\x00\x1a\x00\x03\x00\x00\x00\x00\x00\x02_pq_.a\x00_pq_.b\x00"},
	} {
		answer, s := converse(t, trust, tc.sent)
		if s.err != nil {
			t.Errorf("%s: %v", tc.why, s.err)
			continue
		}
		if before, _, _ := strings.Cut(answer, "R\x00\x00\x00\x08\x00\x00\x00\x00"); before != tc.answer {
			t.Errorf("%s: answered %q", tc.why, before)
		}
		u := s.outcome.Startup
		if u.User != tc.user || u.Database != tc.db || !reflect.DeepEqual(u.Params, tc.params) || u.Replication != tc.repl || u.Minor != tc.minor {
			t.Errorf("%s: understood %+v", tc.why, *u)
		}
		if s.outcome.Cancel != nil || s.keys != nil {
			t.Errorf("%s: %+v", tc.why, s)
		}
	}
}

func TestAcceptRefuses(t *testing.T) {
	for _, tc := range []struct{ why, sent, code, message string }{
		{"protocol 4.0", packet(4<<16, "user", "app"), "0A000", "unsupported frontend protocol 4.0: server supports 3.0 to 3.2"},
		{"a second request for TLS", sslRequest + sslRequest, "0A000", "unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2"},
		{"requests without end", gssRequest + sslRequest + gssRequest, "0A000", "unsupported frontend protocol 1234.5680: server supports 3.0 to 3.2"},
		{"no user", packet(protocol30, "database", "app"), "28000", "no PostgreSQL user name specified in startup packet"},
		{"an empty user", packet(protocol30, "user", ""), "28000", "no PostgreSQL user name specified in startup packet"},
		{"nothing at all", packet(protocol30), "28000", "no PostgreSQL user name specified in startup packet"},
		{"no terminator", raw("\x00\x03\x00\x00user\x00app\x00"), "08P01", "invalid startup packet layout: expected terminator as last byte"},
		{"not even a list", raw("\x00\x03\x00\x00"), "08P01", "invalid startup packet layout: expected terminator as last byte"},
		{"bytes after the terminator", raw("\x00\x03\x00\x00user\x00app\x00\x00\x00"), "08P01", "invalid startup packet layout: expected terminator as last byte"},
		{"a name without a value", raw("\x00\x03\x00\x00user\x00"), "08P01", "invalid startup packet layout: expected terminator as last byte"},
		{"an unfinished value", raw("\x00\x03\x00\x00user\x00app"), "08P01", "invalid startup packet layout: expected terminator as last byte"},
		{"an unknown kind of replication", packet(protocol30, "user", "app", "replication", "maybe"), "22023", `invalid value for parameter "replication": "maybe"`},
		{"an unknown switch", packet(protocol30, "user", "app", "options", "-c a.b=c -Z"), "42601", "invalid command-line argument for server process: -Z"},
		{"a protocol option in the options", packet(protocol30, "user", "app", "options", "--_pq_.x=1"), "42704", `unrecognized configuration parameter "_pq_.x"`},
		{"another user in the options", packet(protocol30, "user", "app", "options", "-c user=postgres"), "42704", `unrecognized configuration parameter "user"`},
	} {
		answer, s := converse(t, trust, tc.sent)
		answer = strings.TrimLeft(answer, "N")
		e := parseError(t, answer)
		if e.Severity != "FATAL" || e.SeverityUnlocalized != "FATAL" || e.Code != tc.code || e.Message != tc.message {
			t.Errorf("%s: answered %+v", tc.why, *e)
		}
		r, ok := errors.AsType[*handshake.Refusal](s.err)
		if !ok || r.SQLState() != tc.code {
			t.Errorf("%s: the caller sees %v", tc.why, s.err)
		}
	}
}

func TestAcceptHangsUpOnStrangers(t *testing.T) {
	for _, tc := range []struct{ why, sent, says string }{
		{"a health check", "", "EOF"},
		{"half a length", "\x00\x00", "unexpected EOF"},
		{"half a packet", packet(protocol30, "user", "app")[:12], "unexpected EOF"},
		{"nothing after a request for TLS", sslRequest, "read the startup packet: EOF"},
		{"TLS at once", "\x16\x03\x01\x02\x00\x01\x00", "TLS"},
		{"HTTP", "GET / HTTP/1.1\r\nHost: db\r\n\r\n", "HTTP"},
		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n", "SSH"},
		{"a length that is too short", "\x00\x00\x00\x07abc", "invalid length"},
		{"a length of zero", "\x00\x00\x00\x00", "invalid length"},
		{"a negative length", "\xff\xff\xff\xff\x00\x03\x00\x00", "invalid length"},
		{"2 GiB", "\x7f\xff\xff\xff\x00\x03\x00\x00", "invalid length"},
		{"one byte more than is allowed", raw("\x00\x03\x00\x00user\x00" + strings.Repeat("x", 9990) + "\x00\x00"), "invalid length"},
		{"a cancellation without a key", raw("\x04\xd2\x16\x2e\x00\x00\x00\x01"), "invalid length of cancel request"},
		{"a cancellation with a short key", raw("\x04\xd2\x16\x2e\x00\x00\x00\x01abc"), "invalid length of cancel request"},
		{"a cancellation with a long key", raw("\x04\xd2\x16\x2e\x00\x00\x00\x01" + strings.Repeat("k", 257)), "invalid length of cancel request"},
	} {
		client, server := connect(t)
		done := make(chan served, 1)
		go func() { done <- serve(t.Context(), server, trust) }() // ends with the connection
		if _, err := io.WriteString(client, tc.sent); err != nil {
			t.Fatal(err)
		}
		_ = client.(*net.TCPConn).CloseWrite() // the server may have been faster
		// Bytes that nobody read turn the end into a reset; both will do.
		answer, _ := io.ReadAll(client)
		if s := strings.TrimLeft(string(answer), "N"); s != "" {
			t.Errorf("%s: answered %q", tc.why, s)
		}
		if s := <-done; s.err == nil || !strings.Contains(s.err.Error(), tc.says) {
			t.Errorf("%s: the caller sees %v", tc.why, s.err)
		}
	}
	if _, s := converse(t, trust, ""); !errors.Is(s.err, io.EOF) {
		t.Errorf("a health check cannot be told from trouble: %v", s.err)
	}
}

func TestAcceptOldProtocolGetsOldError(t *testing.T) {
	answer, _ := converse(t, trust, packet(2<<16, "user", "app"))
	if want := "EFATAL:  unsupported frontend protocol 2.0: server supports 3.0 to 3.2\n\x00"; answer != want {
		t.Errorf("answered %q", answer)
	}
}

func TestAcceptCancel(t *testing.T) {
	for _, key := range []string{"1234", strings.Repeat("k", 32), strings.Repeat("k", 256)} {
		for _, before := range []string{"", sslRequest} {
			answer, s := converse(t, trust, before+raw("\x04\xd2\x16\x2e\x00\x00\x12\x67"+key))
			if s.err != nil || s.outcome.Startup != nil || s.outcome.Cancel == nil {
				t.Fatalf("%+v", s)
			}
			if c := s.outcome.Cancel; c.PID != 4711 || string(c.Secret) != key {
				t.Errorf("understood %+v", *c)
			}
			if strings.TrimLeft(answer, "N") != "" {
				t.Errorf("answered %q", answer)
			}
		}
	}
}

// The descriptor goes to an event loop afterwards: what a client has pipelined
// must still be in the kernel.
func TestNothingIsReadAhead(t *testing.T) {
	client, server := connect(t)
	const ahead = "Q\x00\x00\x00\x06;\x00 and whatever comes after it"
	if _, err := io.WriteString(client, sslRequest+packet(protocol30, "user", "app")+ahead); err != nil {
		t.Fatal(err)
	}
	if _, err := handshake.Accept(t.Context(), server, trust); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(ahead))
	if _, err := io.ReadFull(server, got); err != nil || string(got) != ahead {
		t.Errorf("left are %q, %v", got, err)
	}
}

func TestSlowClientsEnd(t *testing.T) {
	for why, slow := range map[string]func(client net.Conn){
		"says nothing": func(client net.Conn) { _, _ = io.Copy(io.Discard, client) },
		"says a byte every five seconds": func(client net.Conn) {
			for _, b := range []byte(packet(protocol30, "user", strings.Repeat("u", 60))) {
				if _, err := client.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(5 * time.Second)
			}
		},
		"does not read the answer": func(client net.Conn) {
			_, _ = io.WriteString(client, sslRequest)
			time.Sleep(time.Hour)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			go slow(client) // ends when the server hangs up, or after its hour
			start := time.Now()
			s := serve(t.Context(), server, trust)
			if d := time.Since(start); s.err == nil || d != time.Minute {
				t.Errorf("a client that %s: %v after %v", why, s.err, d)
			}
			client.Close()
			time.Sleep(2 * time.Hour)
		})
	}
}

func TestContextEndsLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		ctx, cancel := context.WithCancelCause(t.Context())
		stopping := errors.New("the proxy stops")
		time.AfterFunc(time.Second, func() { cancel(stopping) })
		_, err := handshake.Accept(ctx, server, trust)
		if !errors.Is(err, stopping) {
			t.Errorf("Accept ended with %v", err)
		}
	})
}

func TestGuardLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		defer server.Close()
		ctx, cancel := context.WithCancel(t.Context())
		release := handshake.Guard(ctx, server, time.Now().Add(time.Second))
		release()
		cancel()
		time.Sleep(2 * time.Second)
		go func() { _, _ = client.Write([]byte("x")) }() // ends with the read
		if _, err := server.Read(make([]byte, 1)); err != nil {
			t.Errorf("a released connection fails: %v", err)
		}

		release = handshake.Guard(ctx, server, time.Time{})
		if _, err := server.Read(make([]byte, 1)); err == nil {
			t.Error("a context that has ended stops nothing")
		}
		release()
		go func() { _, _ = client.Write([]byte("x")) }() // ends with the read
		if _, err := server.Read(make([]byte, 1)); err != nil {
			t.Errorf("a released connection fails: %v", err)
		}
	})
}

// Bytes that nobody read make the kernel send a reset when the socket is
// closed, which must not overtake the error.
func TestFatalIsSeen(t *testing.T) {
	client, server := connect(t)
	if _, err := io.WriteString(client, packet(protocol30, "database", "x")+strings.Repeat("x", 32<<10)); err != nil {
		t.Fatal(err)
	}
	s := make(chan served, 1)
	go func() { s <- serve(t.Context(), server, trust) }() // ends when the client has read
	<-s                                                    // closed before anybody reads
	b, err := io.ReadAll(client)
	if err != nil {
		t.Errorf("the client sees %v", err)
	}
	if e := parseError(t, string(b)); e.Code != "28000" {
		t.Errorf("the client sees %+v", e)
	}
}

// countWrites is a connection that counts.
type countWrites struct {
	net.Conn
	writes int
}

func (c *countWrites) Write(b []byte) (int, error) {
	c.writes++
	return c.Conn.Write(b)
}

func TestWelcomeIsOneWrite(t *testing.T) {
	client, server := connect(t)
	counting := &countWrites{Conn: server}
	if err := handshake.Welcome(counting, reported[:1], 4711, []byte("key4")); err != nil {
		t.Fatal(err)
	}
	server.Close()
	b, err := io.ReadAll(client)
	if err != nil {
		t.Fatal(err)
	}
	const want = "R\x00\x00\x00\x08\x00\x00\x00\x00" +
		"S\x00\x00\x00\x19server_version\x0015.20\x00" +
		"K\x00\x00\x00\x0c\x00\x00\x12\x67key4" +
		"Z\x00\x00\x00\x05I"
	if string(b) != want || counting.writes != 1 {
		t.Errorf("%d writes: %q", counting.writes, b)
	}
	if err = handshake.Welcome(server, nil, 1, []byte("abc")); err == nil {
		t.Error("a key that no client could send back is accepted")
	}
}

func TestTLSHook(t *testing.T) {
	upgraded := 0
	cfg := trust
	cfg.TLS = func(_ context.Context, conn net.Conn, _ []byte) (net.Conn, error) {
		upgraded++
		return &countWrites{Conn: conn}, nil
	}
	client, server := connect(t)
	done := make(chan served, 1)
	go func() { done <- serve(t.Context(), server, cfg) }() // ends with the connection
	if _, err := io.WriteString(client, sslRequest); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	answer := say(t, client, packet(protocol30, "user", "app"))
	s := <-done
	if s.err != nil || upgraded != 1 || !strings.HasPrefix(answer, "R") {
		t.Errorf("%d upgrades, answered %q, %v", upgraded, answer, s.err)
	}
	if _, ok := s.outcome.Conn.(*countWrites); !ok {
		t.Errorf("goes on with %T", s.outcome.Conn)
	}
	cfg.TLS = func(context.Context, net.Conn, []byte) (net.Conn, error) { return nil, errors.New("no common cipher") }
	if _, s = converse(t, cfg, sslRequest); s.err == nil || s.outcome.Conn == nil {
		t.Errorf("%+v", s)
	}
}

// What follows a request for TLS before its answer is not taken for what was
// sent encrypted, and TLS does not even begin.
func TestNothingInTheClearBeforeTLS(t *testing.T) {
	cfg := trust
	cfg.TLS = func(context.Context, net.Conn, []byte) (net.Conn, error) {
		t.Error("TLS has begun")
		return nil, errors.New("no TLS")
	}
	for _, more := range []string{"x", packet(protocol30, "user", "app"), "\x16\x03\x01\x02\x00"} {
		answer, s := converse(t, cfg, sslRequest+more)
		if e := parseError(t, answer); e.Code != "08P01" || e.Message != "received unencrypted data after SSL request" {
			t.Errorf("after %q: %q, %v", more, answer, s.err)
		}
	}
}

// Who must speak TLS is told so; a cancel request needs none.
func TestRequireTLS(t *testing.T) {
	cfg := trust
	cfg.RequireTLS = true
	for _, before := range []string{"", gssRequest} {
		answer, _ := converse(t, cfg, before+packet(protocol30, "user", "app"))
		e := parseError(t, strings.TrimPrefix(answer, "N"))
		if e.Code != "28000" || e.Severity != "FATAL" || !strings.Contains(e.Hint, "sslmode=require") {
			t.Errorf("%+v", e)
		}
	}
	if _, s := converse(t, cfg, raw("\x04\xd2\x16\x2e\x00\x00\x00\x01key4")); s.err != nil || s.outcome.Cancel == nil {
		t.Errorf("a cancel request: %+v", s)
	}
	old := raw("\x00\x02\x00\x00")
	if answer, _ := converse(t, cfg, old); !strings.Contains(answer, "unsupported frontend protocol 2.0") {
		t.Errorf("protocol 2 is answered %q", answer)
	}
}

// TLS that begins at once gets the bytes that were read already; one that
// begins later is no TLS.
func TestDirectTLS(t *testing.T) {
	const hello = "\x16\x03\x01\x02\x00\x01\x00"
	began := ""
	cfg := trust
	cfg.TLS = func(_ context.Context, conn net.Conn, read []byte) (net.Conn, error) {
		rest, _ := io.ReadAll(conn)
		began = string(read) + string(rest)
		return nil, errors.New("no common cipher")
	}
	if answer, s := converse(t, cfg, hello); began != hello || answer != "" || s.err == nil {
		t.Errorf("TLS got %q, the client %q, %v", began, answer, s.err)
	}
	began = ""
	if answer, s := converse(t, cfg, gssRequest+hello[:4]); began != "" || answer != "N" || s.err == nil {
		t.Errorf("later TLS got %q, the client %q, %v", began, answer, s.err)
	}
}
