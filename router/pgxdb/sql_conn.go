package pgxdb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/sqlstate"
)

// sqlConn is a connection of database/sql: a place in a queue rather than a
// connection to a server. It holds one of those only for a transaction, and
// once a statement has bound the session. As database/sql promises, it is used
// by one goroutine at a time.
type sqlConn struct {
	q Queries
	// held is the connection that a transaction or the session's state needs,
	// nil if there is none.
	held *Conn
	// tx is the transaction that runs on held, nil outside of one.
	tx pgx.Tx
	// bound is true once the session of held has state that nobody else must
	// see, and listens if notifications may be among it.
	bound, listens bool
	// lost is true after a held session was lost together with its state: the
	// next statement would miss it.
	lost bool
}

var (
	_ driver.Conn               = (*sqlConn)(nil)
	_ driver.QueryerContext     = (*sqlConn)(nil)
	_ driver.ExecerContext      = (*sqlConn)(nil)
	_ driver.ConnBeginTx        = (*sqlConn)(nil)
	_ driver.ConnPrepareContext = (*sqlConn)(nil)
	_ driver.Pinger             = (*sqlConn)(nil)
	_ driver.SessionResetter    = (*sqlConn)(nil)
	_ driver.Validator          = (*sqlConn)(nil)
	_ driver.NamedValueChecker  = (*sqlConn)(nil)
)

// CheckNamedValue implements driver.NamedValueChecker: pgx takes values of all
// types, and driver.Valuers, as they are.
func (c *sqlConn) CheckNamedValue(*driver.NamedValue) error { return nil }

// ExecContext implements driver.ExecerContext.
func (c *sqlConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.prepare(ctx, query); err != nil {
		return nil, err
	}
	var tag pgconn.CommandTag
	var err error
	switch values := sqlArguments(nil, args); {
	case c.tx != nil:
		tag, err = c.tx.Exec(ctx, query, values...)
	case c.held != nil:
		c.tell()
		tag, err = c.held.Exec(ctx, query, values...)
		c.wroteFor(ctx)
	default:
		tag, err = c.q.Exec(ctx, query, values...)
	}
	if err != nil {
		return nil, c.failed(err)
	}
	return driver.RowsAffected(tag.RowsAffected()), nil
}

// QueryContext implements driver.QueryerContext.
func (c *sqlConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.prepare(ctx, query); err != nil {
		return nil, err
	}
	var answer pgx.Rows
	var err error
	var settled func()
	switch values := sqlArguments([]any{sqlFormats}, args); {
	case c.tx != nil:
		answer, err = c.tx.Query(ctx, query, values...)
	case c.held != nil:
		c.tell()
		answer, err = c.held.Query(ctx, query, values...)
		settled = func() { c.wroteFor(ctx) }
	default:
		answer, err = c.q.Query(ctx, query, values...)
	}
	if err != nil {
		return nil, c.failed(err)
	}
	own, ok := answer.(*rows)
	if !ok {
		own = &rows{Rows: answer}
	}
	r, err := newSQLRows(own, settled)
	if err != nil {
		return nil, c.failed(err)
	}
	return r, nil
}

// sqlArguments appends the values of arguments to args. Names say nothing to
// PostgreSQL, as in pgx's own driver.
func sqlArguments(args []any, named []driver.NamedValue) []any {
	for i := range named {
		args = append(args, named[i].Value)
	}
	return args
}

