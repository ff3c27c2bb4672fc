package auth

import (
	"crypto/rand"
)

// A Mock invents verifiers for users that do not exist, so that a stranger
// cannot tell them from those that do. The same user always gets the same salt
// from the same Mock. The zero Mock is not usable; it is safe for concurrent
// use.
type Mock struct {
	secret [keyLen]byte
}

// NewMock takes a fresh secret from the system. One process needs one Mock:
// two would give one user two salts.
func NewMock() *Mock {
	m := new(Mock)
	_, _ = rand.Read(m.secret[:]) // crypto/rand does not fail
	return m
}

// Verifier returns a verifier that fits no password. Its salt is as long and
// its iteration count as high as PostgreSQL's own by default.
func (m *Mock) Verifier(user string) Verifier {
	var salt [keyLen]byte
	mac(&salt, m.secret[:], []byte("salt"), []byte(user))
	v := Verifier{Iterations: defaultIterations, Salt: salt[:16]}
	mac(&v.StoredKey, m.secret[:], []byte("stored"), []byte(user))
	mac(&v.ServerKey, m.secret[:], []byte("server"), []byte(user))
	return v
}
