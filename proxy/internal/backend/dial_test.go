package backend_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/auth"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
)

// message is a message with its header.
func message(typ byte, body string) string {
	return string(typ) + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))) + body
}

const (
	authOK  = "R\x00\x00\x00\x08\x00\x00\x00\x00"
	ready   = "Z\x00\x00\x00\x05I"
	version = "S\x00\x00\x00\x19server_version\x0015.20\x00"
	key     = "K\x00\x00\x00\x0c\x00\x00\x12\x67key4"
	shuts   = "SFATAL\x00VFATAL\x00C57P03\x00Mthe database system is shutting down\x00\x00"
)

// A server listens until the test ends and does serve with each connection.
func server(t testing.TB, serve func(net.Conn)) backend.Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go acceptLoop(l, serve) // ends with the listener
	return backend.Target{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}
}

func acceptLoop(l net.Listener, serve func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() { defer conn.Close(); serve(conn) }() // ends with the connection
	}
}

// says is a server that says everything at once and waits for the end.
func says(answer string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, answer)
		_, _ = io.Copy(io.Discard, conn)
	}
}

func TestDialReadsHello(t *testing.T) {
	const more = "N\x00\x00\x00\x04 whatever comes next"
	target := server(t, says("v\x00\x00\x00\x0c\x00\x03\x00\x00\x00\x00\x00\x00"+
		"N\x00\x00\x00\x05\x00"+authOK+version+"N\x00\x00\x00\x05\x00"+key+ready+more))
	h, err := backend.Dial(t.Context(), target, backend.Credentials{User: "app"}, "app", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Conn.Close()
	if h.PID != 4711 || string(h.Secret) != "key4" || !slices.Equal(h.Params, []handshake.Param{{Name: "server_version", Value: "15.20"}}) {
		t.Errorf("read %+v", *h)
	}
	left := make([]byte, len(more))
	if _, err = io.ReadFull(h.Conn, left); err != nil || string(left) != more {
		t.Errorf("left are %q, %v", left, err)
	}
}

func TestDialDistrustsServers(t *testing.T) {
	keys := new(auth.Keys)
	offer := message('R', "\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00")
	for _, tc := range []struct {
		why, answer, says string
		keys              *auth.Keys
	}{
		{"a password in clear", message('R', "\x00\x00\x00\x03"), "password itself", keys},
		{"MD5", message('R', "\x00\x00\x00\x05salt"), "MD5", keys},
		{"GSSAPI", message('R', "\x00\x00\x00\x07"), "method 7", keys},
		{"only channel binding", message('R', "\x00\x00\x00\x0aSCRAM-SHA-256-PLUS\x00\x00"), "SCRAM-SHA-256-PLUS", keys},
		{"no trust", offer, "does not trust us", nil},
		{"no proof of its own", offer + authOK + ready, "without proving", keys},
		{"two exchanges", offer + offer, "second", keys},
		{"a challenge out of nowhere", message('R', "\x00\x00\x00\x0bx"), "before", keys},
		{"an outcome out of nowhere", message('R', "\x00\x00\x00\x0cv=x"), "before", keys},
		{"an outcome without a challenge", offer + message('R', "\x00\x00\x00\x0cv=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), "too early", keys},
		{"a challenge for somebody else", offer + message('R', "\x00\x00\x00\x0br=abc,s=AAAA,i=1"), "nonce", keys},
		{"half a request", message('R', "\x00\x00"), "malformed", keys},
		{"an unterminated list", message('R', "\x00\x00\x00\x0aSCRAM"), "malformed", keys},
		{"two welcomes", authOK + authOK, "unexpected", nil},
		{"parameters before the welcome", version, "unexpected", nil},
		{"ready before the welcome", ready, "unexpected", nil},
		{"a row", authOK + message('D', "\x00\x00"), "unexpected", nil},
		{"HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", "too long", nil},
		{"2 GiB", "E\x7f\xff\xff\xff", "too long", nil},
		{"a short length", "N\x00\x00\x00\x03", "invalid length", nil},
		{"a short key", authOK + message('K', "\x00\x00\x00\x01abc"), "BackendKeyData", nil},
		{"a long key", authOK + message('K', strings.Repeat("k", 261)), "BackendKeyData", nil},
		{"a broken parameter", authOK + message('S', "x"), "ParameterStatus", nil},
		{"a broken error", message('E', "SFATAL"), "ErrorResponse", nil},
		{"in a transaction", authOK + message('Z', "T"), "state", nil},
		{"parameters without end", authOK + strings.Repeat(version, 1100), "come to an end", nil},
	} {
		target := server(t, says(tc.answer))
		h, err := backend.Dial(t.Context(), target, backend.Credentials{User: "app", Keys: tc.keys}, "app", nil)
		if err == nil || h != nil || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), target.String()) {
			t.Errorf("%s: %v, want something about %q", tc.why, err, tc.says)
		}
	}

	target := server(t, func(conn net.Conn) { _, _ = io.WriteString(conn, authOK+version) })
	if _, err := backend.Dial(t.Context(), target, backend.Credentials{User: "app"}, "app", nil); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a server that goes away: %v", err)
	}
}

