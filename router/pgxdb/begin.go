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
	l, handed := q.db.newLease(ctx, &w), false
	defer func() {
		if !handed {
			l.abandon()
		}
	}()
	t, err := l.begin(ctx, options)
	if err != nil {
		// BEGIN alone writes nothing.
		handed = true
		return nil, l.done(err)
	}
	l.tell()
	handed = true
	return newTx(l, t, options, false), nil
}

// begin finds a place and begins a transaction there.
func (l *lease) begin(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error) {
	for {
		err := l.acquire(ctx)
		if err == nil {
			var t pgx.Tx
			if t, err = l.conn.Conn().BeginTx(ctx, options); err == nil {
				return t, nil
			}
		}
		if !l.again(ctx, err, "") {
			return nil, err
		}
	}
}

// newTx wraps a transaction that has begun on l's connection. held is true if
// the lease goes on after it.
func newTx(l *lease, t pgx.Tx, options pgx.TxOptions, held bool) *tx {
	k := &transaction{lease: l, options: options, held: held}
	k.placed()
	return &tx{Tx: t, k: k}
}

// placed notes where the transaction is: that is where it stays.
func (k *transaction) placed() {
	l := k.lease
	// A statement of a READ COMMITTED transaction takes a new snapshot, which
	// must cover what the session has written in the meantime.
	k.check = !l.write && k.options.IsoLevel != pgx.RepeatableRead && k.options.IsoLevel != pgx.Serializable
	if l.write {
		return
	}
	if l.decision.Role == router.RoleReplica {
		l.request.Only = l.decision.Node
		return
	}
	l.node, l.era = l.decision.Node, l.decision.Era
}
