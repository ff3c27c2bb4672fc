package pgxdb

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/router"
)

// errClosed is what a DB says after Close.
var errClosed = errors.New("pgxdb: the DB is closed")

// errGone says that a server has left the cluster while somebody looked.
var errGone = errors.New("the server has left the cluster")

// serverError is an error of this package in the shape in which a server's
// errors come: errors.As finds a *pgconn.PgError in it, and what caused it.
type serverError struct {
	pg    pgconn.PgError
	cause error
}

// Error returns what a *pgconn.PgError returns, and the detail.
func (e *serverError) Error() string {
	if e.pg.Detail == "" {
		return e.pg.Error()
	}
	return e.pg.Error() + ": " + e.pg.Detail
}

// Unwrap returns the *pgconn.PgError, and the cause if there is one.
func (e *serverError) Unwrap() []error {
	if e.cause == nil {
		return []error{&e.pg}
	}
	return []error{&e.pg, e.cause}
}

// SQLState returns the SQLSTATE.
func (e *serverError) SQLState() string { return e.pg.Code }

// routeError turns a router's refusal into what a server would have said.
func routeError(re *router.RouteError, cause error) error {
	e := &serverError{pg: pgconn.PgError{Severity: "ERROR", Code: re.Code, Message: re.Message, Detail: re.Detail}, cause: cause}
	switch re.Code {
	case sqlstate.CannotConnectNow:
		e.pg.Hint = "A failover may be under way; try again in a moment."
	case sqlstate.FloorNotReached:
		e.pg.Hint = "A longer wait, or the policy primary or stale, would let the read run."
	case sqlstate.SerializationFailure:
		e.pg.Hint = "Run the transaction again."
	}
	return e
}

// explain returns err as the caller of the package gets it.
func (l *lease) explain(err error) error {
	var re *router.RouteError
	if errors.As(err, &re) {
		return routeError(re, err)
	}
	var pg *pgconn.PgError
	if !l.write && errors.As(err, &pg) && pg.Code == sqlstate.ReadOnlySQLTransaction && pg.Hint == "" {
		hinted := *pg
		hinted.Hint = "What runs by Read may not write: use Write or Auto, or a transaction without the access mode read only."
		return fmt.Errorf("a read may not write (use Write or Auto): %w", &hinted)
	}
	return err
}

// commitError says that a COMMIT was sent and its outcome is not known.
func commitError(err error) error {
	return &serverError{cause: err, pg: pgconn.PgError{Severity: "ERROR", Code: sqlstate.TransactionResolutionUnknown,
		Message: "the connection was lost while the transaction was committed; whether it was is not known", Detail: err.Error()}}
}
