package pgxdb

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Conn is a connection to the primary that Acquire took out of its pool, for
// what needs one connection: LISTEN, session locks, temporary tables. Each use
// counts as a write. Like a pgx.Conn it belongs to one goroutine at a time.
// When the primary changes, its methods fail.
type Conn struct {
	lease *lease
	once  sync.Once
}

// Acquire takes a connection to the primary out of its pool. It must be
// released.
func (db *DB) Acquire(ctx context.Context) (*Conn, error) {
	w := want{write: true}
	l, err := db.lease(ctx, &w)
	if err != nil {
		return nil, err
	}
	// Rows and transactions may outlive it by mistake.
	l.kept = true
	return &Conn{lease: l}, nil
}

// Release gives the connection back. Only the first call does anything; no
// other method may be called afterwards.
func (c *Conn) Release() {
	c.once.Do(func() {
		c.lease.wrote()
		_ = c.lease.done(nil)
		c.lease = nil
	})
}

// Conn returns the connection itself. What is written through it is known to
// readers of the session after the next use of c, or after Release.
func (c *Conn) Conn() *pgx.Conn { return c.lease.conn.Conn() }

// Exec is pgx.Conn's.
func (c *Conn) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := c.lease.ready(ctx, answers(sql)); err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := c.Conn().Exec(ctx, sql, args...)
	c.lease.settle(tag, err)
	return tag, err
}

// Query is pgx.Conn's.
func (c *Conn) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	r := c.query(ctx, sql, args)
	if r.lease == nil && r.err != nil {
		return r, r.err
	}
	return r, nil
}

// QueryRow is pgx.Conn's.
func (c *Conn) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return (*row)(c.query(ctx, sql, args))
}

func (c *Conn) query(ctx context.Context, sql string, args []any) *rows {
	if err := c.lease.ready(ctx, answers(sql)); err != nil {
		return failed(err)
	}
	answer, err := c.Conn().Query(ctx, sql, args...)
	if err != nil {
		c.lease.settle(pgconn.CommandTag{}, err)
		return failed(err)
	}
	return &rows{Rows: answer, lease: c.lease, held: true}
}

// Begin is pgx.Conn's.
func (c *Conn) Begin(ctx context.Context) (pgx.Tx, error) { return c.BeginTx(ctx, pgx.TxOptions{}) }

// BeginTx is pgx.Conn's. The transaction runs on the primary in any case.
func (c *Conn) BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error) {
	if err := c.lease.leads(ctx); err != nil {
		return nil, err
	}
	t, err := c.Conn().BeginTx(ctx, options)
	if err != nil {
		return nil, err
	}
	return newTx(c.lease, t, options, true), nil
}

// SendBatch is pgx.Conn's.
func (c *Conn) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if err := c.lease.ready(ctx, answersBatch(b)); err != nil {
		return pgx.FailedBatchResults(b, err)
	}
	r := &batch{ctx: ctx, b: b, lease: c.lease, held: true}
	r.send()
	return r
}

// CopyFrom is pgx.Conn's.
func (c *Conn) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource) (int64, error) {
	if err := c.lease.leads(ctx); err != nil {
		return 0, err
	}
	n, err := c.Conn().CopyFrom(ctx, table, columns, source)
	c.lease.wrote()
	if err == nil && c.Conn().PgConn().TxStatus() == idle {
		c.lease.acknowledged(n > 0)
	}
	return n, err
}

// Ping makes sure that the server answers.
func (c *Conn) Ping(ctx context.Context) error {
	if err := c.lease.leads(ctx); err != nil {
		return err
	}
	return c.Conn().Ping(ctx)
}
