package zookeeper

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// Lengths of what a server may send. The answer to the connect request has 36
// bytes, or 37 with the read-only flag of ZooKeeper 3.4; every later frame
// begins with a header of 16 (ConnectResponse and ReplyHeader in
// zookeeper.jute).
const (
	minGreeting = 36
	maxGreeting = 64
	minFrame    = 16
)

// minGranted is the shortest session timeout in a greeting that is believed.
const minGranted = 10 * time.Millisecond

// guardedConn stands between go-zookeeper and a socket. The library believes
// whatever a server says: on a port where something else answers it would
// reserve gigabytes for a length that is none, or panic over a frame that is
// too short or a session timeout of zero. And it waits almost seven session
// timeouts for a server that accepts and is silent, or forever for one that
// stops within its greeting.
type guardedConn struct {
	net.Conn
	limit   time.Duration // of every read and write
	greeted bool
	pending []byte // checked and not handed on yet
	left    int    // of the present frame, after pending
	header  [4]byte
}

func newGuardedConn(conn net.Conn, limit time.Duration) *guardedConn {
	return &guardedConn{Conn: conn, limit: limit}
}

// Read hands on what has been checked.
func (c *guardedConn) Read(p []byte) (int, error) {
	if len(c.pending) == 0 && c.left == 0 {
		check := c.frame
		if !c.greeted {
			check = c.greeting
		}
		if err := check(); err != nil {
			return 0, err
		}
	}
	if len(c.pending) > 0 {
		n := copy(p, c.pending)
		c.pending = c.pending[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// length reads the length of a frame.
func (c *guardedConn) length(least, most int) (int, error) {
	if _, err := io.ReadFull(c.Conn, c.header[:]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(c.header[:])
	if n < uint32(least) || n > uint32(most) {
		return 0, fmt.Errorf("not ZooKeeper's protocol: a frame of %d bytes", n)
	}
	return int(n), nil
}

func (c *guardedConn) frame() error {
	n, err := c.length(minFrame, maxReceived)
	if err != nil {
		return err
	}
	c.pending, c.left = c.header[:], n
	return nil
}

// greeting reads the whole answer to the connect request and checks what
// go-zookeeper takes from it: the timeout, the session and the length of the
// password.
func (c *guardedConn) greeting() error {
	n, err := c.length(minGreeting, maxGreeting)
	if err != nil {
		return err
	}
	frame := make([]byte, 4+n)
	copy(frame, c.header[:])
	body := frame[4:]
	if _, err := io.ReadFull(c.Conn, body); err != nil {
		return err
	}
	granted := time.Duration(int32(binary.BigEndian.Uint32(body[4:]))) * time.Millisecond
	session := binary.BigEndian.Uint64(body[8:])
	password := int64(binary.BigEndian.Uint32(body[16:]))
	switch {
	case session != 0 && granted < minGranted: // 0 with session 0 says that the session has expired
		return fmt.Errorf("not ZooKeeper's protocol: a session timeout of %s", granted)
	case password > int64(n-20):
		return fmt.Errorf("not ZooKeeper's protocol: a password of %d bytes", password)
	}
	c.greeted, c.pending = true, frame
	return nil
}

func (c *guardedConn) cap(t time.Time) time.Time {
	if latest := time.Now().Add(c.limit); t.IsZero() || t.After(latest) {
		return latest
	}
	return t
}

// SetReadDeadline allows no read to wait longer than the limit.
func (c *guardedConn) SetReadDeadline(t time.Time) error { return c.Conn.SetReadDeadline(c.cap(t)) }

// SetWriteDeadline allows no write to wait longer than the limit.
func (c *guardedConn) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(c.cap(t)) }
