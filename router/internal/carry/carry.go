// Package carry takes tokens in and gives them out, within a bound: what the
// middlewares of several protocols have in common.
package carry

import (
	"context"
	"errors"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// Now stands where a token would, when none could be had in time. Whoever
// receives it starts from now: a ticket that is taken after its arrival covers
// everything that was acknowledged before, and so whatever the token would
// have stood for.
const Now = "now"

const (
	defaultTimeout = 2 * time.Second
	// maxTokens is how many tokens one request may bring. Each costs an answer
	// of the primary, which requests share.
	maxTokens = 8
)

var errTooMany = errors.New("too many tokens")

// Carrier carries tokens of one router.
type Carrier struct {
	Router *router.Router
	// Timeout bounds each wait for the primary. 0 means 2 s, a negative value
	// means that there is no wait.
	Timeout time.Duration
}

func (c Carrier) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.Timeout == 0 {
		return context.WithTimeout(ctx, defaultTimeout)
	}
	return context.WithTimeout(ctx, c.Timeout)
}

// Accept raises s by tokens. It returns an error, a *router.TokenError, only
// for a token that is bad in itself. If the primary does not answer in time, s
// starts from now, which covers every token that is not.
func (c Carrier) Accept(ctx context.Context, s *router.Session, tokens ...string) error {
	if len(tokens) > maxTokens {
		return &router.TokenError{Err: errTooMany}
	}
	ctx, cancel := c.bound(ctx)
	defer cancel()
	for i, token := range tokens {
		if i > 0 && token == tokens[i-1] {
			continue // a client that sends header and cookie
		}
		if err := c.accept(ctx, s, token); err != nil {
			return err
		}
	}
	return nil
}

func (c Carrier) accept(ctx context.Context, s *router.Session, token string) error {
	if token == Now {
		s.Wrote(c.Router)
		return nil
	}
	for {
		changed := c.Router.Topology().Changed()
		err := c.Router.Accept(ctx, s, token)
		if bad := (*router.TokenError)(nil); err != nil && !errors.As(err, &bad) {
			s.Wrote(c.Router)
			return nil
		}
		if !errors.Is(err, router.ErrUnknownTimeline) {
			return err
		}
		// After a failover the sender may know the new primary a moment before
		// this router does.
		select {
		case <-changed:
		case <-ctx.Done():
			return err
		}
	}
}

// Token returns a token of s. If it cannot be had in time, it returns Now and
// an error that says why.
func (c Carrier) Token(ctx context.Context, s *router.Session) (string, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	token, err := c.Router.Token(ctx, s)
	if err != nil {
		return Now, err
	}
	return token, nil
}

// Answered notes in s that another service has answered with a token: s then
// sees at least what that service did, and counts as having written. This
// takes a ticket, which covers the token, and waits for nothing. What is not a
// token is ignored.
func (c Carrier) Answered(s *router.Session, token string) {
	if token != Now {
		if _, err := lsn.ParseToken(token); err != nil {
			return
		}
	}
	s.Wrote(c.Router)
}
