package grpcsession

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/pgroute/pgroute/router"
)

// UnaryServer returns an interceptor that gives each call a session of router
// r in its context, raised by the call's tokens, and each answer a token of
// what the call wrote.
func UnaryServer(r *router.Router, opts Options) grpc.UnaryServerInterceptor {
	return newSide(r, opts).unaryServer
}

// StreamServer is UnaryServer for streams.
func StreamServer(r *router.Router, opts Options) grpc.StreamServerInterceptor {
	return newSide(r, opts).streamServer
}

// begin returns a context with a session that begins at the call's tokens.
func (e *side) begin(ctx context.Context) (context.Context, *router.Session, error) {
	s := e.router.NewSession()
	if err := e.carrier.Accept(ctx, s, metadata.ValueFromIncomingContext(ctx, Key)...); err != nil {
		return ctx, nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return router.WithSession(ctx, s), s, nil
}

func (e *side) unaryServer(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	ctx, s, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := next(ctx, req)
	// A start from now counts, too: a write may have shared its ticket.
	if e.EveryCall || s.Ticket() != 0 {
		// It can only fail for a context that is not that of a call.
		_ = grpc.SetTrailer(ctx, metadata.Pairs(Key, e.token(ctx, s)))
	}
	return resp, err
}

func (e *side) streamServer(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx, s, err := e.begin(ss.Context())
	if err != nil {
		return err
	}
	w := &serverStream{ServerStream: ss, side: e, ctx: ctx, session: s}
	err = next(srv, w)
	if e.EveryCall || s.Ticket() != w.told.Load() {
		ss.SetTrailer(metadata.Pairs(Key, e.token(ctx, s)))
	}
	return err
}

// serverStream is a stream whose header carries a token if something was
// written before it leaves.
type serverStream struct {
	grpc.ServerStream
	side    *side
	ctx     context.Context
	session *router.Session
	// left: the header is on its way. told is the session's ticket that it told
	// of, 0 if it did not.
	left atomic.Bool
	told atomic.Uint64
}

// Context returns the stream's context, with the session.
func (w *serverStream) Context() context.Context { return w.ctx }

// SendHeader sends the header.
func (w *serverStream) SendHeader(md metadata.MD) error {
	w.leave()
	return w.ServerStream.SendHeader(md)
}

// SendMsg sends a message.
func (w *serverStream) SendMsg(m any) error {
	w.leave()
	return w.ServerStream.SendMsg(m)
}

// leave is called before the header leaves, and then does nothing any more.
func (w *serverStream) leave() {
	if w.left.Swap(true) {
		return
	}
	gen := w.session.Ticket()
	if gen == 0 {
		return
	}
	if err := w.SetHeader(metadata.Pairs(Key, w.side.token(w.ctx, w.session))); err == nil {
		w.told.Store(gen)
	}
}
