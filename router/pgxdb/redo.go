package pgxdb

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/router"
)

// maxRedo bounds how often one read is run again. After that many times it
// goes to the primary, and if that fails it has failed.
const maxRedo = 3

// redoClass says what may be done about an error that came instead of an
// answer (I5).
type redoClass uint8

const (
	redoNever     redoClass = iota
	redoHere                // the same node answers when it is asked again
	redoElsewhere           // another node may do better
	redoPrimary             // not replayed yet: the primary knows
	redoMisjudged           // not a read after all
)

// redoKind sorts the errors of servers and of connections.
func redoKind(err error, broken bool) redoClass {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		if broken {
			return redoElsewhere
		}
		return redoNever
	}
	if pg.Routine == "RevalidateCachedQuery" {
		return redoHere // pgx has dropped the statement whose result changed
	}
	switch pg.Code {
	case sqlstate.SerializationFailure, sqlstate.DeadlockDetected, sqlstate.AdminShutdown, sqlstate.CrashShutdown,
		sqlstate.CannotConnectNow, sqlstate.DatabaseDropped, sqlstate.TooManyConnections, sqlstate.UndefinedFile:
		return redoElsewhere
	case sqlstate.UndefinedTable, sqlstate.UndefinedColumn, sqlstate.UndefinedFunction, sqlstate.InvalidSchemaName,
		sqlstate.UndefinedObject:
		return redoPrimary
	case sqlstate.ReadOnlySQLTransaction, sqlstate.FeatureNotSupported, sqlstate.ObjectNotInPrerequisiteState:
		return redoMisjudged
	case sqlstate.InternalError:
		if strings.Contains(pg.Message, "during recovery") {
			return redoMisjudged
		}
	}
	return redoNever
}

// notSent reports whether it is certain that nothing of what failed with err was
// sent. pgconn says so by SafeToRetry; but it says so too when it is waiting for
// an answer by the simple protocol and the connection ends, which it finds closed
// then.
func notSent(err error) bool {
	e, ok := errors.AsType[interface {
		error
		SafeToRetry() bool
	}](err)
	return ok && e.SafeToRetry() && e.Error() != "conn closed"
}

// again reports whether what failed with err may be tried once more, and
// prepares for that: acquire comes next. Nothing of an answer may have reached
// anyone. sql is the text that ran, for what is remembered of it; it may be
// empty.
func (l *lease) again(ctx context.Context, err error, sql string) bool {
	var re *router.RouteError
	if ctx.Err() != nil || errors.Is(err, errClosed) || errors.As(err, &re) {
		return false
	}
	if l.write {
		// A write is never run twice. This one was not sent at all.
		if l.conn == nil || l.retried || !notSent(err) || l.conn.Conn().PgConn().IsBusy() {
			return false
		}
		l.retried = true
		l.destroy(ctx)
		return true
	}
	node, role := l.decision.Node, l.decision.Role
	if node == nil || l.request.Only != nil || l.redone > maxRedo {
		return false
	}
	kind, broken := redoElsewhere, true // no connection came
	if l.conn != nil {
		// The driver may have met the end without having closed its side yet.
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if broken = ended || l.conn.Conn().IsClosed(); ended {
			_ = l.conn.Conn().Close(ctx) // nobody else gets it
		}
		kind = redoKind(err, broken)
		if broken {
			node.KickIdentify()
		}
	} else if !noConnection(err) && (role == router.RolePrimary || !refusesUser(err)) {
		return false // not even the primary would let the user in
	}
	switch kind {
	case redoNever:
		return false
	case redoHere:
	case redoElsewhere:
		if role == router.RolePrimary {
			// There is nowhere else to go. A server that is gone comes back, or
			// another one takes its place.
			if !broken || !l.mayWait(ctx) {
				return false
			}
			l.redone--
		}
		l.request.Exclude.Add(node)
	case redoPrimary:
		if role == router.RolePrimary {
			return false
		}
		l.request.Exclude = everyNode
	case redoMisjudged:
		if !l.misjudged(err, role, sql) {
			return false
		}
	}
	if l.redone++; l.redone >= maxRedo {
		l.request.Exclude = everyNode
	}
	l.db.stats.redone.Add(1)
	l.saw = false
	l.release()
	return true
}

// misjudged decides about what a replica, or a read-only connection, refuses
// to run, and reports whether it may run again.
func (l *lease) misjudged(err error, role router.Role, sql string) bool {
	if l.auto {
		l.write = true
		l.db.verdicts.misjudged(sql)
		return true
	}
	var pg *pgconn.PgError
	if role == router.RolePrimary || errors.As(err, &pg) && pg.Code == sqlstate.ReadOnlySQLTransaction {
		return false // the primary's read-only connections refuse it as well
	}
	l.request.Exclude = everyNode
	return true
}
