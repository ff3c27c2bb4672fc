package handshake

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/internal/sqlstate"
)

// Request codes that stand where a startup packet has its version (pqcomm.h).
const (
	cancelCode = 1234<<16 | 5678
	sslCode    = 1234<<16 | 5679
	gssCode    = 1234<<16 | 5680
)

const (
	// major is the only protocol version that is alive.
	major = 3
	// newestMinor is 3.2 of PostgreSQL 18. It differs from 3.0 in the length
	// of cancel keys; 3.1 was never released.
	newestMinor = 2

	// Lengths of cancel keys; under 3.0 it is always the shorter one.
	minCancelKey = 4
	maxCancelKey = 256
)

// An Outcome is what a connection turned out to want: a session, or the
// cancellation of another one.
type Outcome struct {
	// Conn is the connection to go on with, also after an error: the accepted
	// one, or what Config.TLS made of it.
	Conn net.Conn
	// Startup is nil for a cancellation.
	Startup *Startup
	// Cancel is nil for a session. The client expects no answer, only the end
	// of the connection, and not before the cancellation was sent.
	Cancel *Cancel
}

// A Cancel names a session by the key that it was given.
type Cancel struct {
	PID    uint32
	Secret []byte // 4 to 256 bytes
}

// Accept reads the first packets of a client, until it has said what it wants.
//
// After an error the caller still owns Outcome.Conn and ends it with Refuse. The error
// is a *Refusal if the client is to be told, io.EOF itself if the client hung
// up without sending anything (health checks do), and anything else where
// PostgreSQL also hangs up without a word.
func Accept(ctx context.Context, conn net.Conn, cfg Config) (Outcome, error) {
	deadline := cfg.deadline()
	release := Guard(ctx, conn, deadline)
	defer func() { release() }()

	if a := conn.LocalAddr(); a != nil && a.Network() == "unix" {
		cfg.TLS, cfg.RequireTLS = nil, false
	}
	secure := func(read []byte) error {
		secured, err := cfg.TLS(ctx, conn, read)
		if err != nil {
			return fmt.Errorf("TLS handshake: %w", cause(ctx, err))
		}
		release()
		conn, release = secured, Guard(ctx, secured, deadline)
		cfg.TLS, cfg.RequireTLS = nil, false // encrypted once is enough
		return nil
	}
	// A client may ask for TLS and for GSSAPI, once each, in either order.
	var askedTLS, askedGSS bool
	for first := true; ; first = false {
		packet, err := readStartup(conn, cfg.maxStartup())
		if begun, ok := errors.AsType[*directTLS](err); ok && first && cfg.TLS != nil {
			if err = secure(begun.read); err != nil {
				return Outcome{Conn: conn}, err
			}
			continue
		}
		if err != nil {
			if askedTLS || askedGSS || !errors.Is(err, io.EOF) {
				err = fmt.Errorf("read the startup packet: %w", cause(ctx, err))
			}
			return Outcome{Conn: conn}, err
		}
		code := binary.BigEndian.Uint32(packet)
		switch {
		case code == cancelCode:
			c, err := parseCancel(packet)
			return Outcome{Conn: conn, Cancel: c}, err
		case code == sslCode && !askedTLS && len(packet) == 4:
			askedTLS = true
			if cfg.TLS == nil {
				err = answer(conn, 'N')
				break
			}
			if unasked(conn) {
				return Outcome{Conn: conn}, protocolViolation("received unencrypted data after SSL request").
					detail("This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.")
			}
			if err = answer(conn, 'S'); err != nil {
				break
			}
			askedGSS = true
			if err = secure(nil); err != nil {
				return Outcome{Conn: conn}, err
			}
		case code == gssCode && !askedGSS && len(packet) == 4:
			askedGSS = true
			err = answer(conn, 'N')
		case cfg.RequireTLS && code>>16 == major:
			return Outcome{Conn: conn}, refuse(sqlstate.InvalidAuthorization, "pgroute accepts encrypted connections only").
				hint("Connect with sslmode=require, or with verify-full and the root certificate of the one that pgroute shows.")
		default:
			s, err := startup(conn, packet, deadline)
			if err != nil {
				return Outcome{Conn: conn}, cause(ctx, err)
			}
			return Outcome{Conn: conn, Startup: s}, nil
		}
		if err != nil {
			return Outcome{Conn: conn}, fmt.Errorf("answer an encryption request: %w", cause(ctx, err))
		}
	}
}

