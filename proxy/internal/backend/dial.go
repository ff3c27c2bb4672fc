package backend

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/proxy/internal/auth"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
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
	// Replay is how far a server in recovery had replayed, 0 if it did not
	// know, and for a primary.
	Replay lsn.LSN
}

// Dial opens a connection to a server and logs in. params are settings for the
// startup packet, in order; their names must not be Reserved.
//
// The error wraps a *ServerError if the server refused, the cause of ctx if
// that ended first, and otherwise what the network or the protocol said. It
// never holds a secret.
func Dial(ctx context.Context, t Target, cred Credentials, database string, params []handshake.Param) (*Hello, error) {
	packet, err := startupPacket(cred.User, database, params)
	if err != nil {
		return nil, fmt.Errorf("log in to %s: %w", t, err)
	}
	conn, err := connect(ctx, t)
	if err != nil {
		return nil, err
	}
	release := handshake.Guard(ctx, conn, time.Time{})
	l := login{conn: conn, cred: cred, hello: &Hello{Conn: conn}}
	err = l.run(packet)
	release()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("log in to %s: %w", t, err)
	}
	return l.hello, nil
}

// connect opens the socket. Go switches Nagle's algorithm off by itself.
func connect(ctx context.Context, t Target) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable:   true,
		Idle:     30 * time.Second,
		Interval: 10 * time.Second,
		Count:    3,
	}}
	network, address := t.address()
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("dial %s: %w", t, err)
	}
	return conn, nil
}

// startupPacket is pgproto3's StartupMessage with the settings in their order.
func startupPacket(user, database string, params []handshake.Param) ([]byte, error) {
	b := binary.BigEndian.AppendUint32(make([]byte, 4, 256), protocol30)
	add := func(name, value string) error {
		if strings.IndexByte(name, 0) >= 0 || strings.IndexByte(value, 0) >= 0 {
			return fmt.Errorf("startup parameter %q holds a zero byte", name)
		}
		b = append(append(append(append(b, name...), 0), value...), 0)
		return nil
	}
	if user == "" {
		return nil, errors.New("no user name")
	}
	err := add("user", user)
	if err == nil {
		err = add("database", database)
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
