package tlsconn

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// wire is what crypto/tls takes for its socket.
type wire struct {
	// conn is the connection during the login, nil in a loop.
	conn net.Conn
	// unread are bytes that were read from conn before TLS began.
	unread []byte
	// header[:have] is the part of a record's header that has been read, left
	// how much of the record is still to come.
	header [5]byte
	have   int
	left   int

	// What follows is for the time in a loop.
	fd    int
	read  func(fd int, p []byte) (int, error)
	again error
	// budget is how much may still be read in this Open; dry says that the
	// socket has no more.
	budget int
	dry    bool
	out    []byte // what is to be sent
}

// Read reads at most to the end of a record while there is a conn: what the
// login does not need stays in the kernel, but for the rest of one record.
func (w *wire) Read(p []byte) (int, error) {
	if w.read != nil {
		return w.fetch(p)
	}
	if w.left > 0 {
		n, err := w.receive(p[:min(len(p), w.left)])
		w.left -= n
		return n, err
	}
	n, err := w.receive(p[:min(len(p), len(w.header)-w.have)])
	w.have += copy(w.header[w.have:], p[:n])
	if w.have == len(w.header) {
		w.have, w.left = 0, int(binary.BigEndian.Uint16(w.header[3:]))
	}
	return n, err
}

func (w *wire) receive(p []byte) (int, error) {
	if len(w.unread) > 0 {
		n := copy(p, w.unread)
		w.unread = w.unread[n:]
		return n, nil
	}
	return w.conn.Read(p)
}

// fetch reads what the socket has, within the budget. When there is no more it
// ends as a read ends at a deadline, which crypto/tls goes on after.
func (w *wire) fetch(p []byte) (int, error) {
	if w.dry || w.budget <= 0 {
		return 0, os.ErrDeadlineExceeded
	}
	p = p[:min(len(p), w.budget)]
	n, err := w.read(w.fd, p)
	switch {
	case errors.Is(err, w.again):
		w.dry = true
		return 0, os.ErrDeadlineExceeded
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	w.budget -= n
	w.dry = n < len(p)
	return n, nil
}

// Write sends, or keeps for the loop what is to be sent.
func (w *wire) Write(p []byte) (int, error) {
	if w.conn != nil {
		return w.conn.Write(p)
	}
	w.out = append(w.out, p...)
	return len(p), nil
}

// Close closes the connection below. In a loop the descriptor is the loop's.
func (w *wire) Close() error {
	if w.conn == nil {
		return nil
	}
	return w.conn.Close()
}

// The deadlines are those of the connection below; in a loop nothing blocks.

func (w *wire) SetDeadline(t time.Time) error {
	if w.conn == nil {
		return nil
	}
	return w.conn.SetDeadline(t)
}

func (w *wire) SetReadDeadline(t time.Time) error {
	if w.conn == nil {
		return nil
	}
	return w.conn.SetReadDeadline(t)
}

func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.conn == nil {
		return nil
	}
	return w.conn.SetWriteDeadline(t)
}

// LocalAddr and RemoteAddr are those of the connection below, nil in a loop.

func (w *wire) LocalAddr() net.Addr {
	if w.conn == nil {
		return nil
	}
	return w.conn.LocalAddr()
}

func (w *wire) RemoteAddr() net.Addr {
	if w.conn == nil {
		return nil
	}
	return w.conn.RemoteAddr()
}