// readStartup reads one packet without a type, which is how every connection
// begins: its length, then at least a version or request code.
func readStartup(conn net.Conn, limit int) ([]byte, error) {
	buf := make([]byte, 512)
	if _, err := io.ReadFull(conn, buf[:4]); err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(buf)) - 4
	if buf[0] == 0x16 && buf[1] == 3 {
		return nil, &directTLS{buf[:4]}
	}
	if n < 4 || n > int64(limit) {
		return nil, fmt.Errorf("invalid length of startup packet%s", guess(buf[:4]))
	}
	return readBody(conn, buf, int(n))
}

// directTLS is the beginning of a TLS handshake where a packet should be.
type directTLS struct{ read []byte }

func (*directTLS) Error() string {
	return "invalid length of startup packet (a TLS handshake without asking first)"
}

// guess tells the log what speaks there instead of PostgreSQL's protocol.
func guess(b []byte) string {
	switch s := string(b); {
	case s == "GET " || s == "POST" || s == "HEAD" || s == "PRI " || s == "OPTI" || s == "CONN":
		return " (an HTTP request)"
	case s == "SSH-":
		return " (an SSH client)"
	}
	return ""
}

func answer(conn net.Conn, b byte) error {
	_, err := conn.Write([]byte{b})
	return err
}

func parseCancel(packet []byte) (*Cancel, error) {
	key := len(packet) - 8
	if key < minCancelKey || key > maxCancelKey {
		return nil, errors.New("invalid length of cancel request packet")
	}
	return &Cancel{
		PID:    binary.BigEndian.Uint32(packet[4:]),
		Secret: append([]byte(nil), packet[8:]...),
	}, nil
}

// startup checks the version, parses the packet and tells the client what of
// its wishes we do not know (ProcessStartupPacket).
func startup(conn net.Conn, packet []byte, deadline time.Time) (*Startup, error) {
	version := binary.BigEndian.Uint32(packet)
	if version>>16 != major {
		r := refuse(sqlstate.FeatureNotSupported,
			"unsupported frontend protocol %d.%d: server supports %d.0 to %d.%d",
			version>>16, version&0xffff, major, major, newestMinor)
		r.legacy = version>>16 < major
		return nil, r
	}
	s, unknown, err := parseStartup(packet[4:])
	if err != nil {
		return nil, err
	}
	asked := int(version & 0xffff)
	s.Minor = min(asked, newestMinor)
	if s.Minor == 1 {
		s.Minor = 0
	}
	s.deadline = deadline
	if s.Minor != asked || len(unknown) > 0 {
		msg, err := (&pgproto3.NegotiateProtocolVersion{
			// The name misleads: the field holds the whole version.
			NewestMinorProtocol: major<<16 | uint32(s.Minor),
			UnrecognizedOptions: unknown,
		}).Encode(nil)
		if err != nil {
			return nil, fmt.Errorf("encode the protocol version: %w", err)
		}
		if _, err = conn.Write(msg); err != nil {
			return nil, fmt.Errorf("negotiate the protocol version: %w", err)
		}
	}
	if err := s.complete(); err != nil {
		return nil, err
	}
	return s, nil
}

// cause replaces the deadline that Guard set by the reason why it did.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		if _, ok := errors.AsType[*Refusal](err); !ok {
			return context.Cause(ctx)
		}
	}
	return err
}
