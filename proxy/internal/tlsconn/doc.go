// Package tlsconn is TLS that begins on a goroutine and goes on in an event
// loop.
//
// A Conn is a net.Conn for the login: the handshake and everything up to the
// end of the login are plain code that blocks. Then Take gives it to a loop,
// which owns the descriptor; from there on Open and Seal turn what the loop
// reads into clear text and back, and nothing blocks any more. There is
// no goroutine, no pipe and no copy between the socket and crypto/tls.
//
// It rests on what read deadlines are in crypto/tls: a Read that ended by one
// may be repeated and loses nothing. Where the socket has nothing more, the
// loop's reads end just so. Writes, which could not be repeated, never end that
// way, because they only add to a buffer.
//
// It does not decide who speaks TLS, nor with which certificates.
package tlsconn
