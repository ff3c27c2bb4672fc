package proxy

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/auth"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
	"github.com/pgroute/pgroute/router"
)

// streams are the replication connections, physical and logical ones. Each has
// a connection of its own to the primary and is passed on as it is, byte by
// byte: nothing in it can be routed, shared or read again.
type streams struct {
	mu  sync.Mutex // guards the field below
	all map[*stream]struct{}
}

// stream is one replication connection. Its goroutine is that of its login.
type stream struct {
	client net.Conn
	hello  *backend.Hello
	target backend.Target
}

// replicate serves a client that wants to replicate until either side ends it,
// ctx is done, or its server is the primary no more. It owns conn.
func (s *Server) replicate(ctx context.Context, conn net.Conn, st *handshake.Startup, keys *auth.Keys) error {
	node, era, err := s.awaitPrimary(ctx)
	if err != nil {
		return err
	}
	t := stream{client: conn, target: backend.Target{Host: node.Host, Port: node.Port, Security: s.security}}
	cred := backend.Credentials{User: st.User, Keys: keys, Replication: st.Replication}
	if t.hello, err = s.enter(ctx, t.target, cred, st); err != nil {
		return err
	}
	defer t.hello.Conn.Close()
	s.streams.add(&t)
	defer s.streams.remove(&t)
	if err := handshake.Welcome(conn, t.hello.Params, t.hello.PID, t.hello.Secret); err != nil {
		conn.Close()
		return nil // it has left
	}
	t.run(ctx, s.router, era)
	return nil
}

// awaitPrimary waits for a primary, as long as a statement would, and returns
// it with its era.
func (s *Server) awaitPrimary(ctx context.Context) (*router.Node, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Load().PrimaryWait)
	defer cancel()
	_ = s.router.WaitTopology(ctx, func(t *router.Topology) bool { return t.Primary != nil && t.Leads(time.Now()) })
	era := s.router.Topology().Era()
	node, _, err := s.router.Primary()
	if err != nil {
		return nil, 0, fromRouter(err)
	}
	return node, era, nil
}

// enter logs in to the primary as the client.
func (s *Server) enter(ctx context.Context, t backend.Target, cred backend.Credentials, st *handshake.Startup) (*backend.Hello, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	h, err := backend.Dial(ctx, t, cred, st.Database, st.Params)
	if err == nil {
		return h, nil
	}
	err = fromServer(err)
	if _, ok := errors.AsType[*clientError](err); !ok {
		err = &clientError{Code: sqlstate.ConnectionFailure, Message: "pgroute cannot reach the primary", Detail: err.Error()}
	}
	return nil, err
}

// run passes bytes on, both ways, until it is over.
func (t *stream) run(ctx context.Context, r *router.Router, era uint64) {
	ended := make(chan struct{}, 2)
	var copies sync.WaitGroup
	copies.Go(func() { t.copyLoop(t.hello.Conn, t.client, ended) })
	copies.Go(func() { t.copyLoop(t.client, t.hello.Conn, ended) })
	t.await(ctx, r, era, ended)
	t.close()
	copies.Wait()
}

// await returns when one side has ended, ctx is done, or another server, or
// another life of it, is the primary.
func (t *stream) await(ctx context.Context, r *router.Router, era uint64, ended <-chan struct{}) {
	for {
		topology := r.Topology()
		if topology.Era() != era {
			return
		}
		select {
		case <-ended:
			return
		case <-topology.Changed():
		case <-ctx.Done():
			return
		}
	}
}

// copyLoop passes on what one side sends.
func (t *stream) copyLoop(to, from net.Conn, ended chan<- struct{}) {
	_, _ = io.Copy(to, from)
	ended <- struct{}{}
}

// close ends both sides.
func (t *stream) close() {
	_ = t.client.Close()
	_ = t.hello.Conn.Close()
}

// cancel asks the server to cancel what the stream runs.
func (t *stream) cancel(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_ = backend.Cancel(ctx, t.target, t.hello.PID, t.hello.Secret) // nobody waits to be told
}

func (s *streams) add(t *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[*stream]struct{})
	}
	s.all[t] = struct{}{}
}

func (s *streams) remove(t *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, t)
}

// find returns the stream that was given this cancel key, nil if none was.
func (s *streams) find(pid uint32, secret []byte) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.all {
		if t.hello.PID == pid && subtle.ConstantTimeCompare(t.hello.Secret, secret) == 1 {
			return t
		}
	}
	return nil
}
