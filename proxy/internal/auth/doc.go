// Package auth is pgroute's own SCRAM-SHA-256 (RFC 5802, RFC 7677), on both
// sides.
//
// Towards a client it is the server: it holds the verifier that PostgreSQL
// stores in pg_authid and checks the client's proof against it. A valid proof
// also gives away the ClientKey, so that pgroute can be a SCRAM client towards
// every server that stores the same verifier, and streaming replicas do. No
// password is ever seen, and none is kept.
//
// The package does no I/O except through the lookup function that its Cache is
// given. It does not do channel binding, because there is no TLS to bind to
// yet, and it does not do SASLprep: the server side never sees a password, and
// PostgreSQL ignores the user name inside SCRAM.
package auth
