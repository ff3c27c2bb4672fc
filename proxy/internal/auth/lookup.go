package auth

import (
	"context"
)

// A Lookup knows the secrets that PostgreSQL stores for its users.
type Lookup interface {
	// Verifier returns pg_authid.rolpassword of user. It is empty when there
	// is no such user, or one without a password that is valid now. An error
	// means that nobody could be asked; it says nothing about the user.
	Verifier(ctx context.Context, user string) (string, error)
	// Forget says that a login with the last answer for user failed.
	Forget(user string)
}

// LookupFunc is a Lookup that remembers nothing.
type LookupFunc func(ctx context.Context, user string) (string, error)

// Verifier calls f.
func (f LookupFunc) Verifier(ctx context.Context, user string) (string, error) { return f(ctx, user) }

// Forget does nothing.
func (LookupFunc) Forget(string) {}
