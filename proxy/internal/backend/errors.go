package backend

import (
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/internal/sqlstate"
)

// A ServerError is an error that a server answered before it served anything:
// while it was being dialled, or to Identify.
type ServerError struct {
	*pgproto3.ErrorResponse
}

func (e *ServerError) Error() string {
	s := e.Severity + ": " + e.Message + " (SQLSTATE " + e.Code + ")"
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// SQLState returns the code of the error.
func (e *ServerError) SQLState() string { return e.Code }

// A SecurityError says that TLS with a server did not come about.
type SecurityError struct{ Err error }

func (e *SecurityError) Error() string { return "TLS: " + strings.TrimPrefix(e.Err.Error(), "tls: ") }

// Unwrap returns Err.
func (e *SecurityError) Unwrap() error { return e.Err }

// SQLState returns what a client is told: the connection could not be made.
func (e *SecurityError) SQLState() string { return sqlstate.SQLClientUnableToEstablish }

// Elsewhere reports whether another server may accept what this one refused,
// or this one later: because it starts, stops or is full, or, for a replica,
// because it has not replayed yet what the refusal is about (a role, its
// password, a database, a setting). Nothing but the primary can say that a
// password is wrong.
func (e *ServerError) Elsewhere(replica bool) bool {
	if e.transient() {
		return true
	}
	return replica && e.Code != sqlstate.ProtocolViolation
}

// transient is true for errors about the server's state, not about what was
// asked.
func (e *ServerError) transient() bool {
	switch {
	case strings.HasPrefix(e.Code, "53"), // no connections, memory, disk
		strings.HasPrefix(e.Code, "58"), // trouble below the server
		e.Code == sqlstate.AdminShutdown,
		e.Code == sqlstate.CrashShutdown,
		e.Code == sqlstate.CannotConnectNow:
		return true
	}
	return false
}

// Crowded reports whether the server refused because as many connections as
// the role or the database may have are there (miscinit.c, postinit.c): others
// get in. Messages are translated, the names of functions are not.
func (e *ServerError) Crowded() bool {
	return e.Code == sqlstate.TooManyConnections && (e.Routine == "InitializeSessionUserId" || e.Routine == "CheckMyDatabase")
}

// BadLogin reports whether the server refused who we are: the keys are those
// of an older or newer password than the server's.
func (e *ServerError) BadLogin() bool { return strings.HasPrefix(e.Code, "28") }
