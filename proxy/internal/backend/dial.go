package backend

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/pgroute/pgroute/internal/silence"
	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/proxy/internal/auth"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
	"github.com/pgroute/pgroute/proxy/internal/tlsconn"
)

const protocol30 = 3 << 16

// Credentials say who logs in. Without keys and password only a server that
// trusts us lets us in.
type Credentials struct {
	User string
	// Keys are a client's, from its own login; Dial only reads them.
	Keys *auth.Keys
	// Password is used if Keys is nil. It must be ASCII.
	Password string
	// Replication is what the startup packet asks for under that name: nothing,
	// true, or database.
	Replication string
}

// A Hello is a server connection that is ready for its first query. Its
// fields belong to whoever called Dial.
type Hello struct {
	// Conn has no deadline, and nothing was read from it beyond what is here:
	// its descriptor can be handed over.
	Conn net.Conn
	// PID and Secret name the session in a Cancel.
	PID    uint32
	Secret []byte
	// Params is what the server reported about its settings, in its order.
	Params []handshake.Param
	// Minor is the protocol version 3.Minor, always 0 at present.
	Minor int

	// What follows is known after Identify.

	SystemID   uint64
	InRecovery bool
	// PostmasterStart is in microseconds since the Unix epoch. It survives a
	// crash restart: only the incarnation tells that.
	PostmasterStart int64
	// Captures is known after MayCapture.
	Captures bool
	// Replay is how far a server in recovery had replayed, 0 if it did not
	// know, and for a primary.
	Replay lsn.LSN
}

// Dial opens a connection to a server and logs in. params are settings for the
// startup packet, in order; their names must not be Reserved.
//
// The error wraps a *ServerError if the server refused, a *SecurityError if
// TLS did not come about as t wants it, the cause of ctx if
// that ended first, and otherwise what the network or the protocol said. It
// never holds a secret.
func Dial(ctx context.Context, t Target, cred Credentials, database string, params []handshake.Param) (*Hello, error) {
	packet, err := startupPacket(cred, database, params)
	if err != nil {
		return nil, fmt.Errorf("log in to %s: %w", t, err)
	}
	var h *Hello
	err = t.try(ctx, "log in to", func(conn net.Conn) error {
		l := login{conn: conn, cred: cred, hello: &Hello{Conn: conn}}
		h = l.hello
		return l.run(packet)
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

// try connects to t and calls talk, which has to be quick about it; what names
// that in errors. If the server does not want to be spoken to in the way of the
// first attempt, there may be another. The connection is closed after an error
// only.
func (t Target) try(ctx context.Context, what string, talk func(net.Conn) error) error {
	var before error
	list := t.attempts()
	for i, a := range list {
		err := t.once(ctx, what, a, talk)
		if err != nil && i+1 < len(list) && unwelcome(err) && ctx.Err() == nil {
			before = err
			continue
		}
		switch {
		case err == nil || before == nil:
			return err
		case errors.As(before, new(*SecurityError)):
			return fmt.Errorf("%w; in the clear: %w", before, err)
		}
		return before
	}
	return nil
}

// once is one attempt of try.
func (t Target) once(ctx context.Context, what string, a attempt, talk func(net.Conn) error) error {
	socket, err := connect(ctx, t)
	if err != nil {
		return err
	}
	conn := socket
	release := handshake.Guard(ctx, socket, time.Time{})
	if a.tls != nil {
		conn, err = secure(socket, a)
	}
	if err == nil {
		err = talk(conn)
	}
	release()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		return nil
	}
	_ = socket.Close()
	if errors.As(err, new(*SecurityError)) {
		t.note(err)
	}
	return fmt.Errorf("%s %s: %w", what, t, err)
}

// unwelcome reports whether a server may be content with TLS instead of none,
// or the other way round.
func unwelcome(err error) bool {
	var se *ServerError
	if errors.As(err, &se) {
		return se.Code == sqlstate.InvalidAuthorization // pg_hba.conf has no line for it
	}
	return errors.As(err, new(*SecurityError))
}

// sslRequest asks a server for TLS.
var sslRequest = []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}

// secure begins TLS on conn, and returns conn itself if the server has no TLS
// and that is enough.
func secure(conn net.Conn, a attempt) (net.Conn, error) {
	if _, err := conn.Write(sslRequest); err != nil {
		return conn, fmt.Errorf("ask for TLS: %w", err)
	}
	// One byte and no more: what follows it in the clear is not from the
	// server (CVE-2021-23222), and no TLS either.
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return conn, fmt.Errorf("read the answer to a request for TLS: %w", err)
	}
	switch {
	case answer[0] == 'S':
	case answer[0] == 'N' && a.optional:
		return conn, nil
	case answer[0] == 'N':
		return conn, &SecurityError{errors.New("the server does not speak TLS")}
	default: // an error, which nobody vouches for
		return conn, &SecurityError{fmt.Errorf("the server answers the request for TLS with %q", answer)}
	}
	c := tlsconn.Client(conn, a.tls)
	if err := c.Handshake(); err != nil {
		if cut(err) {
			return conn, fmt.Errorf("TLS handshake: %w", err)
		}
		return conn, &SecurityError{err}
	}
	return c, nil
}

// cut reports whether the network ended a handshake, not TLS.
func cut(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op == "read" || op.Op == "write" // others are alerts
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// connect opens the socket. Go switches Nagle's algorithm off by itself.
func connect(ctx context.Context, t Target) (net.Conn, error) {
	network, address := t.address()
	conn, err := silence.Dialer().DialContext(ctx, network, address)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("dial %s: %w", t, err)
	}
	return conn, nil
}

// startupPacket is pgproto3's StartupMessage with the settings in their order.
func startupPacket(cred Credentials, database string, params []handshake.Param) ([]byte, error) {
	b := binary.BigEndian.AppendUint32(make([]byte, 4, 256), protocol30)
	add := func(name, value string) error {
		if strings.IndexByte(name, 0) >= 0 || strings.IndexByte(value, 0) >= 0 {
			return fmt.Errorf("startup parameter %q holds a zero byte", name)
		}
		b = append(append(append(append(b, name...), 0), value...), 0)
		return nil
	}
	if cred.User == "" {
		return nil, errors.New("no user name")
	}
	err := add("user", cred.User)
	if err == nil {
		err = add("database", database)
	}
	if err == nil && cred.Replication != "" {
		err = add("replication", cred.Replication)
	}
	for _, p := range params {
		if handshake.Reserved(p.Name) {
			err = fmt.Errorf("startup parameter %q is not a setting", p.Name)
		}
		if err == nil {
			err = add(p.Name, p.Value)
		}
	}
	if err != nil {
		return nil, err
	}
	b = append(b, 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b, nil
}
