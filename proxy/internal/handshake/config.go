package handshake

import (
	"context"
	"net"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/auth"
)

// A Mode is how clients prove who they are.
type Mode uint8

const (
	// SCRAM checks the client against the verifier that the servers store.
	SCRAM Mode = iota
	// Trust believes every client.
	Trust
)

// Config says how logins are handled. One Config serves all of them; nothing
// here is changed.
type Config struct {
	// Timeout bounds a login from Accept to the end of Authenticate, like
	// authentication_timeout. 0 is 60 s, negative no bound but the context's.
	Timeout time.Duration
	// MaxStartup bounds a startup packet in bytes. 0 or negative is 10,000,
	// PostgreSQL's MAX_STARTUP_PACKET_LENGTH.
	MaxStartup int
	// MaxAuth bounds a message of the authentication. 0 or negative is 64 KiB.
	MaxAuth int

	// TLS takes over a connection whose client asked for TLS and was told
	// that it gets it, or whose client began TLS at once: then read is the
	// beginning of what it sent, and it must have named PostgreSQL's protocol
	// by ALPN. It must not keep what it reads beyond the handshake. nil tells
	// clients that there is no TLS. On Unix sockets there never is.
	TLS func(ctx context.Context, conn net.Conn, read []byte) (net.Conn, error)
	// RequireTLS refuses clients without TLS, but for those on Unix sockets
	// and for cancel requests.
	RequireTLS bool

	// Mode is how clients prove who they are. The zero value is SCRAM.
	Mode Mode
	// Lookup knows the verifiers. Only SCRAM needs it.
	Lookup auth.Lookup
	// Mock hides which users exist. Only SCRAM needs it; all connections of a
	// process share one.
	Mock *auth.Mock
}

func (c *Config) deadline() time.Time {
	switch {
	case c.Timeout == 0:
		return time.Now().Add(60 * time.Second)
	case c.Timeout < 0:
		return time.Time{}
	}
	return time.Now().Add(c.Timeout)
}

func (c *Config) maxStartup() int {
	if c.MaxStartup <= 0 {
		return 10_000
	}
	return c.MaxStartup
}

func (c *Config) maxAuth() int {
	if c.MaxAuth <= 0 {
		return 64 << 10
	}
	return c.MaxAuth
}
