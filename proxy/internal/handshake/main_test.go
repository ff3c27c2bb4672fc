package handshake_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/proxy/internal/auth"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
)

const (
	protocol30 = 3 << 16
	sslRequest = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	gssRequest = "\x00\x00\x00\x08\x04\xd2\x16\x30"
)

// packet is a startup packet as strings: name, value, name, value…
func packet(version uint32, pairs ...string) string {
	b := binary.BigEndian.AppendUint32(make([]byte, 4), version)
	for _, s := range pairs {
		b = append(append(b, s...), 0)
	}
	b = append(b, 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return string(b)
}

// raw is a packet with any body.
func raw(body string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))) + body
}

// connect returns both ends of a TCP connection.
func connect(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// A served is how one login ended on the server's side.
type served struct {
	outcome handshake.Outcome
	keys    *auth.Keys
	err     error
}

var (
	reported = []handshake.Param{{Name: "server_version", Value: "15.20"}, {Name: "client_encoding", Value: "UTF8"}, {Name: "standard_conforming_strings", Value: "on"}}
	mock     = auth.NewMock()
)

// serve does what the proxy does with an accepted connection. After a login it
// answers every query with its own text as the command tag.
func serve(ctx context.Context, conn net.Conn, cfg handshake.Config) (s served) {
	if s.outcome, s.err = handshake.Accept(ctx, conn, cfg); s.err == nil && s.outcome.Startup != nil {
		s.keys, s.err = handshake.Authenticate(ctx, s.outcome.Conn, s.outcome.Startup, cfg)
	}
	conn = s.outcome.Conn
	if s.err != nil {
		handshake.Refuse(conn, s.err)
		return s
	}
	defer conn.Close()
	if s.outcome.Cancel != nil {
		return s
	}
	secret := []byte("key4")
	if s.outcome.Startup.Minor == 2 {
		secret = []byte("a longer key of thirty-two bytes")
	}
	if s.err = handshake.Welcome(conn, reported, 4711, secret); s.err != nil {
		return s
	}
	for {
		typ, body, err := handshake.ReadMessage(conn, nil, 1<<20)
		if err != nil || typ != 'Q' {
			return s
		}
		answer, err := (&pgproto3.CommandComplete{CommandTag: body[:len(body)-1]}).Encode(nil)
		if err == nil {
			answer, err = (&pgproto3.ReadyForQuery{TxStatus: 'I'}).Encode(answer)
		}
		if err == nil {
			_, err = conn.Write(answer)
		}
		if err != nil {
			s.err = err
			return s
		}
	}
}

// converse sends bytes to a fresh login and returns all that is answered until
// the server hangs up or, if it does not, until it waits for more.
func converse(t testing.TB, cfg handshake.Config, bytes string) (answer string, s served) {
	t.Helper()
	client, server := connect(t)
	done := make(chan served, 1)
	go func() { done <- serve(t.Context(), server, cfg) }() // ends with the connection
	return say(t, client, bytes), <-done
}

// say sends bytes and the end of them, and returns all that is answered.
func say(t testing.TB, conn net.Conn, bytes string) string {
	t.Helper()
	if _, err := io.WriteString(conn, bytes); err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite() // the server may have been faster
	b, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("after %q: %v", b, err)
	}
	return string(b)
}

// parseError parses an answer that is one ErrorResponse.
func parseError(t testing.TB, answer string) *pgproto3.ErrorResponse {
	t.Helper()
	var e pgproto3.ErrorResponse
	if len(answer) < 5 || answer[0] != 'E' || int(binary.BigEndian.Uint32([]byte(answer[1:]))) != len(answer)-1 {
		t.Errorf("%q is not one ErrorResponse", answer)
		return &e
	}
	if err := e.Decode([]byte(answer[5:])); err != nil {
		t.Errorf("%q: %v", answer, err)
	}
	return &e
}
