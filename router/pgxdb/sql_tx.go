package pgxdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// goodbye bounds what has to be said to a server whatever became of the
// caller's context: ROLLBACK, DISCARD ALL.
const goodbye = 5 * time.Second

// BeginTx implements driver.ConnBeginTx.
func (c *sqlConn) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if c.lost {
		return nil, driver.ErrBadConn
	}
	o, err := txOptions(options)
	if err != nil {
		return nil, err
	}
	if c.held != nil {
		c.tell()
		if c.tx, err = c.held.BeginTx(ctx, o); err != nil {
			c.tx = nil
			return nil, c.failed(err)
		}
		return &sqlTx{c: c, ctx: ctx}, nil
	}
	t, err := c.q.BeginTx(ctx, o)
	if err != nil {
		return nil, err
	}
	// The connection stays ours after the transaction, which may bind it.
	own := t.(*tx)
	own.k.held = true
	c.held, c.tx = &Conn{lease: own.k.lease}, own
	return &sqlTx{c: c, ctx: ctx}, nil
}

// Begin implements driver.Conn.
func (c *sqlConn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// txOptions are the options that mean the same to pgx.
func txOptions(options driver.TxOptions) (pgx.TxOptions, error) {
	var o pgx.TxOptions
	switch level := sql.IsolationLevel(options.Isolation); level {
	case sql.LevelDefault:
	case sql.LevelReadUncommitted:
		o.IsoLevel = pgx.ReadUncommitted
	case sql.LevelReadCommitted:
		o.IsoLevel = pgx.ReadCommitted
	case sql.LevelRepeatableRead, sql.LevelSnapshot:
		o.IsoLevel = pgx.RepeatableRead
	case sql.LevelSerializable:
		o.IsoLevel = pgx.Serializable
	default:
		return o, fmt.Errorf("pgxdb: the isolation level %v is not supported", level)
	}
	if options.ReadOnly {
		o.AccessMode = pgx.ReadOnly
	}
	return o, nil
}

// sqlTx is a transaction of database/sql.
type sqlTx struct {
	c   *sqlConn
	ctx context.Context //nolint:containedctx // driver.Tx has no other
}

// Commit implements driver.Tx.
func (t *sqlTx) Commit() error { return t.end(t.ctx, t.c.tx.Commit) }

// Rollback implements driver.Tx. It is called when the transaction's context
// is done, too: the connection can go on after it.
func (t *sqlTx) Rollback() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), goodbye)
	defer cancel()
	return t.end(ctx, t.c.tx.Rollback)
}

// end ends the transaction, and gives its connection back if nothing binds it.
func (t *sqlTx) end(ctx context.Context, how func(context.Context) error) error {
	c := t.c
	err := how(ctx)
	c.tx = nil
	if !c.bound {
		l := c.held.lease
		c.held = nil
		return l.done(err)
	}
	c.wroteFor(t.ctx)
	return c.failed(err)
}
