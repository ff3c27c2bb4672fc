// Package gorm uses a cluster through gorm.io/gorm and its PostgreSQL driver.
// The driver is given a *sql.DB: one for the sidecar's address, or
//
//	sql.OpenDB(pgxdb.NewConnector(db.Auto()))
//
// for the library. gorm's own resolver for replicas is not needed.
package gorm
