package auth

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/pgroute/pgroute/internal/sqlstate"
)

// rawNonceLen is PostgreSQL's SCRAM_RAW_NONCE_LEN.
const rawNonceLen = 18

// A MessageError says what is wrong with a SCRAM message, in PostgreSQL's
// words, so that a client sees what it would see on a direct connection.
type MessageError struct {
	Code    string
	Message string
	Detail  string
}

func (e *MessageError) Error() string {
	if e.Detail == "" {
		return e.Message
	}
	return e.Message + ": " + e.Detail
}

// SQLState returns the error's code.
func (e *MessageError) SQLState() string { return e.Code }

func malformed(format string, args ...any) error {
	return &MessageError{Code: sqlstate.ProtocolViolation, Message: "malformed SCRAM message", Detail: fmt.Sprintf(format, args...)}
}

func unsupported(message string) error {
	return &MessageError{Code: sqlstate.FeatureNotSupported, Message: message}
}

// attr cuts "x=value" off the front of a message (RFC 5802, section 5.1) and
// returns what follows the comma after it. last is true when there is no comma.
func attr(s string, want byte) (value, rest string, last bool, err error) {
	name, value, rest, last, err := anyAttr(s)
	if err != nil {
		return "", "", false, err
	}
	if name != want {
		return "", "", false, malformed("Expected attribute %q but found %q.", want, name)
	}
	return value, rest, last, nil
}

// anyAttr is attr for whatever attribute comes next.
func anyAttr(s string) (name byte, value, rest string, last bool, err error) {
	if s == "" {
		return 0, "", "", false, malformed("Attribute expected, but found end of string.")
	}
	name = s[0]
	if name|0x20 < 'a' || name|0x20 > 'z' {
		return 0, "", "", false, malformed("Attribute expected, but found invalid character %q.", name)
	}
	if len(s) < 2 || s[1] != '=' {
		return 0, "", "", false, malformed("Expected character \"=\" for attribute %q.", name)
	}
	value, rest, found := strings.Cut(s[2:], ",")
	return name, value, rest, !found, nil
}

// printable is RFC 5802's definition for nonces: visible ASCII but the comma.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e || s[i] == ',' {
			return false
		}
	}
	return true
}

// newNonce returns 24 printable characters. crypto/rand does not fail.
func newNonce() string {
	var raw [rawNonceLen]byte
	_, _ = rand.Read(raw[:])
	return base64.StdEncoding.EncodeToString(raw[:])
}
