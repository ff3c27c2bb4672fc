package grpcsession

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/pgroute/pgroute/router"
)

// UnaryClient returns an interceptor that carries the session of a call's
// context to the service it calls, and takes back what that did. The session
// then also counts as having written, so that the caller's own answer carries
// a token. Use it only towards services of the same cluster: others refuse the
// token.
func UnaryClient(r *router.Router, opts Options) grpc.UnaryClientInterceptor {
	return newSide(r, opts).unaryClient
}

// StreamClient is UnaryClient for streams. The session sees what the stream
// did when its first message has come, and when it has ended.
func StreamClient(r *router.Router, opts Options) grpc.StreamClientInterceptor {
	return newSide(r, opts).streamClient
}

// outgoing returns a context with a token of s in its outgoing metadata.
func (e *side) outgoing(ctx context.Context, s *router.Session) context.Context {
	if md, ok := metadata.FromOutgoingContext(ctx); ok && len(md.Get(Key)) > 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, Key, e.token(ctx, s))
}

func (e *side) unaryClient(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	s := router.SessionFrom(ctx)
	if s == nil {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	var header, trailer metadata.MD
	opts = append(opts[:len(opts):len(opts)], grpc.Header(&header), grpc.Trailer(&trailer))
	err := invoke(e.outgoing(ctx, s), method, req, reply, cc, opts...)
	e.answered(s, header, trailer)
	return err
}

func (e *side) streamClient(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s := router.SessionFrom(ctx)
	if s == nil {
		return stream(ctx, desc, cc, method, opts...)
	}
	cs, err := stream(e.outgoing(ctx, s), desc, cc, method, opts...)
	if err != nil {
		return nil, err
	}
	return &clientStream{ClientStream: cs, side: e, session: s, single: !desc.ServerStreams}, nil
}

// clientStream is a stream whose answers raise a session.
type clientStream struct {
	grpc.ClientStream
	side    *side
	session *router.Session
	// single: the server sends one message, and the trailer comes with it.
	single bool
	headed atomic.Bool
}

// RecvMsg receives a message.
func (c *clientStream) RecvMsg(m any) error {
	err := c.ClientStream.RecvMsg(m)
	if !c.headed.Swap(true) {
		// It does not wait: the header came before the message or the end.
		if md, e := c.Header(); e == nil {
			c.side.answered(c.session, md)
		}
	}
	if err != nil || c.single {
		c.side.answered(c.session, c.Trailer())
	}
	return err
}
