package silence

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// plenty is how much a server is sent without an answer before it counts as one
// that may have stopped to take more: less fits into any receive buffer.
const plenty = 32 << 10

// Bound lifts the bound on what was sent on a connection of a Dialer while the
// server may not take it. A server that works on what it was sent first, or waits
// for a lock, takes no more once its buffer is full. Its kernel says so again and
// again, which is not silence; but to ours it is (tcp_probe_timer in Linux). So
// there is no such bound when much was sent, until all of it has arrived.
type Bound struct {
	sent   int // since something was received
	lifted bool
}

// Sends notes that n bytes are sent on the connection with the descriptor fd.
func (b *Bound) Sends(fd uintptr, n int) {
	if b.sends(n) {
		lift(fd)
	}
}

// sends reports whether the bound is to be lifted.
func (b *Bound) sends(n int) bool {
	b.sent += n
	if b.sent <= plenty || b.lifted {
		return false
	}
	b.lifted = true
	return true
}

// Received notes that something was received there.
func (b *Bound) Received(fd uintptr) {
	if b.sent = 0; b.lifted {
		b.lifted = !settle(fd)
	}
}

// Dial is DialContext of a Dialer, with a Bound.
func Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := Dialer().DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s, ok := c.(*net.TCPConn)
	if !ok {
		return c, nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return &conn{Conn: c, raw: raw}, nil
}

// conn is a connection with a Bound.
type conn struct {
	net.Conn
	raw syscall.RawConn

	mu    sync.Mutex // guards the field below
	bound Bound
}

// SyscallConn implements syscall.Conn.
func (c *conn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	if c.bound.sends(len(b)) {
		_ = c.raw.Control(lift) // if it is closed, Write says so
	}
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.mu.Lock()
		if c.bound.sent = 0; c.bound.lifted {
			_ = c.raw.Control(c.bound.Received)
		}
		c.mu.Unlock()
	}
	return n, err
}
