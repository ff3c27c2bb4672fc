// Package sqlx uses a cluster through github.com/jmoiron/sqlx, which is given
// a *sql.DB: one for the sidecar's address, or
//
//	sql.OpenDB(pgxdb.NewConnector(db.Auto()))
//
// for the library. The driver's name is pgx for both, so that sqlx writes
// parameters as $1.
package sqlx
