package router

import "context"

// sessionKey is the key of a context's session.
type sessionKey struct{}

// WithSession returns a context that carries s. Whoever reads and writes with
// it through package pgxdb does so as a client of s, unless s belongs to the
// router of another cluster.
func WithSession(ctx context.Context, s *Session) context.Context {
	return context.WithValue(ctx, sessionKey{}, s)
}

// SessionFrom returns the session that ctx carries, nil if it carries none.
func SessionFrom(ctx context.Context) *Session {
	s, _ := ctx.Value(sessionKey{}).(*Session)
	return s
}
