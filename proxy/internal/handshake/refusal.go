package handshake

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/internal/sqlstate"
)

const (
	// linger is how long a refused client may take to read why and hang up.
	linger = time.Second
	// lingerBytes is how much it may still send meanwhile.
	lingerBytes = 64 << 10
)

// A Refusal is a login that fails with an error which the client is told.
type Refusal struct {
	// Response is what the client is told.
	Response *pgproto3.ErrorResponse
	// Err is what only the log may say. It can be nil.
	Err error

	// legacy is for clients that speak protocol 2.0 or older.
	legacy bool
}

func (r *Refusal) Error() string {
	switch {
	case r.Err != nil:
		return r.Response.Message + ": " + r.Err.Error()
	case r.Response.Detail != "":
		return r.Response.Message + ": " + r.Response.Detail
	}
	return r.Response.Message
}

// Unwrap returns Err.
func (r *Refusal) Unwrap() error { return r.Err }

// SQLState returns the code that the client is told.
func (r *Refusal) SQLState() string { return r.Response.Code }

func refuse(code, format string, args ...any) *Refusal {
	return &Refusal{Response: &pgproto3.ErrorResponse{
		Severity:            "FATAL",
		SeverityUnlocalized: "FATAL",
		Code:                code,
		Message:             fmt.Sprintf(format, args...),
	}}
}

func (r *Refusal) detail(s string) *Refusal { r.Response.Detail = s; return r }

func (r *Refusal) hint(s string) *Refusal { r.Response.Hint = s; return r }

func (r *Refusal) because(err error) *Refusal { r.Err = err; return r }

func protocolViolation(format string, args ...any) *Refusal {
	return refuse(sqlstate.ProtocolViolation, format, args...)
}

// Refuse ends a login that Accept or Authenticate gave up with err: the client
// is told if err is a Refusal. It closes conn and may take a second, for the
// client to read it.
func Refuse(conn net.Conn, err error) {
	r, ok := errors.AsType[*Refusal](err)
	switch {
	case !ok:
		_ = conn.Close()
	case r.legacy:
		// send_message_to_frontend, as it was until protocol 2.0 was dropped.
		farewell(conn, []byte("EFATAL:  "+r.Response.Message+"\n\x00"))
	default:
		_ = Fatal(conn, r.Response)
	}
}

// Fatal sends an error to a client and closes conn so that the client sees it:
// closing at once would make the kernel answer unread bytes with a reset,
// which can overtake the error. It may take a second. Missing severities are
// filled with FATAL.
func Fatal(conn net.Conn, response *pgproto3.ErrorResponse) error {
	filled := *response
	if filled.Severity == "" {
		filled.Severity = "FATAL"
	}
	if filled.SeverityUnlocalized == "" {
		filled.SeverityUnlocalized = filled.Severity
	}
	msg, err := filled.Encode(nil)
	if err != nil {
		_ = conn.Close()
		return fmt.Errorf("encode an error for the client: %w", err)
	}
	return farewell(conn, msg)
}

// farewell writes msg, says that no more comes, and waits a moment for the
// peer to hang up.
func farewell(conn net.Conn, msg []byte) error {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(linger))
	if _, err := conn.Write(msg); err != nil {
		return fmt.Errorf("send an error to the client: %w", err)
	}
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return nil
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, lingerBytes))
	return nil
}
