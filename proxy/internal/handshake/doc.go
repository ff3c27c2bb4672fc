// Package handshake is the server's side of a client's login: everything
// between accept and the first ReadyForQuery.
//
// Accept reads what a client wants, Authenticate checks who it is, and, once
// the caller knows what to welcome it with, Welcome lets it in. Refuse ends a
// login that one of them gave up. It is straight-line code on one goroutine
// per connection, bounded in time and memory.
//
// Nothing here ever reads more bytes from a socket than the messages it
// consumes, because the descriptor is handed to an event loop afterwards and
// what is still in the kernel must be all that is unread. Package backend uses
// the same reader towards servers.
//
// The words of every error are PostgreSQL's own.
package handshake
