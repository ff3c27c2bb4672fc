package lsn

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrToken is wrapped by every error of ParseToken. To a client it is SQLSTATE
// 22023 (invalid_parameter_value).
var ErrToken = errors.New("malformed token")

// tokenPrefix names the version of the layout behind it.
const tokenPrefix = "pgr1_"

const (
	tokenBytes = 8 + 4 + 8 + 8 + 8
	// TokenLen is the length of every token, in bytes.
	TokenLen = len(tokenPrefix) + tokenBytes/3*4
)

// tokenEncoding refuses what encodes no bits, so that a position has exactly
// one token.
var tokenEncoding = base64.RawURLEncoding.Strict()

// EncodeToken returns the token of p: what one session gives to another so
// that it reads nothing older. Everybody but ParseToken should take it as
// opaque. It is neither secret nor authentic: whoever accepts one must check it
// against a position that the primary reported after the token arrived.
func EncodeToken(p Position) string {
	var buf [TokenLen]byte
	return string(AppendToken(buf[:0], p))
}

// AppendToken appends the token of p to dst and returns the longer slice.
func AppendToken(dst []byte, p Position) []byte {
	var raw [tokenBytes]byte
	binary.BigEndian.PutUint64(raw[0:], p.SystemID)
	binary.BigEndian.PutUint32(raw[8:], p.Timeline)
	binary.BigEndian.PutUint64(raw[12:], uint64(p.Begin))
	binary.BigEndian.PutUint64(raw[20:], uint64(p.LSN))
	binary.BigEndian.PutUint64(raw[28:], uint64(p.Incarnation))
	dst = append(dst, tokenPrefix...)
	return tokenEncoding.AppendEncode(dst, raw[:])
}

// ParseToken returns the position that EncodeToken was given. It accepts
// nothing that EncodeToken does not write, and neither timeline 0 nor an
// incarnation before 1970, which no server has; incarnation 0, which is not
// known, it accepts. The error wraps ErrToken and does not repeat the token.
func ParseToken(s string) (Position, error) {
	if len(s) < len(tokenPrefix) || s[:len(tokenPrefix)] != tokenPrefix {
		return Position{}, fmt.Errorf("%w: it does not begin with %s", ErrToken, tokenPrefix)
	}
	if len(s) != TokenLen {
		return Position{}, fmt.Errorf("%w: it has %d bytes instead of %d", ErrToken, len(s), TokenLen)
	}
	// Decode skips line breaks, so the number of decoded bytes is checked too.
	var text [TokenLen]byte
	var raw [tokenBytes]byte
	copy(text[:], s)
	n, err := tokenEncoding.Decode(raw[:], text[len(tokenPrefix):])
	if err != nil || n != len(raw) {
		return Position{}, fmt.Errorf("%w: it is not canonical base64url", ErrToken)
	}
	p := Position{
		SystemID:    binary.BigEndian.Uint64(raw[0:]),
		Timeline:    binary.BigEndian.Uint32(raw[8:]),
		Begin:       LSN(binary.BigEndian.Uint64(raw[12:])),
		LSN:         LSN(binary.BigEndian.Uint64(raw[20:])),
		Incarnation: int64(binary.BigEndian.Uint64(raw[28:])),
	}
	if p.Timeline == 0 {
		return Position{}, fmt.Errorf("%w: timeline 0 does not exist", ErrToken)
	}
	if p.Incarnation < 0 {
		return Position{}, fmt.Errorf("%w: its incarnation is negative", ErrToken)
	}
	return p, nil
}
