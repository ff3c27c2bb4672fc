package backend_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pgroute/pgroute/proxy/internal/backend"
)

// secured is a Security in that mode.
func secured(t *testing.T, mode backend.SSLMode) *backend.Security {
	t.Helper()
	s := backend.NewSecurity(slog.New(slog.DiscardHandler))
	apply, err := s.Load(backend.SecurityFiles{Mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	apply()
	return s
}

// A server that answers a request for TLS with anything but TLS is not spoken
// to any further, and nothing that it says in the clear is believed.
func TestServersThatDoNotSpeakTLS(t *testing.T) {
	tests := []struct {
		why, answer string
		mode        backend.SSLMode
		want        string
		security    bool // it is a *SecurityError
		attempts    int32
	}{
		{"none", "N", backend.SSLRequire, "the server does not speak TLS", true, 1},
		{"an error", "E\x00\x00\x00\x19SFATAL\x00C53300\x00Mliar\x00\x00", backend.SSLRequire, `answers the request for TLS with "E"`, true, 1},
		{"something else", "HTTP/1.1 400", backend.SSLRequire, `with "H"`, true, 1},
		{"an error, and prefer", "E\x00\x00\x00\x19SFATAL\x00C53300\x00Mliar\x00\x00", backend.SSLPrefer, "in the clear", true, 2},
		{"bytes in the clear after its consent", "SR\x00\x00\x00\x08\x00\x00\x00\x00", backend.SSLRequire, "does not look like a TLS handshake", true, 1},
		{"a hang-up", "", backend.SSLRequire, "EOF", false, 1},
		{"a hang-up after its consent", "S", backend.SSLRequire, "TLS handshake: EOF", false, 1},
		{"a hang-up, and prefer", "S", backend.SSLPrefer, "TLS handshake: EOF", false, 1},
	}
	for _, x := range tests {
		t.Run(x.why, func(t *testing.T) {
			var attempts atomic.Int32
			target := server(t, func(conn net.Conn) {
				attempts.Add(1)
				if _, err := io.ReadFull(conn, make([]byte, 8)); err != nil {
					return
				}
				io.WriteString(conn, x.answer)
				conn.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, conn)
			})
			target.Security = secured(t, x.mode)
			_, err := backend.Dial(t.Context(), target, backend.Credentials{User: "app"}, "app", nil)
			if err == nil || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "liar") && x.mode != backend.SSLPrefer {
				t.Errorf("got %v, want %q", err, x.want)
			}
			se, ok := errors.AsType[*backend.SecurityError](err)
			if ok != x.security || ok && se.SQLState() != "08001" {
				t.Errorf("%v: a *SecurityError %v, want %v", err, ok, x.security)
			}
			if n := attempts.Load(); n != x.attempts {
				t.Errorf("%d attempts, want %d", n, x.attempts)
			}
		})
	}
}

// A Security without a mode speaks in the clear, as does every Unix socket.
func TestInTheClear(t *testing.T) {
	first := make(chan string, 1)
	target := server(t, func(conn net.Conn) {
		b := make([]byte, 8)
		io.ReadFull(conn, b)
		first <- string(b[4:])
	})
	target.Security = backend.NewSecurity(slog.New(slog.DiscardHandler))
	backend.Dial(t.Context(), target, backend.Credentials{User: "app"}, "app", nil)
	if got := <-first; got != "\x00\x03\x00\x00" {
		t.Errorf("it begins with %q", got)
	}
	dir := t.TempDir()
	l, err := net.Listen("unix", dir+"/.s.PGSQL.5432")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with the connection
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b := make([]byte, 8)
		io.ReadFull(conn, b)
		first <- string(b[4:])
	}()
	backend.Dial(t.Context(), backend.Target{Host: dir, Port: 5432, Security: secured(t, backend.SSLRequire)}, backend.Credentials{User: "app"}, "app", nil)
	if got := <-first; got != "\x00\x03\x00\x00" {
		t.Errorf("on a Unix socket it begins with %q", got)
	}
}
