package pgxdb

import (
	"context"
	"database/sql/driver"
	"errors"
)

// NewConnector returns a connector for database/sql, which gorm, ent, bun, sqlx
// and goose are given:
//
//	sqlDB := sql.OpenDB(pgxdb.NewConnector(db.Auto()))
//
// Each statement is routed by q, with a Trace and a session from the context
// like any other, and uses a connection of the node's pool only while it runs.
// Values are converted as by pgx's own database/sql driver (pgx/v5/stdlib).
// A transaction with sql.TxOptions.ReadOnly runs on a replica where q's BeginTx
// does. A prepared statement is its text: each execution is routed, and pgx
// prepares it on the connections that it meets; a mistake in it shows when it
// is executed.
//
// A statement that binds the session (SET, a temporary table, LISTEN, an
// advisory lock, BEGIN as text) takes a connection to the primary, on which
// what follows on the same sql.Conn or sql.Tx runs too. When that is closed,
// and at once after a statement of a sql.DB, the connection is cleaned or
// destroyed, so that nobody inherits anything. By Read such statements are
// refused, outside of transactions.
//
// Connections of the sql.DB cost nothing: SetMaxOpenConns bounds how much runs
// at a time, but not the connections to servers, nor does SetConnMaxLifetime
// concern them. The pools do both (pool_max_conns, pool_max_conn_lifetime in
// Config.DSN). Closing the sql.DB does not close the DB of q.
func NewConnector(q Queries) driver.Connector {
	q.db.startCatalogue()
	return sqlConnector{q}
}

type sqlConnector struct{ q Queries }

// Connect implements driver.Connector. It dials nothing.
func (c sqlConnector) Connect(context.Context) (driver.Conn, error) {
	if c.q.db.closed.Load() {
		return nil, errClosed
	}
	return &sqlConn{q: c.q}, nil
}

// Driver implements driver.Connector.
func (c sqlConnector) Driver() driver.Driver { return sqlDriver{} }

// sqlDriver is there because database/sql asks for a driver.
type sqlDriver struct{}

// Open implements driver.Driver. A name cannot say what a DB is.
func (sqlDriver) Open(string) (driver.Conn, error) {
	return nil, errors.New("pgxdb: use sql.OpenDB with NewConnector")
}
