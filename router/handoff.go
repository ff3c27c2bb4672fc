package router

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgroute/pgroute/lsn"
)

// TokenKey is the name under which Inject and Extract pass a token on: an HTTP
// header, or a key of a message's metadata.
const TokenKey = "Pgroute-Token"

// TokenError says why a token was refused. Err is lsn.ErrToken (malformed),
// ErrForeignToken, ErrUnknownTimeline or ErrFutureToken, or wraps one of them.
// Packages httpsession and grpcsession also refuse too many at once.
type TokenError struct{ Err error }

// Error returns what is wrong with the token.
func (e *TokenError) Error() string { return "invalid token: " + e.Err.Error() }

// Unwrap returns Err.
func (e *TokenError) Unwrap() error { return e.Err }

// SQLState returns 22023, as the proxy answers a bad SET pgroute.token.
func (e *TokenError) SQLState() string { return "22023" }

// Token returns a token, to be given to another session anywhere: a service, a
// job, a proxy (SET pgroute.token). Whoever accepts it sees at least all that
// the clients of s wrote, or saw through Session.Borrow, before the call. With
// s nil it covers everything that was acknowledged, or shown anywhere, before.
// It waits for an answer of the primary, one round trip if that answers. The only
// error wraps the cause of ctx.
func (r *Router) Token(ctx context.Context, s *Session) (string, error) {
	var gen uint64
	settled := false
	if s != nil && s.Join(r) {
		gen, settled = s.settled()
	}
	for {
		if !settled {
			gen = r.Ticket()
		}
		f, err := r.WaitTicket(ctx, gen)
		if err != nil {
			return "", fmt.Errorf("make a token: %w", err)
		}
		if pos := r.TokenPosition(f); pos != (lsn.Position{}) {
			return lsn.EncodeToken(pos), nil
		}
		// The era of the answer is forgotten: the primary changed meanwhile.
		settled = false
	}
}

// Accept raises the floor of s by a token that comes from anywhere: from Token,
// from SHOW pgroute.token, from a proxy's ParameterStatus. Reads of s then see
// at least what the token stands for. A token is hostile input: it is compared
// with a position of the primary that is asked for now, and refused, with a
// *TokenError, rather than waited for. One that may be news of a change of the
// primary is an exception: the servers are asked who they are, and it is refused
// when they have answered and none knows its timeline, or when ctx is done. Any
// other error wraps the cause of ctx, or says that s belongs to another router.
func (r *Router) Accept(ctx context.Context, s *Session, token string) error {
	pos, err := lsn.ParseToken(token)
	if err != nil {
		return &TokenError{Err: err}
	}
	if !s.Join(r) {
		return errors.New("accept a token: the session belongs to another router")
	}
	check := r.CheckToken(pos)
	for {
		answer, err := r.waitToken(ctx, &check)
		if err != nil {
			return fmt.Errorf("check a token: %w", err)
		}
		f, err := r.TokenFloor(pos, answer)
		switch {
		case err == nil:
			s.raiseToken(f)
			return nil
		case !errors.Is(err, ErrNoEra):
			return &TokenError{Err: err}
		case ctx.Err() != nil:
			return fmt.Errorf("check a token: %w", context.Cause(ctx))
		}
	}
}

// waitToken is AwaitToken for a caller that may block. When ctx is done, what is
// known until then has to do.
func (r *Router) waitToken(ctx context.Context, t *TokenCheck) (Floor, error) {
	var q Request
	w := make(wakeChan, 1)
	for {
		if f, ok := r.AwaitToken(&q, t, w); ok {
			return f, nil
		}
		select {
		case <-w:
		case <-ctx.Done():
			r.Cancel(&q)
			return r.WaitTicket(ctx, t.gen)
		}
	}
}

// Inject hands a token of the context's session (of everything, if it carries
// none) to set under TokenKey: put it into the headers of a message or of a
// request, after what it is about was written. If the primary does not answer
// before ctx is done, set is not called, and the error wraps the cause of ctx.
func (r *Router) Inject(ctx context.Context, set func(key, value string)) error {
	token, err := r.Token(ctx, SessionFrom(ctx))
	if err != nil {
		return err
	}
	set(TokenKey, token)
	return nil
}

// Extract is the other end of Inject: it returns a context with a new session
// that sees at least what the sender's had written and seen. get returns the
// value of a key, or nothing; without a token the session starts from nothing.
// If the token is not accepted it returns ctx as it was, and the error of Accept:
// a *TokenError if it is the token's fault.
func (r *Router) Extract(ctx context.Context, get func(key string) string) (context.Context, error) {
	s := r.NewSession()
	if token := get(TokenKey); token != "" {
		if err := r.Accept(ctx, s, token); err != nil {
			return ctx, err
		}
	}
	return WithSession(ctx, s), nil
}