func TestDialReportsServerErrors(t *testing.T) {
	target := server(t, says(message('E', shuts)))
	_, err := backend.Dial(t.Context(), target, backend.Credentials{User: "app"}, "app", nil)
	e, ok := errors.AsType[*backend.ServerError](err)
	if !ok || e.SQLState() != "57P03" || e.Message != "the database system is shutting down" || !strings.Contains(err.Error(), "57P03") {
		t.Fatalf("%v", err)
	}
	for code, want := range map[string]struct{ replica, primary, login bool }{
		"57P03": {true, true, false},
		"57P01": {true, true, false},
		"53300": {true, true, false},
		"28P01": {true, false, true},
		"28000": {true, false, true},
		"3D000": {true, false, false},
		"42704": {true, false, false},
		"08P01": {false, false, false},
	} {
		e.Code = code
		if e.Crowded() {
			t.Errorf("%s: nobody spoke of a role or a database", code)
		}
		if e.Elsewhere(true) != want.replica || e.Elsewhere(false) != want.primary || e.BadLogin() != want.login {
			t.Errorf("%s: elsewhere for a replica %v, for the primary %v, login %v", code, e.Elsewhere(true), e.Elsewhere(false), e.BadLogin())
		}
	}
}

func TestDialEndsWithContext(t *testing.T) {
	reached := make(chan struct{}, 1)
	target := server(t, func(conn net.Conn) {
		_, _ = io.ReadFull(conn, make([]byte, 8))
		_, _ = io.WriteString(conn, authOK)
		reached <- struct{}{}
		_, _ = io.Copy(io.Discard, conn)
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the client hung up")
	go func() { <-reached; cancel(gone) }() // ends with the dial
	if _, err := backend.Dial(ctx, target, backend.Credentials{User: "app"}, "app", nil); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	if _, err := backend.Dial(ctx, target, backend.Credentials{User: "app"}, "app", nil); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	if err := backend.Cancel(ctx, target, 1, []byte("key4")); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
}

func TestDialWithoutServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := backend.Target{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}
	l.Close()
	if _, err = backend.Dial(t.Context(), target, backend.Credentials{User: "app"}, "app", nil); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v", err)
	}
	target = backend.Target{Host: t.TempDir(), Port: 5432}
	if _, err = backend.Dial(t.Context(), target, backend.Credentials{User: "app"}, "app", nil); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%v", err)
	}
}

