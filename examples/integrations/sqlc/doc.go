// Package sqlc uses a cluster through code that sqlc has generated from
// schema.sql and query.sql into package bookings. Its DBTX interface accepts
// a *pgxpool.Pool that is connected to the sidecar, and the library's
// pgxdb.Queries and *pgxdb.DB.
//
// To generate it again, run go generate in this folder.
package sqlc

import _ "embed" // for the schema

//go:generate go run github.com/sqlc-dev/sqlc/cmd/sqlc@v1.31.1 generate

// Schema is what sqlc has read.
//
//go:embed schema.sql
var Schema string
