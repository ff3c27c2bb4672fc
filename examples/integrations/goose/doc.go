// Package goose migrates a cluster with github.com/pressly/goose, which is
// given a *sql.DB: one for the sidecar's address, or
//
//	sql.OpenDB(pgxdb.NewConnector(db.Auto()))
//
// for the library. Instances of a service that start at once migrate one after
// the other: goose holds an advisory lock of its session, which binds its
// connection to one connection to the primary until goose gives it back.
package goose
