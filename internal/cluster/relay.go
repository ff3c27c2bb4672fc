package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A Relay stands between a client and a server and makes the way longer: each
// byte arrives a fixed time after it was sent, in both directions, and bytes
// that were sent after one another travel at the same time, as on a long wire.
type Relay struct {
	target   string
	listener net.Listener
	delay    atomic.Int64 // of one direction, in nanoseconds
	conns    sync.WaitGroup
	done     chan struct{} // closed by Close

	mu     sync.Mutex            // guards the fields below
	healed chan struct{}         // closed unless the relay is cut
	open   map[net.Conn]struct{} // nil after Close
}

const (
	relayChunk = 32 << 10
	// relayQueue bounds the chunks on their way in one direction; a sender who
	// is faster is held back, as by a full window.
	relayQueue  = 512
	dialTimeout = time.Minute
)

// NewRelay starts a relay to the address target with a delay in each
// direction: the round trip is longer by twice that. The caller must Close it.
func NewRelay(target string, delay time.Duration) (*Relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a relay: %w", err)
	}
	r := &Relay{target: target, listener: l, done: make(chan struct{}), healed: make(chan struct{}), open: map[net.Conn]struct{}{}}
	close(r.healed)
	r.SetDelay(delay)
	r.conns.Add(1)
	// Ends when Close closes the listener; Close waits for it.
	go r.acceptLoop()
	return r, nil
}

// Addr is where the relay listens, HOST:PORT.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Port is the port in Addr.
func (r *Relay) Port() int { return r.listener.Addr().(*net.TCPAddr).Port }

// SetDelay changes the delay of what is sent from now on.
func (r *Relay) SetDelay(d time.Duration) { r.delay.Store(int64(d)) }

// Cut makes the way silent: connections stay open, new ones are accepted, and
// nothing arrives at either end until Heal. Nothing is lost, as TCP would send
// it again.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if isClosed(r.healed) {
		r.healed = make(chan struct{})
	}
}

// Heal undoes Cut.
func (r *Relay) Heal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !isClosed(r.healed) {
		close(r.healed)
	}
}

// Drop breaks all present connections, as a server that reboots does: both
// ends get a reset.
func (r *Relay) Drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for conn := range r.open {
		reset(conn)
	}
}

// Close ends the relay and breaks its connections. It may be called more than
// once.
func (r *Relay) Close() error {
	r.mu.Lock()
	if r.open == nil {
		r.mu.Unlock()
		return nil
	}
	for conn := range r.open {
		reset(conn)
	}
	r.open = nil
	close(r.done)
	r.mu.Unlock()
	err := r.listener.Close()
	r.conns.Wait()
	return err
}

func (r *Relay) acceptLoop() {
	defer r.conns.Done()
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.conns.Add(1)
		// Ends with the connection; Close breaks it and waits.
		go r.serve(client)
	}
}

// serve owns client and the connection to the target.
func (r *Relay) serve(client net.Conn) {
	defer r.conns.Done()
	defer client.Close()
	if !r.keep(client) {
		return
	}
	defer r.leave(client)
	if !r.waitHealed() {
		return
	}
	server, err := net.DialTimeout("tcp", r.target, dialTimeout)
	if err != nil {
		reset(client)
		return
	}
	defer server.Close()
	if !r.keep(server) {
		return
	}
	defer r.leave(server)
	var ways sync.WaitGroup
	ways.Add(2)
	go r.way(&ways, server, client)
	go r.way(&ways, client, server)
	ways.Wait()
}

// keep makes conn known to Drop and Close; false if the relay is closed.
func (r *Relay) keep(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		return false
	}
	r.open[conn] = struct{}{}
	return true
}

func (r *Relay) leave(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, conn)
}

// chunk is what one read returned; data is nil at the end of the stream.
type chunk struct {
	due  time.Time
	data []byte
}

// way carries one direction: it reads, and deliverLoop writes when the time
// has come.
func (r *Relay) way(ways *sync.WaitGroup, dst, src net.Conn) {
	defer ways.Done()
	queue := make(chan chunk, relayQueue)
	delivered := make(chan struct{})
	// Ends after the last chunk, which has no data; waited for below.
	go r.deliverLoop(dst, src, queue, delivered)
	buf := make([]byte, relayChunk)
	for {
		n, err := src.Read(buf)
		due := time.Now().Add(time.Duration(r.delay.Load()))
		if n > 0 {
			queue <- chunk{due, bytes.Clone(buf[:n])}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				reset(dst)
			}
			queue <- chunk{due: due}
			break
		}
	}
	<-delivered
}

// deliverLoop writes each chunk when it is due. After a failure it breaks both
// connections and empties the queue, so that the reader never waits for it.
func (r *Relay) deliverLoop(dst, src net.Conn, queue <-chan chunk, delivered chan<- struct{}) {
	defer close(delivered)
	timer := time.NewTimer(0)
	defer timer.Stop()
	failed := false
	for {
		c := <-queue
		if !failed && r.deliver(dst, c, timer) != nil {
			failed = true
			reset(dst)
			reset(src)
		}
		if c.data == nil {
			return
		}
	}
}

func (r *Relay) deliver(dst net.Conn, c chunk, timer *time.Timer) error {
	if wait := time.Until(c.due); wait > 0 {
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-r.done:
			return os.ErrClosed
		}
	}
	if !r.waitHealed() {
		return os.ErrClosed
	}
	if c.data == nil {
		if half, ok := dst.(*net.TCPConn); ok {
			return half.CloseWrite()
		}
		return dst.Close()
	}
	_, err := dst.Write(c.data)
	return err
}

// waitHealed waits while the relay is cut; false if it was closed.
func (r *Relay) waitHealed() bool {
	r.mu.Lock()
	healed := r.healed
	r.mu.Unlock()
	select {
	case <-healed:
		return true
	case <-r.done:
		return false
	}
}

// reset closes conn so that the peer gets an RST, whatever is still queued.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
