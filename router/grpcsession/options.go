package grpcsession

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/internal/carry"
)

// Now stands in the metadata in place of a token that could not be had in
// time. Whoever receives it starts from now.
const Now = carry.Now

// Key is the metadata's key of tokens.
const Key = "pgroute-token"

// Options says how a session travels. The zero value is a good choice.
type Options struct {
	// EveryCall puts a token into each answer of a server, so that reads do
	// not go backwards from one call to the next either. It costs each call a
	// wait for the primary's position, one round trip that all calls of the
	// moment share. Clients always send one.
	EveryCall bool
	// Timeout bounds how long a call waits for its tokens to be checked, and
	// for its own token. 0 means 2 s, a negative value means that nothing is
	// waited for.
	Timeout time.Duration
	// Logger gets what an operator should know. nil means slog.Default().
	Logger *slog.Logger
	// Trace is told what happens.
	Trace Trace
}

// Trace is a set of functions that are told what happens, to be counted for
// instance. Each may be nil. They are called by the call's goroutine and must
// not block.
type Trace struct {
	// Untold is called when a call carries Now because there was no token to
	// be had.
	Untold func(ctx context.Context, err error)
}

// side is what the calls of one interceptor share.
type side struct {
	Options
	router  *router.Router
	carrier carry.Carrier
}

func newSide(r *router.Router, opts Options) *side {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return &side{Options: opts, router: r, carrier: carry.Carrier{Router: r, Timeout: opts.Timeout}}
}

// token returns a token of s, or Now.
func (e *side) token(ctx context.Context, s *router.Session) string {
	token, err := e.carrier.Token(ctx, s)
	if err != nil {
		e.Logger.WarnContext(ctx, "a call carries no token: whoever receives it starts from now", "error", err)
		if f := e.Trace.Untold; f != nil {
			f(ctx, err)
		}
	}
	return token
}

// answered notes in s the tokens in the metadata of answers.
func (e *side) answered(s *router.Session, answers ...metadata.MD) {
	for _, md := range answers {
		for _, token := range md.Get(Key) {
			e.carrier.Answered(s, token)
		}
	}
}
