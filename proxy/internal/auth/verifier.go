package auth

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	keyLen = sha256.Size
	// maxIterations is the largest count that PostgreSQL can store: the GUC
	// scram_iterations is an int32.
	maxIterations = 1<<31 - 1
	// maxSalt bounds a salt. PostgreSQL makes 16 bytes.
	maxSalt = 1 << 10
	// defaultIterations is PostgreSQL's SCRAM_SHA_256_DEFAULT_ITERATIONS.
	defaultIterations = 4096
)

// A Verifier is what PostgreSQL stores instead of a password: enough to check
// a client's proof, not enough to log in.
type Verifier struct {
	Iterations int
	Salt       []byte
	StoredKey  [keyLen]byte
	ServerKey  [keyLen]byte
}

// errVerifier carries nothing of the secret, so that it may be logged.
var errVerifier = errors.New("not a SCRAM-SHA-256 verifier")

// ParseVerifier parses a secret of pg_authid.rolpassword,
//
//	SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>
//
// It accepts only what PostgreSQL itself writes: a decimal count without sign
// or leading zero, and padded base64 without white space. The error never
// quotes the secret.
func ParseVerifier(secret string) (Verifier, error) {
	var v Verifier
	rest, ok := strings.CutPrefix(secret, "SCRAM-SHA-256$")
	if !ok {
		return Verifier{}, errVerifier
	}
	iterations, rest, ok1 := strings.Cut(rest, ":")
	salt, rest, ok2 := strings.Cut(rest, "$")
	stored, server, ok3 := strings.Cut(rest, ":")
	if !ok1 || !ok2 || !ok3 {
		return Verifier{}, errVerifier
	}
	var err error
	if v.Iterations, err = parseIterations(iterations); err != nil {
		return Verifier{}, fmt.Errorf("%w: %w", errVerifier, err)
	}
	if base64.StdEncoding.DecodedLen(len(salt)) > maxSalt {
		return Verifier{}, fmt.Errorf("%w: salt too long", errVerifier)
	}
	if v.Salt, err = decodeBase64(salt); err != nil || len(v.Salt) == 0 {
		return Verifier{}, fmt.Errorf("%w: malformed salt", errVerifier)
	}
	if !decodeKey(v.StoredKey[:], stored) {
		return Verifier{}, fmt.Errorf("%w: malformed StoredKey", errVerifier)
	}
	if !decodeKey(v.ServerKey[:], server) {
		return Verifier{}, fmt.Errorf("%w: malformed ServerKey", errVerifier)
	}
	return v, nil
}

// NewVerifier derives the verifier of a password, as ALTER ROLE … PASSWORD
// does. The password must be ASCII or already normalised by SASLprep.
func NewVerifier(password string, salt []byte, iterations int) (Verifier, error) {
	keys, err := deriveKeys(password, salt, iterations)
	if err != nil {
		return Verifier{}, err
	}
	return Verifier{
		Iterations: iterations,
		Salt:       append([]byte(nil), salt...),
		StoredKey:  keys.StoredKey,
		ServerKey:  keys.ServerKey,
	}, nil
}

// Secret is the inverse of ParseVerifier. It is named so because that is what
// it returns: whoever has it can impersonate the server.
func (v Verifier) Secret() string {
	enc := base64.StdEncoding
	return "SCRAM-SHA-256$" + strconv.Itoa(v.Iterations) + ":" + enc.EncodeToString(v.Salt) +
		"$" + enc.EncodeToString(v.StoredKey[:]) + ":" + enc.EncodeToString(v.ServerKey[:])
}

// String hides the keys from logs.
func (Verifier) String() string { return "SCRAM-SHA-256 verifier" }

// GoString hides the keys from %#v.
func (Verifier) GoString() string { return "auth.Verifier{}" }

// deriveKeys does the expensive part of SCRAM.
func deriveKeys(password string, salt []byte, iterations int) (*Keys, error) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, keyLen)
	if err != nil {
		return nil, fmt.Errorf("derive SCRAM keys: %w", err)
	}
	k := new(Keys)
	mac(&k.ClientKey, salted, []byte("Client Key"))
	mac(&k.ServerKey, salted, []byte("Server Key"))
	k.StoredKey = sha256.Sum256(k.ClientKey[:])
	clear(salted)
	return k, nil
}

// parseIterations parses a positive int32 in its shortest decimal form.
func parseIterations(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 1 || s[0] < '1' || s[0] > '9' {
		return 0, errors.New("malformed iteration count")
	}
	return int(n), nil
}

// decodeBase64 is stricter than encoding/base64, which skips line ends.
func decodeBase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line end in base64")
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}

// decodeKey decodes exactly len(dst) bytes.
func decodeKey(dst []byte, s string) bool {
	if len(s) != base64.StdEncoding.EncodedLen(len(dst)) {
		return false
	}
	b, err := decodeBase64(s)
	if err != nil || len(b) != len(dst) {
		return false
	}
	copy(dst, b)
	clear(b)
	return true
}
