package handshake

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/auth"
)

// Authenticate checks who the client is, up to and including
// AuthenticationSASLFinal. AuthenticationOk is left to Welcome, so that a
// client which cannot be served yet is still told why as part of its login.
//
// The keys are nil for Trust and belong to the caller. After an error the
// caller ends conn with Refuse.
func Authenticate(ctx context.Context, conn net.Conn, startup *Startup, cfg Config) (*auth.Keys, error) {
	if cfg.Mode == Trust {
		return nil, nil
	}
	deadline := startup.deadline
	if deadline.IsZero() {
		deadline = cfg.deadline()
	}
	defer Guard(ctx, conn, deadline)()
	x := exchange{conn: conn, limit: cfg.maxAuth(), buf: make([]byte, 512)}
	asking := ctx
	if !deadline.IsZero() {
		var cancel context.CancelFunc
		asking, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	keys, err := x.scram(asking, startup.User, cfg)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
		err = refuse(sqlstate.QueryCanceled, "canceling authentication due to timeout").because(err)
	}
	if err != nil {
		return nil, cause(ctx, err)
	}
	return keys, nil
}

// An exchange is one SASL authentication on a socket.
type exchange struct {
	conn  net.Conn
	limit int
	buf   []byte // of what is read; holds the client's proof for a while
}

func (x *exchange) scram(ctx context.Context, user string, cfg Config) (*auth.Keys, error) {
	defer func() { clear(x.buf[:cap(x.buf)]) }()
	if err := x.send(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{auth.Mechanism}}); err != nil {
		return nil, err
	}
	server, err := x.server(ctx, user, cfg)
	if err != nil {
		return nil, err
	}

	msg, err := x.receive()
	if err != nil {
		return nil, err
	}
	first, given, err := parseInitial(msg)
	if err != nil {
		return nil, err
	}
	if !given { // RFC 4422: an empty challenge asks for what could have come at once
		if err = x.send(&pgproto3.AuthenticationSASLContinue{}); err != nil {
			return nil, err
		}
		if first, err = x.receive(); err != nil {
			return nil, err
		}
	}
	challenge, err := server.First(first)
	if err != nil {
		return nil, refuseMessage(err)
	}
	if err = x.send(&pgproto3.AuthenticationSASLContinue{Data: challenge}); err != nil {
		return nil, err
	}

	if msg, err = x.receive(); err != nil {
		return nil, err
	}
	outcome, keys, err := server.Final(msg)
	if errors.Is(err, auth.ErrProof) {
		cfg.Lookup.Forget(user)
		return nil, refuse(sqlstate.InvalidPassword, "password authentication failed for user \"%s\"", user)
	}
	if err != nil {
		return nil, refuseMessage(err)
	}
	if err = x.send(&pgproto3.AuthenticationSASLFinal{Data: outcome}); err != nil {
		keys.Zero()
		return nil, err
	}
	return keys, nil
}

// server looks up the user. One that cannot log in whatever it proves (unknown,
// no password, or one in another form than SCRAM) gets an exchange like any
// other.
func (x *exchange) server(ctx context.Context, user string, cfg Config) (*auth.Server, error) {
	secret, err := cfg.Lookup.Verifier(ctx, user)
	if err != nil {
		return nil, refuse(sqlstate.CannotConnectNow, "cannot look up the verifier of user \"%s\"", user).
			detail("No server that knows the users can be asked at the moment.").
			because(err)
	}
	verifier, err := auth.ParseVerifier(secret)
	if err != nil {
		//nolint:nilerr // no verifier is no error: the exchange itself refuses the user
		return auth.NewDoomedServer(cfg.Mock.Verifier(user)), nil
	}
	return auth.NewServer(verifier), nil
}

func (x *exchange) send(msg pgproto3.BackendMessage) error {
	b, err := msg.Encode(nil)
	if err != nil {
		return fmt.Errorf("encode %T: %w", msg, err)
	}
	if _, err = x.conn.Write(b); err != nil {
		return fmt.Errorf("send an authentication request: %w", err)
	}
	return nil
}

// receive reads one SASL message. It is valid until the next one is read.
func (x *exchange) receive() ([]byte, error) {
	typ, body, err := ReadMessage(x.conn, x.buf, x.limit)
	if err != nil {
		// io.EOF is nothing wrong: psql hangs up here to ask for a password.
		return nil, fmt.Errorf("read the client's SASL response: %w", err)
	}
	if typ != 'p' {
		return nil, protocolViolation("expected SASL response, got message type %d", typ)
	}
	return body, nil
}

// parseInitial parses a SASLInitialResponse: the mechanism, then the length
// and bytes of the response, or a length of -1 for none.
func parseInitial(msg []byte) (response []byte, given bool, err error) {
	i := bytes.IndexByte(msg, 0)
	if i < 0 {
		return nil, false, protocolViolation("invalid string in message")
	}
	if string(msg[:i]) != auth.Mechanism {
		return nil, false, protocolViolation("client selected an invalid SASL authentication mechanism")
	}
	msg = msg[i+1:]
	if len(msg) < 4 {
		return nil, false, protocolViolation("insufficient data left in message")
	}
	n := int64(int32(binary.BigEndian.Uint32(msg)))
	msg = msg[4:]
	switch {
	case n == -1:
		n = 0
	case n < 0 || n > int64(len(msg)):
		return nil, false, protocolViolation("insufficient data left in message")
	default:
		given = true
	}
	if n != int64(len(msg)) {
		return nil, false, protocolViolation("invalid message format")
	}
	return msg, given, nil
}

// refuseMessage tells the client what is wrong with its SCRAM message.
func refuseMessage(err error) error {
	m, ok := errors.AsType[*auth.MessageError](err)
	if !ok {
		return err
	}
	return refuse(m.Code, "%s", m.Message).detail(m.Detail)
}
