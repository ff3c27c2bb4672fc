// Package bun uses a cluster through github.com/uptrace/bun, which is given a
// *sql.DB: one for the sidecar's address, or
//
//	sql.OpenDB(pgxdb.NewConnector(db.Auto()))
//
// for the library. bun writes values into the text of a statement, so that
// each text is another one: connections that are not asked to prepare
// (pgx.QueryExecModeExec or QueryExecModeSimpleProtocol) save a round trip.
package bun
