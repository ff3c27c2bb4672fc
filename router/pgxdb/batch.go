package pgxdb

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// SendBatch sends the queries of b. By Auto a batch runs on a replica only if
// every one of them is a read. The results must be closed, unless the batch
// began a transaction: then that gives the connection back.
//
// A batch of reads is run again elsewhere if its first result fails and is
// fetched with Exec or Query, or if b has no callbacks.
func (q Queries) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	w := want{policy: q.policy, trace: q.trace}
	switch q.verb {
	case verbWrite, verbDB:
		w.write = true
	case verbAuto:
		if err := q.db.judgeBatch(ctx, b, &w); err != nil {
			return pgx.FailedBatchResults(b, err)
		}
	}
	w.answers = w.write && answersBatch(b)
	r := &batch{ctx: ctx, b: b, lease: q.db.newLease(ctx, &w), untouched: true}
	l, handed := r.lease, false
	defer func() {
		if !handed {
			l.abandon()
		}
	}()
	for {
		err := r.lease.acquire(ctx)
		if err == nil {
			break
		}
		if !r.lease.again(ctx, err, "") {
			handed = true
			return pgx.FailedBatchResults(b, r.lease.done(err))
		}
	}
	r.send()
	handed = true
	return r
}

// batch is the pgx.BatchResults of a batch on a lease.
type batch struct {
	ctx     context.Context //nolint:containedctx // it is the batch's, which pgx stores as well
	b       *pgx.Batch
	results pgx.BatchResults
	lease   *lease // nil once it is given back, or belongs to tx
	held    bool
	tx      *tx
	// k is the transaction that the batch belongs to, nil if there is none.
	k *transaction
	// sure is true once it is certain that something was changed, read how many
	// results were taken.
	sure bool
	read int
	// untouched is true until something of the answer was handed out.
	untouched bool
	err       error
}

// send sends the batch on the lease's connection.
func (r *batch) send() {
	r.lease.tell()
	r.results = r.lease.conn.Conn().SendBatch(r.ctx, r.b)
	if t := r.results.Tx(); t != nil {
		r.tx = newTx(r.lease, t, pgx.TxOptions{}, r.held)
		r.tx.k.begun = true
		r.lease = nil
	}
}

// again sends a batch of reads elsewhere after its first result failed.
func (r *batch) again(err error) bool {
	l := r.lease
	if err == nil || !r.untouched || l == nil || l.write || r.held {
		return false
	}
	// Read what is left, so that the connection can be used again.
	_ = r.results.Close()
	for {
		if !l.again(r.ctx, err, "") {
			return false
		}
		if err = l.acquire(r.ctx); err == nil {
			break
		}
	}
	copied := &pgx.Batch{}
	for _, q := range r.b.QueuedQueries {
		copied.Queue(q.SQL, q.Arguments...).Fn = q.Fn
	}
	r.b = copied
	r.send()
	return true
}

// settle takes the ticket that must come before a result is seen: a batch may
// commit in the middle.
func (r *batch) settle() {
	r.untouched = false
	r.forget()
	if r.lease != nil && r.lease.write {
		r.lease.wrote()
	}
}

// note notes what the next result says of what was changed.
func (r *batch) note(tag pgconn.CommandTag, err error) {
	if r.read++; err != nil {
		return
	}
	r.sure = changes(tag, r.sure)
	if r.k != nil {
		r.k.sure = changes(tag, r.k.sure)
	}
}

// forget leaves a lease alone that has ended before the results: that of an
// acquired connection, or of a transaction.
func (r *batch) forget() {
	if r.lease != nil && r.lease.chain == nil {
		r.lease = nil
	}
}

// Exec implements pgx.BatchResults.
func (r *batch) Exec() (pgconn.CommandTag, error) {
	tag, err := r.results.Exec()
	for r.again(err) {
		tag, err = r.results.Exec()
	}
	r.settle()
	r.note(tag, err)
	if r.lease != nil && r.lease.write && err == nil && changesCatalogue(tag) {
		r.lease.db.catalogueChanged()
	}
	return tag, err
}

// Query implements pgx.BatchResults.
func (r *batch) Query() (pgx.Rows, error) {
	rows, err := r.results.Query()
	for r.again(err) {
		rows, err = r.results.Query()
	}
	r.settle()
	r.read++
	return rows, err
}

// QueryRow implements pgx.BatchResults.
func (r *batch) QueryRow() pgx.Row {
	rs, err := r.Query()
	if err != nil {
		return (*row)(failed(err))
	}
	return (*row)(&rows{Rows: rs})
}

// Close implements pgx.BatchResults.
func (r *batch) Close() error {
	// A callback may panic.
	defer func() {
		if l := r.lease; l != nil && !r.held {
			r.lease = nil
			l.abandon()
		}
	}()
	if r.k != nil || r.lease != nil && r.lease.write {
		// As Close does, but looking at the tags.
		for r.read < len(r.b.QueuedQueries) && r.b.QueuedQueries[r.read].Fn == nil {
			tag, err := r.results.Exec()
			if r.note(tag, err); err != nil {
				break
			}
		}
	}
	err := r.results.Close()
	if !r.callbacks() {
		for r.again(err) {
			err = r.results.Close()
		}
	}
	r.forget()
	l := r.lease
	if l == nil {
		if r.err != nil {
			return r.err
		}
		return err
	}
	r.lease = nil
	if l.write && (err == nil || !notSent(err)) {
		l.wrote()
		if err == nil && l.conn.Conn().PgConn().TxStatus() == idle {
			l.acknowledged(r.sure)
		}
		l.db.batchChanged(r.b)
	}
	if !r.held {
		err = l.done(err)
	}
	r.err = err
	return err
}

// callbacks reports whether Close calls functions with results.
func (r *batch) callbacks() bool {
	for _, q := range r.b.QueuedQueries {
		if q.Fn != nil {
			return true
		}
	}
	return false
}

// Tx implements pgx.BatchResults.
func (r *batch) Tx() pgx.Tx {
	if r.tx == nil {
		return nil
	}
	return r.tx
}
