package tlsconn

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
)

// Slack is by how much the clear text of one Open can exceed what the call
// reads from the socket: one record, the rest of which has just come, or which
// was left from the login.
const Slack = 16 << 10

// Conn is a TLS connection. Until Take it is a net.Conn like any other; after
// that only the loop that took it may use it, and only Open, Pending, Seal and
// Finish.
type Conn struct {
	*tls.Conn
	wire *wire
	err  error // how the stream ended, found when there was still data before
}

// Server returns the server's side of TLS on conn, from which the bytes in
// read have been read already. Nothing is sent or read yet.
func Server(conn net.Conn, read []byte, cfg *tls.Config) *Conn {
	w := &wire{conn: conn, unread: read}
	return &Conn{Conn: tls.Server(w, cfg), wire: w}
}

// Client returns the client's side of TLS on conn.
func Client(conn net.Conn, cfg *tls.Config) *Conn {
	w := &wire{conn: conn}
	return &Conn{Conn: tls.Client(w, cfg), wire: w}
}

// CloseWrite tells the peer that no more comes, by TLS and by TCP.
func (c *Conn) CloseWrite() error {
	err := c.Conn.CloseWrite()
	if half, ok := c.wire.conn.(interface{ CloseWrite() error }); ok {
		err = errors.Join(err, half.CloseWrite())
	}
	return err
}

// Take ends the time of blocking. It returns the connection below, whose
// descriptor the caller takes; from now on read(fd, …) reads from that. read
// returns again while nothing is there, and 0 at the end.
//
// Clear text may have come with the end of the login: the first Open is due
// without waiting for the socket.
func (c *Conn) Take(fd int, read func(fd int, p []byte) (int, error), again error) {
	w := c.wire
	w.fd, w.read, w.again = fd, read, again
	w.conn = nil
}

// Below returns the connection that c was made on, nil after Take.
func (c *Conn) Below() net.Conn { return c.wire.conn }

// Open reads from the socket into dst, in clear. len(dst) must exceed Slack:
// no more than the difference is read from the socket, so nothing that could
// be opened remains inside, and the socket alone tells when to call again.
//
// The error is that of Take while there is nothing, io.EOF after the peer's
// close_notify, and otherwise the end of the stream; it can come together with
// the last bytes.
func (c *Conn) Open(dst []byte) (n int, err error) {
	if c.err != nil {
		return 0, c.err
	}
	w := c.wire
	w.budget, w.dry = len(dst)-Slack, false
	for n < len(dst) {
		var k int
		k, err = c.Conn.Read(dst[n:])
		n += k
		if err != nil {
			break
		}
	}
	switch {
	case err == os.ErrDeadlineExceeded && n > 0:
		return n, nil
	case err == os.ErrDeadlineExceeded:
		return 0, w.again
	}
	c.err = err
	return n, err
}

// Pending returns what TLS itself has to send since the last call: alerts, and
// answers to key updates. It is nil nearly always. The caller owns it.
func (c *Conn) Pending() []byte {
	out := c.wire.out
	c.wire.out = nil
	return out
}

// Seal appends the records that carry b to out.
func (c *Conn) Seal(out, b []byte) ([]byte, error) {
	c.wire.out = append(out, c.wire.out...)
	_, err := c.Conn.Write(b)
	return c.Pending(), err
}

// Finish appends a close_notify to out: no more is sealed after it.
func (c *Conn) Finish(out []byte) []byte {
	c.wire.out = append(out, c.wire.out...)
	_ = c.Conn.CloseWrite() // a stream that is broken already says no farewell
	return c.Pending()
}
