package zookeeper_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"testing/iotest"

	"github.com/pgroute/pgroute/router/zookeeper"
)

// readConn is a connection of which only reading matters.
type readConn struct {
	net.Conn
	r io.Reader
}

func (c readConn) Read(p []byte) (int, error) { return c.r.Read(p) }

func frame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func greeting(timeout uint32, session uint64, password uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, 0)
	b = binary.BigEndian.AppendUint32(b, timeout)
	b = binary.BigEndian.AppendUint64(b, session)
	b = binary.BigEndian.AppendUint32(b, password)
	return frame(append(b, make([]byte, 17)...))
}

func TestGuardLetsOnlyTheProtocolThrough(t *testing.T) {
	good := greeting(4000, 7, 16)
	for _, tt := range []struct {
		reason string
		sent   []byte
		passes int
	}{
		{"a greeting", good, len(good)},
		{"an expired session", greeting(0, 0, 16), len(good)},
		{"a greeting and two frames", bytes.Join([][]byte{good, frame(make([]byte, 16)), frame(make([]byte, 5000))}, nil), len(good) + 20 + 5004},
		{"a web server", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), 0},
		{"a PostgreSQL server", []byte("EFATAL: unsupported frontend protocol\x00 and some more text that comes after it"), 0},
		{"a timeout of zero", greeting(0, 7, 16), 0},
		{"a negative timeout", greeting(1<<31, 7, 16), 0},
		{"a password of 4 GB", greeting(4000, 7, 1<<32-1), 0},
		{"a password beyond the frame", greeting(4000, 7, 18), 0},
		{"a greeting that stops", good[:20], 0},
		{"a frame without a header", append(good[:len(good):len(good)], frame(make([]byte, 15))...), len(good)},
		{"a frame of 4 GB", append(good[:len(good):len(good)], 0xff, 0xff, 0xff, 0xff, 1), len(good)},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			// A byte at a time, and all at once.
			for _, r := range []io.Reader{iotest.OneByteReader(bytes.NewReader(tt.sent)), bytes.NewReader(tt.sent)} {
				got, err := io.ReadAll(zookeeper.NewGuardedConn(readConn{r: r}))
				if len(got) != tt.passes || !bytes.Equal(got, tt.sent[:len(got)]) {
					t.Fatalf("%d bytes passed, want %d (%v)", len(got), tt.passes, err)
				}
				if refused := len(got) < len(tt.sent); refused && err == nil {
					t.Fatal("refused without an error")
				}
			}
		})
	}
}

func FuzzGuard(f *testing.F) {
	f.Add(append(greeting(4000, 7, 16), frame(make([]byte, 20))...))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		got, _ := io.ReadAll(zookeeper.NewGuardedConn(readConn{r: bytes.NewReader(sent)}))
		if !bytes.HasPrefix(sent, got) {
			t.Fatal("what passed was not what was sent")
		}
	})
}