// prepare makes sure that the connection can run a statement, and holds a
// connection to the primary if the statement binds the session.
func (c *sqlConn) prepare(ctx context.Context, query string) error {
	switch {
	case c.lost:
		return driver.ErrBadConn
	case c.bound && c.tx == nil && !c.held.lease.write:
		return errors.New("pgxdb: a read-only transaction has bound this connection to a replica (SET and the like); close it first, or use SET LOCAL")
	}
	b, err := c.q.binding(ctx, query)
	switch {
	case err != nil:
		return err
	case b.foreign:
		return &serverError{pg: pgconn.PgError{Severity: "ERROR", Code: sqlstate.FeatureNotSupported,
			Message: "the settings pgroute.* are the proxy's", Hint: "Here Queries.At, Within and MaxStaleness say it, DB.Token and DB.Accept, or a comment such as /* pgroute: strong */."}}
	case c.tx != nil || c.held != nil:
		c.bound = c.bound || b.session
		c.listens = c.listens || b.listens
		return nil
	case !b.session && !b.transaction:
		return nil
	case c.q.verb == verbRead:
		return &serverError{pg: pgconn.PgError{Severity: "ERROR", Code: sqlstate.FeatureNotSupported,
			Message: "what runs by Read may not bind the session", Hint: "Use Auto or Write."}}
	}
	l, err := c.q.db.lease(ctx, &want{write: true, trace: c.q.trace})
	if err != nil {
		return err
	}
	c.held, c.bound, c.listens = &Conn{lease: l}, true, b.listens
	return nil
}

// failed judges an error of a statement. What was lost with a held connection
// must not be missed silently.
func (c *sqlConn) failed(err error) error {
	if c.held != nil && c.bound && c.held.Conn().IsClosed() {
		c.lost = true
		if c.tx == nil {
			c.letGo()
		}
	}
	return err
}

// PrepareContext implements driver.ConnPrepareContext: a prepared statement is
// its text, which is routed each time.
func (c *sqlConn) PrepareContext(_ context.Context, query string) (driver.Stmt, error) {
	if c.lost {
		return nil, driver.ErrBadConn
	}
	return &sqlStmt{c: c, query: query}, nil
}

// Prepare implements driver.Conn.
func (c *sqlConn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// Ping implements driver.Pinger: it makes sure that the primary answers.
func (c *sqlConn) Ping(ctx context.Context) error {
	switch {
	case c.lost:
		return driver.ErrBadConn
	case c.held == nil:
		return c.q.db.Ping(ctx)
	}
	return c.failed(c.held.Ping(ctx))
}

// IsValid implements driver.Validator. database/sql asks when the connection
// goes back to its pool: that ends the session.
func (c *sqlConn) IsValid() bool {
	c.letGo()
	return !c.lost
}

// ResetSession implements driver.SessionResetter.
func (c *sqlConn) ResetSession(context.Context) error {
	c.letGo()
	if c.lost {
		return driver.ErrBadConn
	}
	return nil
}

// Close implements driver.Conn.
func (c *sqlConn) Close() error {
	c.letGo()
	c.lost = true
	return nil
}

// sqlStmt is a prepared statement of database/sql.
type sqlStmt struct {
	c     *sqlConn
	query string
}

var (
	_ driver.StmtExecContext  = (*sqlStmt)(nil)
	_ driver.StmtQueryContext = (*sqlStmt)(nil)
)

// Close implements driver.Stmt.
func (s *sqlStmt) Close() error { return nil }

// NumInput implements driver.Stmt: the server counts the parameters.
func (s *sqlStmt) NumInput() int { return -1 }

// ExecContext implements driver.StmtExecContext.
func (s *sqlStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.c.ExecContext(ctx, s.query, args)
}

// QueryContext implements driver.StmtQueryContext.
func (s *sqlStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.c.QueryContext(ctx, s.query, args)
}

// Exec implements driver.Stmt. database/sql calls ExecContext.
func (s *sqlStmt) Exec([]driver.Value) (driver.Result, error) {
	return nil, fmt.Errorf("pgxdb: %w; use ExecContext", errors.ErrUnsupported)
}

// Query implements driver.Stmt. database/sql calls QueryContext.
func (s *sqlStmt) Query([]driver.Value) (driver.Rows, error) {
	return nil, fmt.Errorf("pgxdb: %w; use QueryContext", errors.ErrUnsupported)
}
