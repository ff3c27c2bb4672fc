package pgxdb

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/router"
)

// transaction is what a transaction and its savepoints share.
type transaction struct {
	lease *lease // nil once it has ended
	// held: the lease goes on after the transaction.
	held    bool
	options pgx.TxOptions
	// check: before each statement the floor is checked again. Before the
	// first one it is in any case, as the snapshot is taken then.
	check bool
	// begun is true once a statement came.
	begun bool
	// byHand is true once something ran that may have committed by itself.
	byHand bool
	// sure is true once it is certain that something was changed, last the answer
	// that has not been looked at for that.
	sure bool
	last pgx.Rows
	// ddl is true once a statement may have changed the catalogue.
	ddl bool
}

// tx is a pgx.Tx. The methods that it does not have are the wrapped one's.
type tx struct {
	pgx.Tx
	k *transaction
	// savepoint is true for a transaction inside another one.
	savepoint bool
	// sure is what its transaction's was when it began.
	sure bool
}

var _ pgx.Tx = (*tx)(nil)

// ready prepares for a statement, or says why it cannot run. asks says that it
// may be a query.
func (t *tx) ready(ctx context.Context, sql string, asks bool) error {
	k := t.k
	l := k.lease
	if l == nil {
		return pgx.ErrTxClosed
	}
	k.byHand = k.byHand || mayEnd(sql)
	if l.write {
		k.look()
		// REPEATABLE READ has one snapshot, which is that of the first statement.
		fixed := k.begun && (k.options.IsoLevel == pgx.RepeatableRead || k.options.IsoLevel == pgx.Serializable)
		err := l.ready(ctx, asks && !fixed)
		if err == nil {
			k.begun = k.begun || asks || sql != ""
			l.tell()
		}
		return err
	}
	if l.conn == nil {
		return pgx.ErrTxClosed // it could not be moved
	}
	first := !k.begun
	k.begun = true
	if !k.check && !first {
		l.tell()
		return nil
	}
	err := l.recheck(ctx, first)
	if err == nil || !first || k.byHand || ctx.Err() != nil {
		return err
	}
	return t.move(ctx)
}

// look finds out whether the last answer says that something was changed.
func (k *transaction) look() {
	if k.last != nil {
		k.sure = changes(k.last.CommandTag(), k.sure)
		k.last = nil
	}
}

// move begins the transaction elsewhere, before its first statement.
func (t *tx) move(ctx context.Context) error {
	k := t.k
	l := k.lease
	if t.Tx.Rollback(ctx) != nil {
		hangUp(ctx, l.conn.Conn())
	}
	l.release()
	l.request.Only, l.saw = nil, false
	moved, err := l.begin(ctx, k.options)
	if err != nil {
		l.release()
		return l.explain(err)
	}
	t.Tx = moved
	k.placed()
	l.tell()
	return nil
}

// recheck makes sure that the place of a read-only transaction covers what the
// session has written, and seen since the transaction's last statement.
func (l *lease) recheck(ctx context.Context, first bool) error {
	if l.decision.Role == router.RolePrimary {
		// While there is none nobody can have written.
		if now := l.db.router.Topology(); now.Primary != nil && (now.Primary != l.node || now.Era() != l.era) {
			if err := l.leads(ctx); err != nil {
				return err
			}
		}
		l.tell()
		return nil
	}
	if first {
		// If it does not cover that, another place may.
		defer func(then router.OnTimeout) { l.onTimeout = then }(l.onTimeout)
		l.onTimeout = router.OnTimeoutError
	} else {
		l.chain.SawReplica(l.decision.Node)
	}
	reason := l.route.Reason
	l.decision.Done()
	if err := l.decide(ctx); err != nil {
		l.decision = router.Decision{Node: l.request.Only, Role: router.RoleReplica}
		return l.explain(err)
	}
	covers, err := l.covers(ctx, stampOf(l.conn.Conn().PgConn()))
	switch {
	case err != nil:
		return l.explain(err)
	case !covers:
		return routeError(&router.RouteError{Code: "40001", Message: "the replica of this transaction can not go on with it",
			Detail: l.decision.Node.Name + " has been restarted or replaced"}, nil)
	}
	l.route.Reason = router.ReasonTransaction
	if first {
		l.route.Reason = reason
	}
	l.tell()
	return nil
}

