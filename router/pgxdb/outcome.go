package pgxdb

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// numberSQL asks for what has to be known of a transaction before its COMMIT.
const numberSQL = "SELECT pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text, pg_catalog.pg_current_wal_insert_lsn()"

// number asks for the transaction's number and position if it is to be found out
// what becomes of its COMMIT. The zero Commit means that nobody can.
func (t *tx) number(ctx context.Context) (k router.Commit) {
	l := t.k.lease
	if !l.db.cfg.ResolveCommits || !l.write || t.savepoint || l.conn.Conn().PgConn().TxStatus() != 'T' {
		return k
	}
	// If this fails, so does the COMMIT.
	results, err := l.conn.Conn().PgConn().Exec(ctx, numberSQL).ReadAll()
	if err != nil || len(results) != 1 || len(results[0].Rows) != 1 {
		return k
	}
	row := results[0].Rows[0]
	if len(row) != 2 || row[0] == nil {
		return k // it has none, as it has written nothing
	}
	xid, err := strconv.ParseUint(string(row[0]), 10, 64)
	if err != nil {
		return k
	}
	at, err := lsn.Parse(string(row[1]))
	if err != nil {
		return k
	}
	k = router.Commit{Era: l.era, XID: xid, Position: at}
	if s := stampOf(l.conn.Conn().PgConn()); s != nil {
		k.Dialed = s.dialed
	}
	return k
}

// outcome is what Commit returns when the answer to k was lost by err.
func (l *lease) outcome(ctx context.Context, k *router.Commit, err error) error {
	v := router.Verdict{Outcome: router.OutcomeNotAsked}
	if k.XID != 0 {
		l.setDeadline(ctx)
		limit, cancel := context.WithDeadline(ctx, l.deadline)
		defer cancel()
		v = l.db.router.Resolve(limit, *k)
	}
	l.chain.Resolved(k, &v)
	switch v.Outcome {
	case router.OutcomeCommitted:
		l.wrote() // by a ticket that the primary of now answers
		return nil
	case router.OutcomeAborted:
		return &serverError{cause: err, pg: pgconn.PgError{Severity: "ERROR", Code: sqlstate.SerializationFailure,
			Message: "the transaction was rolled back: the connection to the server was lost before its COMMIT took effect",
			Detail:  err.Error(), Hint: "Nothing of it was committed. Run it again."}}
	}
	return commitError(err)
}
