package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
)

// Keys are what a successful login of a client leaves us with: enough to log
// in as that user on every server that stores the same verifier. They change
// with the password, and a server that does not know the new ones yet answers
// 28P01.
type Keys struct {
	ClientKey [keyLen]byte
	StoredKey [keyLen]byte
	ServerKey [keyLen]byte
}

// Zero overwrites the keys. A login that still uses them fails afterwards.
func (k *Keys) Zero() {
	clear(k.ClientKey[:])
	clear(k.StoredKey[:])
	clear(k.ServerKey[:])
}

// Equal reports in constant time whether both hold the same keys, that is,
// whether they come from the same password of the same user.
func (k *Keys) Equal(other *Keys) bool {
	if k == nil || other == nil {
		return k == other
	}
	return subtle.ConstantTimeCompare(k.ClientKey[:], other.ClientKey[:])&
		subtle.ConstantTimeCompare(k.ServerKey[:], other.ServerKey[:]) == 1
}

// String hides the keys from logs.
func (Keys) String() string { return "SCRAM keys" }

// GoString hides the keys from %#v.
func (Keys) GoString() string { return "auth.Keys{}" }

// mac is HMAC-SHA-256 over the concatenation of parts.
func mac(dst *[keyLen]byte, key []byte, parts ...[]byte) {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(dst[:0])
}
