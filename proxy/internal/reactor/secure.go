package reactor

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/pgroute/pgroute/proxy/internal/tlsconn"
)

// A Socket is a descriptor that nobody but its holder owns, with the TLS that
// is spoken on it, if any. It is given to a loop, or closed.
type Socket struct {
	fd  int
	tls *tlsconn.Conn // nil in the clear
}

// Detach takes the descriptor out of conn, which is closed: the caller owns
// the Socket, and nothing else does.
func Detach(conn net.Conn) (Socket, error) {
	secured, _ := conn.(*tlsconn.Conn)
	if secured != nil {
		conn = secured.Below()
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		conn.Close()
		return Socket{fd: -1}, errors.New("the connection has no descriptor")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		conn.Close()
		return Socket{fd: -1}, err
	}
	fd := -1
	var dup error
	err = raw.Control(func(f uintptr) { fd, dup = dupFD(int(f)) })
	conn.Close()
	if err == nil {
		err = dup
	}
	if err != nil {
		return Socket{fd: -1}, fmt.Errorf("take over a connection: %w", err)
	}
	if secured != nil {
		secured.Take(fd, read, errAgain)
	}
	return Socket{fd: fd, tls: secured}, nil
}

// Close closes a socket that no loop has taken.
func (x Socket) Close() {
	if x.fd >= 0 {
		closeFD(x.fd)
	}
}

// open is read for a socket with TLS.
func (l *Loop) open(s *sock, b []byte) (int, error) {
	n, err := s.tls.Open(b)
	if out := s.tls.Pending(); out != nil {
		l.queueRaw(s, out)
		if l.flush(s); s.queued() > highWater {
			l.pause(s) // somebody has questions and does not read the answers
		}
	}
	if n > 0 && err != nil {
		// The end came with the last bytes. It is seen again when the socket
		// itself has ended.
		shutReadFD(s.fd)
		err = nil
	}
	return n, err
}

// seal returns the records that carry b, valid until the next call.
func (l *Loop) seal(s *sock, b []byte) []byte {
	out := l.sealed
	if cap(out) > 4*highWater {
		out = nil
	}
	// An error means that TLS has ended, which is found when it is read.
	out, _ = s.tls.Seal(out[:0], b)
	l.sealed = out
	return out
}

// finish tells a peer with TLS that no more comes, if that can be sent at
// once.
func (l *Loop) finish(s *sock) {
	if s.tls == nil || s.queued() > 0 {
		return
	}
	if out := s.tls.Finish(nil); len(out) > 0 {
		_, _ = write(s.fd, out) // it may have gone
	}
}