// mayEnd reports whether a text might end a transaction by hand. It may be
// wrong in that direction: that costs one ticket at ROLLBACK.
func mayEnd(sql string) bool {
	for i := 0; i+3 <= len(sql); i++ {
		switch sql[i] | 0x20 {
		case 'c':
			if len(sql)-i >= 6 && strings.EqualFold(sql[i:i+6], "commit") {
				return true
			}
		case 'e':
			if strings.EqualFold(sql[i:i+3], "end") {
				return true
			}
		case 'p':
			if len(sql)-i >= 7 && strings.EqualFold(sql[i:i+7], "prepare") {
				return true
			}
		}
	}
	return false
}

// saw notes that a statement has ended.
func (t *tx) saw(tag pgconn.CommandTag) {
	k := t.k
	if k.lease == nil || !k.lease.write {
		return
	}
	if changesCatalogue(tag) {
		k.ddl = true
	}
	if tag.String() == "COMMIT" { // by hand
		k.lease.acknowledged(k.sure)
		k.sure = false
	}
	k.sure = changes(tag, k.sure)
}

// Begin starts a transaction inside this one, with a savepoint.
func (t *tx) Begin(ctx context.Context) (pgx.Tx, error) {
	if err := t.ready(ctx, "", false); err != nil {
		return nil, err
	}
	inner, err := t.Tx.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return &tx{Tx: inner, k: t.k, savepoint: true, sure: t.k.sure}, nil
}

// Exec implements pgx.Tx.
func (t *tx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := t.ready(ctx, sql, answers(sql)); err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := t.Tx.Exec(ctx, sql, args...)
	t.settle()
	t.saw(tag)
	if err != nil && t.k.lease != nil {
		err = t.k.lease.explain(err)
	}
	return tag, err
}

// Query implements pgx.Tx.
func (t *tx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := t.ready(ctx, sql, answers(sql)); err != nil {
		return failed(err), err
	}
	answer, err := t.Tx.Query(ctx, sql, args...)
	if err != nil || !t.k.byHand {
		t.settle()
		t.k.last = answer
		return answer, err
	}
	return t.settled(answer), nil
}

// QueryRow implements pgx.Tx.
func (t *tx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := t.ready(ctx, sql, answers(sql)); err != nil {
		return (*row)(failed(err))
	}
	if !t.k.lease.write && !t.k.byHand {
		return t.Tx.QueryRow(ctx, sql, args...)
	}
	answer, err := t.Tx.Query(ctx, sql, args...)
	switch {
	case err != nil:
		t.settle()
		return (*row)(failed(err))
	case t.k.byHand:
		return (*row)(t.settled(answer))
	}
	t.k.last = answer
	return (*row)(&rows{Rows: answer})
}

// settled returns the answer of a statement that may have committed, so that
// the ticket is taken before its end is seen.
func (t *tx) settled(answer pgx.Rows) *rows {
	// They may be closed after the transaction has ended.
	t.k.lease.kept = true
	return &rows{Rows: answer, lease: t.k.lease, held: true}
}

// SendBatch implements pgx.Tx.
func (t *tx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if err := t.ready(ctx, "", answersBatch(b)); err != nil {
		return pgx.FailedBatchResults(b, err)
	}
	t.k.byHand = t.k.byHand || endsBatch(b)
	results := t.Tx.SendBatch(ctx, b)
	switch {
	case t.k.byHand:
		t.k.lease.kept = true
		return &batch{ctx: ctx, b: b, results: results, lease: t.k.lease, held: true, k: t.k}
	case t.k.lease.write:
		return &batch{ctx: ctx, b: b, results: results, k: t.k}
	}
	return results
}

