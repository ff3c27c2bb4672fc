package pgxdb

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/router"
)

// Begin starts a transaction. By Read it is read only.
func (q Queries) Begin(ctx context.Context) (pgx.Tx, error) {
	return q.BeginTx(ctx, pgx.TxOptions{})
}

// BeginTx starts a transaction. One with the access mode read only runs on a
// replica, unless it is serializable or the Queries is a Write. As with
// pgxpool, ctx concerns the beginning only, and Commit or Rollback must be
// called.
func (q Queries) BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error) {
	w := want{policy: q.policy, trace: q.trace}
	switch {
	case q.verb == verbRead && (options.AccessMode == pgx.ReadWrite || options.BeginQuery != ""):
		return nil, errors.New("pgxdb: a transaction by Read is read only; it takes neither another access mode nor a query of its own to begin")
	case q.verb == verbRead:
		options.AccessMode = pgx.ReadOnly
	case q.verb == verbWrite, options.AccessMode != pgx.ReadOnly, options.BeginQuery != "":
		w.write = true
	}
	// A replica refuses serializable transactions.
	w.onPrimary = !w.write && options.IsoLevel == pgx.Serializable
	l := q.db.newLease(ctx, &w)
	for {
		err := l.acquire(ctx)
		if err == nil {
			var t pgx.Tx
			if t, err = l.conn.Conn().BeginTx(ctx, options); err == nil {
				l.tell()
				return newTx(l, t, options, false), nil
			}
		}
		if !l.again(ctx, err, "") {
			// BEGIN alone writes nothing.
			return nil, l.done(err)
		}
	}
}

// newTx wraps a transaction that has begun on l's connection. held is true if
// the lease goes on after it.
func newTx(l *lease, t pgx.Tx, options pgx.TxOptions, held bool) *tx {
	k := &transaction{lease: l, held: held}
	// A statement of a READ COMMITTED transaction takes a new snapshot, which
	// must cover what the session has written in the meantime. At REPEATABLE
	// READ the one snapshot was checked for before BEGIN.
	k.check = !l.write && l.decision.Role == router.RoleReplica && options.IsoLevel != pgx.RepeatableRead
	if !l.write && l.decision.Role == router.RoleReplica {
		l.request.Only = l.decision.Node
	}
	return &tx{Tx: t, k: k}
}
