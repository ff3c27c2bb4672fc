package handshake

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// headerLen is a message's type and length.
	headerLen = 5
	// firstChunk is how much is allocated for a body before any of it arrived.
	firstChunk = 4 << 10
)

// ErrTooLong says that a message claims more than its limit.
var ErrTooLong = errors.New("message too long")

// ReadMessage reads exactly one message from r, and not a byte more. limit
// bounds its body. The body lies in buf if there is room, and is valid until
// buf is used again; a longer one grows only as fast as its bytes arrive (I8).
//
// The error is io.EOF if r ended before the message, io.ErrUnexpectedEOF if it
// ended inside, and wraps ErrTooLong for a length over the limit.
func ReadMessage(r io.Reader, buf []byte, limit int) (typ byte, body []byte, err error) {
	if cap(buf) < headerLen {
		buf = make([]byte, headerLen)
	}
	header := buf[:headerLen]
	if _, err = io.ReadFull(r, header); err != nil {
		return 0, nil, err
	}
	typ = header[0]
	length := binary.BigEndian.Uint32(header[1:])
	if length < 4 {
		return 0, nil, fmt.Errorf("invalid length %d of message type %q", length, typ)
	}
	if int64(length)-4 > int64(limit) {
		return 0, nil, fmt.Errorf("%w: type %q claims %d bytes, the limit is %d", ErrTooLong, typ, length, limit)
	}
	body, err = readBody(r, buf, int(length)-4)
	return typ, body, err
}

// readBody reads n bytes, into buf if there is room.
func readBody(r io.Reader, buf []byte, n int) ([]byte, error) {
	if n > cap(buf) {
		buf = make([]byte, min(n, firstChunk))
	}
	buf = buf[:min(n, cap(buf))]
	for have := 0; ; {
		if _, err := io.ReadFull(r, buf[have:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if have = len(buf); have == n {
			return buf, nil
		}
		grown := make([]byte, min(n, 2*have))
		copy(grown, buf)
		buf = grown
	}
}
