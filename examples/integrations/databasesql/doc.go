// Package databasesql uses a cluster through database/sql alone. A *sql.DB for
// the sidecar is opened with any PostgreSQL driver and the sidecar's address;
// one for the library is
//
//	sql.OpenDB(pgxdb.NewConnector(db.Auto()))
//
// The code is the same for both: it says which transactions are read-only,
// and nothing else.
package databasesql
