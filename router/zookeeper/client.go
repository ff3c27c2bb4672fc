package zookeeper

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// Sizes of go-zookeeper's buffers. ZooKeeper itself refuses packets beyond
// 1 MiB (jute.maxbuffer), and what we send is small; renewing the watches after
// a reconnect takes 128 KiB at a time.
const (
	maxReceived = 1 << 20
	sendBuffer  = 160 << 10
)

// dialTimeout bounds one attempt to reach one server.
const dialTimeout = 2 * time.Second

// client is one go-zookeeper connection that ends for certain: close returns
// only after all its goroutines did.
type client struct {
	*zk.Conn
	hosts   *hosts
	tls     *tls.Config // nil for plain TCP
	log     *slog.Logger
	dials   context.Context // ended by stop; go-zookeeper's dialer has no context
	stop    context.CancelFunc
	drained chan struct{} // closed when the event channel was
	once    sync.Once     // guards close

	mu   sync.Mutex // guards the fields below
	conn net.Conn   // the present socket
	told string     // the last failure of TLS that was logged
}

// connect starts a client. It returns before there is a connection, which
// go-zookeeper then makes and remakes. onEvent is called for every event, by
// go-zookeeper's goroutines, and must not block.
func connect(ctx context.Context, servers []string, cfg *Config, onEvent func(zk.Event)) (*client, error) {
	c := &client{drained: make(chan struct{}), tls: cfg.TLS, log: cfg.Logger}
	c.dials, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	c.hosts = &hosts{ended: c.dials.Done()}
	conn, events, err := zk.Connect(servers, cfg.SessionTimeout,
		zk.WithDialer(func(network, address string, _ time.Duration) (net.Conn, error) {
			return c.dial(network, address, cfg.SessionTimeout)
		}),
		zk.WithHostProvider(c.hosts),
		zk.WithEventCallback(onEvent),
		zk.WithLogger(quietLogger{cfg.Logger}),
		zk.WithLogInfo(false),
		zk.WithMaxBufferSize(maxReceived),
		zk.WithMaxConnBufferSize(sendBuffer),
	)
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("start the ZooKeeper client: %w", err)
	}
	c.Conn = conn
	// Ends when go-zookeeper closes the channel, as the last thing it does;
	// close waits for it.
	go c.drainLoop(events)
	return c, nil
}

// drainLoop empties the event channel, so that go-zookeeper never finds it
// full. The events themselves come through the callback, which loses none.
func (c *client) drainLoop(events <-chan zk.Event) {
	defer close(c.drained)
	for range events {
	}
}

// dial is go-zookeeper's dialer. go-zookeeper forgets to close the socket of
// an expired session, so the one before is closed here.
func (c *client) dial(network, address string, limit time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(c.dials, network, address)
	if err != nil {
		return nil, err
	}
	if c.tls != nil {
		if conn, err = c.encrypt(conn, address); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.Close()
	}
	c.conn = newGuardedConn(conn, limit)
	if c.dials.Err() != nil { // close came while we dialled
		_ = c.conn.Close()
	}
	return c.conn, nil
}

// encrypt speaks TLS on a new connection, which it closes if it cannot.
func (c *client) encrypt(conn net.Conn, address string) (net.Conn, error) {
	cfg := c.tls
	if cfg.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		cfg = cfg.Clone()
		cfg.ServerName = host
	}
	ctx, cancel := context.WithTimeout(c.dials, dialTimeout)
	defer cancel()
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		c.tellTLS(address, err)
		return nil, fmt.Errorf("TLS with %s: %w", address, err)
	}
	return secure, nil
}

// tellTLS tells once for each kind of failure: go-zookeeper keeps what its
// dialer says to itself.
func (c *client) tellTLS(address string, err error) {
	c.mu.Lock()
	told := c.told == err.Error()
	c.told = err.Error()
	c.mu.Unlock()
	if !told && c.dials.Err() == nil {
		c.log.Warn("TLS with ZooKeeper failed", slog.String("server", address), slog.Any("error", err))
	}
}

// close ends the session, politely if the server answers within a second, and
// waits for the client's goroutines. It may be called more than once; every
// call returns after the end.
func (c *client) close() {
	c.once.Do(func() {
		c.Conn.Close()
		c.stop()
		c.mu.Lock()
		if c.conn != nil {
			_ = c.conn.Close()
		}
		c.mu.Unlock()
		<-c.drained
	})
}

// hosts gives go-zookeeper the servers by turns. Unlike the library's own it
// leaves names to the dialer, so that a DNS that is down, or that changes its
// mind, is no end.
type hosts struct {
	ended <-chan struct{}

	mu      sync.Mutex // guards the fields below
	servers []string
	next    int
	tried   int // since the last success, or the start
	success time.Time
}

// Init implements zk.HostProvider.
func (h *hosts) Init(servers []string) error {
	if len(servers) == 0 {
		return errors.New("no ZooKeeper servers")
	}
	h.servers = servers
	return nil
}

// Len implements zk.HostProvider.
func (h *hosts) Len() int { return len(h.servers) }

// Next implements zk.HostProvider. A true retryStart makes go-zookeeper fail
// what is queued, pause for a second, and look whether it was closed.
func (h *hosts) Next() (server string, retryStart bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	server = h.servers[h.next]
	h.next = (h.next + 1) % len(h.servers)
	retryStart = h.tried > 0 && h.tried%len(h.servers) == 0
	h.tried++
	select {
	case <-h.ended:
		retryStart = true
	default:
	}
	return server, retryStart
}

// Connected implements zk.HostProvider. A server that welcomes us and hangs up
// again and again does not count as a success, so that it is not asked without
// a pause.
func (h *hosts) Connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); now.Sub(h.success) > time.Second {
		h.success, h.tried = now, 0
	}
}

// quietLogger sends go-zookeeper's chatter to slog. What matters of it
// is said by Source once, in its own words.
type quietLogger struct{ log *slog.Logger }

// Printf implements zk.Logger.
func (l quietLogger) Printf(format string, args ...any) {
	l.log.Debug("go-zookeeper: " + fmt.Sprintf(format, args...))
}
