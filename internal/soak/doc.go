// Package soak holds the test that no client notices that others use the same
// server connections. Many clients share few of them. Each does what binds a
// session - settings, roles, prepared statements, temporary tables, advisory
// locks, LISTEN, cursors, transactions, COPY, cancel requests, and leaving in
// the middle of any of these - and looks at its own state before and after
// each step. What is not its own is a leak, and ends the test with the history
// of that client. A client that makes no progress ends it too, with what the
// proxy says about its pools.
//
// There is nothing to import here.
package soak