// endsBatch is mayEnd for all of a batch.
func endsBatch(b *pgx.Batch) bool {
	for _, q := range b.QueuedQueries {
		if mayEnd(q.SQL) {
			return true
		}
	}
	return false
}

// CopyFrom implements pgx.Tx.
func (t *tx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource) (int64, error) {
	if err := t.ready(ctx, "", false); err != nil {
		return 0, err
	}
	n, err := t.Tx.CopyFrom(ctx, table, columns, source)
	t.k.sure = t.k.sure || err == nil && n > 0
	return n, err
}

// Prepare implements pgx.Tx.
func (t *tx) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	if err := t.ready(ctx, sql, answers(sql)); err != nil {
		return nil, err
	}
	return t.Tx.Prepare(ctx, name, sql)
}

// Conn implements pgx.Tx. What is done with the connection directly is not
// checked against the session's floor.
func (t *tx) Conn() *pgx.Conn {
	t.k.byHand = true
	return t.Tx.Conn()
}

// Commit implements pgx.Tx. If the connection is lost in the middle, the error
// has SQLSTATE 08007: nobody knows whether the transaction was committed. With
// Config.ResolveCommits that is found out, if it can be: then there is no error,
// or one with 40001, and the transaction may be run again.
func (t *tx) Commit(ctx context.Context) error {
	l := t.k.lease
	if l == nil {
		return t.Tx.Commit(ctx) // which says that it is closed
	}
	if l.write {
		if err := l.leads(ctx); err != nil {
			if !t.savepoint {
				_ = t.Tx.Rollback(ctx)
				t.end(true)
			}
			return err
		}
	}
	t.k.look()
	k := t.number(ctx)
	l.chain.Committing(&k)
	sends := ctx.Err() == nil && !t.Tx.Conn().IsClosed()
	err := t.Tx.Commit(ctx)
	if t.savepoint {
		return err
	}
	if errors.Is(err, pgx.ErrTxClosed) {
		return t.finish(err)
	}
	t.settle()
	if l.write {
		l.wrote()
		if t.k.ddl {
			l.db.catalogueChanged()
		}
		if err != nil && (sends || !notSent(err)) && !errors.Is(err, pgx.ErrTxCommitRollback) && lostAnswer(err) {
			err = l.outcome(ctx, &k, err)
		}
		if err == nil {
			l.acknowledged(t.k.sure)
		}
	}
	return t.finish(err)
}

// lostAnswer reports whether the server did not say how it ended.
func lostAnswer(err error) bool {
	var pg *pgconn.PgError
	return !errors.As(err, &pg) || pg.Severity == "FATAL" || pg.SeverityUnlocalized == "FATAL"
}

// Rollback implements pgx.Tx.
func (t *tx) Rollback(ctx context.Context) error {
	err := t.Tx.Rollback(ctx)
	if t.savepoint && err == nil {
		t.k.last, t.k.sure = nil, t.sure
	}
	if t.savepoint || t.k.lease == nil {
		return err
	}
	t.settle()
	return t.finish(err)
}

// settle takes a ticket for what the caller may have committed by hand.
func (t *tx) settle() {
	if l := t.k.lease; l != nil && t.k.byHand && l.decision.Role == router.RolePrimary {
		l.wrote()
	}
}

// finish gives the lease back, once.
func (t *tx) finish(err error) error {
	l := t.k.lease
	t.k.lease = nil
	if l == nil {
		return err
	}
	if t.k.held {
		l.request.Only = nil
		return err
	}
	return l.done(err)
}

// end is finish for a transaction whose connection is gone.
func (t *tx) end(wrote bool) {
	if l := t.k.lease; l != nil && l.write && wrote {
		l.wrote()
	}
	_ = t.finish(nil)
}
