// Package scany uses a cluster through pgx and scany's pgxscan, which fills
// structs. pgxscan accepts a *pgxpool.Pool that is connected to the sidecar,
// and the library's pgxdb.Queries and *pgxdb.DB.
package scany
