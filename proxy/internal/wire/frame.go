// Package wire frames and builds messages of PostgreSQL's protocol, version 3.
//
// The hot path peeks at frames and forwards them; it decodes nothing that
// nobody reads. Message formats are those of the chapter "Message Formats" of
// the PostgreSQL documentation.
package wire

import "encoding/binary"

const (
	// HeaderLen is the length of a frame's type byte and length word.
	HeaderLen = 5

	// MaxFrame is the largest length word that PostgreSQL accepts in a
	// message that may be large (PQ_LARGE_MESSAGE_LIMIT, libpq.h).
	MaxFrame = 1<<30 - 2

	// maxSmallFrame bounds the messages that are always small
	// (PQ_SMALL_MESSAGE_LIMIT, libpq.h).
	maxSmallFrame = 10000
)

// Header reads the header at the beginning of b: the message's type and its
// total length with the header. ok is false if b is shorter than a header.
// A length word below 4 gives a total below HeaderLen; the caller must check.
func Header(b []byte) (typ byte, total int, ok bool) {
	if len(b) < HeaderLen {
		return 0, 0, false
	}
	return b[0], int(binary.BigEndian.Uint32(b[1:])) + 1, true
}

// FrontendLimit returns the largest total length of a message of this type
// that a client may send, or 0 if a client may not send the type at all once
// it is logged in (postgres.c, SocketBackend).
func FrontendLimit(typ byte) int {
	switch typ {
	case 'Q', 'P', 'B', 'F', 'd':
		return MaxFrame + 1
	case 'C', 'D', 'E', 'H', 'S', 'X', 'c', 'f':
		return maxSmallFrame + 1
	}
	return 0
}

// CString returns the zero-terminated string at the beginning of b without
// its terminator and what follows it. ok is false without a terminator.
func CString(b []byte) (s, rest []byte, ok bool) {
	for i, c := range b {
		if c == 0 {
			return b[:i], b[i+1:], true
		}
	}
	return nil, nil, false
}

// Field returns the field typ of the body of an ErrorResponse or
// NoticeResponse, nil if it is not there. The slice points into body.
func Field(body []byte, typ byte) []byte {
	for len(body) > 1 && body[0] != 0 {
		v, rest, ok := CString(body[1:])
		if !ok {
			return nil
		}
		if body[0] == typ {
			return v
		}
		body = rest
	}
	return nil
}

// FrontendExtended reports whether typ is a message of the extended query
// protocol.
func FrontendExtended(typ byte) bool {
	switch typ {
	case 'P', 'B', 'D', 'E', 'C', 'H', 'S':
		return true
	}
	return false
}

// Lengthen adds more bytes to the length word of the message at the beginning
// of b.
func Lengthen(b []byte, more int) {
	binary.BigEndian.PutUint32(b[1:], binary.BigEndian.Uint32(b[1:])+uint32(more))
}
