package pgxdb

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/router"
)

// LostWriteError says that a write of the session which was acknowledged is
// lost, or may be: the primary has changed, or crashed, and its history ends
// before the write, or about there. It is about an earlier statement or
// transaction. The call that returns it has not sent anything, and may be made
// again, which does not bring the write back. errors.As finds a *pgconn.PgError
// in it as well.
type LostWriteError struct {
	// Fate is router.FateLost or router.FateMaybeLost.
	Fate router.Fate
}

// Error says which of the two it is.
func (e *LostWriteError) Error() string { return e.pg().Message + ": " + e.pg().Detail }

// SQLState returns PR002 for a write that is lost, PR003 for one that may be.
func (e *LostWriteError) SQLState() string { return e.pg().Code }

// SafeToRetry returns true: nothing was sent; see pgconn.SafeToRetry.
func (e *LostWriteError) SafeToRetry() bool { return true }

// Unwrap returns it as a *pgconn.PgError.
func (e *LostWriteError) Unwrap() error { return e.pg() }

func (e *LostWriteError) pg() *pgconn.PgError {
	if e.Fate == router.FateLost {
		return &pgconn.PgError{Severity: "ERROR", Code: sqlstate.WriteLost,
			Message: "a write of this session that was acknowledged is lost",
			Detail:  "The primary has changed, and the new one's history ends before the write.", Hint: lostHint}
	}
	return &pgconn.PgError{Severity: "ERROR", Code: sqlstate.WriteMayBeLost,
		Message: "a write of this session that was acknowledged may be lost",
		Detail:  "The primary has changed, and the new one's history ends about where the write was.", Hint: lostHint}
}

const lostHint = "Read the data back, and write again what is missing."

// writer is the session that what runs on l is written for.
func (l *lease) writer() *router.Session {
	if l.session != nil {
		return l.session
	}
	return l.db.session
}

// tellFate tells, once, what a change of the primary has done to what the
// session has written. It is called when it is known which primary there is now,
// and before a connection is taken.
func (l *lease) tellFate(ctx context.Context) error {
	f := l.writer().Fate()
	if f == router.FateKept {
		return nil
	}
	lost := &LostWriteError{Fate: f}
	if tell := l.db.cfg.OnLostWrite; tell != nil {
		return tell(ctx, lost)
	}
	l.db.cfg.Logger.Warn("pgxdb: "+lost.Error(), "sqlstate", lost.SQLState())
	return nil
}

// sends notes that something that may write is about to be sent.
func (l *lease) sends() {
	if l.write {
		l.chain.Writing(l.era, l.dialed)
	}
}

// acknowledged notes that what was sent has succeeded and is committed, after
// wrote and before anybody can see it. sure says that it changed something for
// certain.
func (l *lease) acknowledged(sure bool) {
	if l.write && l.chain != nil {
		l.writer().Acknowledged(l.chain, sure)
	}
}

// idle is what PgConn.TxStatus returns outside of a transaction.
const idle = 'I'

// changes says whether it is certain that something was changed, after a
// statement with this tag in a transaction that had changed something before or
// not.
func changes(tag pgconn.CommandTag, before bool) bool {
	switch {
	case tag.String() == "ROLLBACK":
		return false // perhaps to a savepoint only
	case tag.Insert() || tag.Update() || tag.Delete() || len(tag.String()) > 5 && tag.String()[:5] == "MERGE":
		return before || tag.RowsAffected() > 0
	}
	return before
}