func TestTargetString(t *testing.T) {
	for want, target := range map[string]backend.Target{
		"db.example:5432":         {Host: "db.example", Port: 5432},
		"[::1]:5432":              {Host: "::1", Port: 5432},
		"/run/pg/.s.PGSQL.5432":   {Host: "/run/pg", Port: 5432},
		"@abstract/.s.PGSQL.5432": {Host: "@abstract", Port: 5432},
	} {
		if got := target.String(); got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
}

// A setting must not become another user, and a value must not become a name.
func TestDialRefusesSmuggledNames(t *testing.T) {
	target := server(t, says(authOK+key+ready))
	for _, p := range []handshake.Param{
		{Name: "user", Value: "postgres"},
		{Name: "database", Value: "postgres"},
		{Name: "replication", Value: "true"},
		{Name: "options", Value: "-c x=y"},
		{Name: "_pq_.x", Value: "y"},
		{Name: "", Value: "y"},
		{Name: "a\x00user", Value: "postgres"},
		{Name: "a", Value: "b\x00user\x00postgres"},
	} {
		if _, err := backend.Dial(t.Context(), target, backend.Credentials{User: "app"}, "app", []handshake.Param{p}); err == nil {
			t.Errorf("%+v is sent", p)
		}
	}
	for _, names := range [][2]string{{"app\x00database", "app"}, {"app", "app\x00user\x00postgres"}, {"", "app"}} {
		if _, err := backend.Dial(t.Context(), target, backend.Credentials{User: names[0]}, names[1], nil); err == nil {
			t.Errorf("%q is sent", names)
		}
	}
}

func TestIdentifyDistrustsServers(t *testing.T) {
	row := func(values ...string) string {
		b := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
		for _, v := range values {
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
		}
		return message('D', string(b))
	}
	good := row("7000000000000000000", "t", "1764000000000000", "0/3000060")
	for _, tc := range []struct{ why, answer, says string }{
		{"nothing", ready, "no row"},
		{"two rows", good + good + ready, "more than one"},
		{"three columns", row("1", "t", "1") + ready, "columns"},
		{"no identifier", row("", "t", "1", "0/1") + ready, "system identifier"},
		{"an identifier of zero", row("0", "t", "1", "0/1") + ready, "system identifier"},
		{"neither true nor false", row("1", "true", "1", "0/1") + ready, "pg_is_in_recovery"},
		{"no time", row("1", "t", "", "0/1") + ready, "start time"},
		{"a fraction", row("1", "t", "1.5", "0/1") + ready, "start time"},
		{"no position", row("1", "t", "1", "x") + ready, "replay position"},
		{"a broken row", message('D', "\x00\x01") + ready, "DataRow"},
		{"in a transaction", good + message('Z', "T"), "state"},
		{"a copy", message('G', "\x00\x00\x00"), "unexpected"},
		{"an error", message('E', "SERROR\x00VERROR\x00C42501\x00Mno\x00\x00") + ready, "42501"},
		{"the end", message('E', shuts), "57P03"},
		{"2 GiB", "T\x7f\xff\xff\xff", "too long"},
	} {
		target := server(t, says(authOK+key+ready+tc.answer))
		h, err := backend.Dial(t.Context(), target, backend.Credentials{User: "app"}, "app", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err = backend.Identify(t.Context(), h); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want something about %q", tc.why, err, tc.says)
		}
		if h.SystemID != 0 && tc.says != "more than one" && tc.says != "state" {
			t.Errorf("%s: %+v is believed", tc.why, *h)
		}
		h.Conn.Close()
	}

	target := server(t, says(authOK+version+key+ready+
		message('S', "server_version\x0016.1\x00")+message('S', "x\x00y\x00")+"T\x00\x00\x00\x06\x00\x00"+good+message('C', "SELECT 1\x00")+ready))
	h, err := backend.Dial(t.Context(), target, backend.Credentials{User: "app"}, "app", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Conn.Close()
	if err = backend.Identify(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if h.SystemID != 7000000000000000000 || !h.InRecovery || h.PostmasterStart != 1764000000000000 || h.Replay != 0x3000060 {
		t.Errorf("understood %+v", *h)
	}
	if got := fmt.Sprint(h.Params); got != "[{server_version 16.1} {x y}]" {
		t.Errorf("parameters %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err = backend.Identify(ctx, h); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestCancelWaitsForTheEnd(t *testing.T) {
	got := make(chan string, 1)
	closed := make(chan struct{})
	target := server(t, func(conn net.Conn) {
		b := make([]byte, 16)
		_, _ = io.ReadFull(conn, b)
		got <- string(b)
		<-closed
	})
	done := make(chan error, 1)
	go func() { done <- backend.Cancel(t.Context(), target, 4711, []byte("key4")) }() // ends with the server's connection
	if b := <-got; b != "\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x12\x67key4" {
		t.Errorf("sent %q", b)
	}
	select {
	case err := <-done:
		t.Errorf("did not wait: %v", err)
	default:
	}
	close(closed)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A tape is a server that has said everything in advance.
type tape struct{ *bytes.Reader }

func (tape) Write(b []byte) (int, error)      { return len(b), nil }
func (tape) Close() error                     { return nil }
func (tape) LocalAddr() net.Addr              { return nil }
func (tape) RemoteAddr() net.Addr             { return nil }
func (tape) SetDeadline(time.Time) error      { return nil }
func (tape) SetReadDeadline(time.Time) error  { return nil }
func (tape) SetWriteDeadline(time.Time) error { return nil }

func FuzzServerBytes(f *testing.F) {
	f.Add([]byte(authOK+version+key+ready), false)
	f.Add([]byte(message('R', "\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00")+message('R', "\x00\x00\x00\x0br=x,s=AAAA,i=1")), true)
	f.Add([]byte(message('E', shuts)), false)
	f.Add([]byte(authOK+ready+message('D', "\x00\x04\x00\x00\x00\x011\x00\x00\x00\x01t\x00\x00\x00\x011\x00\x00\x00\x030/1")+ready), false)
	f.Fuzz(func(t *testing.T, in []byte, proof bool) {
		cred := backend.Credentials{User: "app"}
		if proof {
			cred.Keys = new(auth.Keys)
		}
		conn := tape{bytes.NewReader(in)}
		h, err := backend.LogIn(conn, cred, "app")
		if err != nil {
			return
		}
		_ = backend.Identify(context.Background(), h)
	})
}
