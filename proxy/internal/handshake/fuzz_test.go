package handshake_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/handshake"
)

// A tape is a connection whose peer has said everything in advance. It gives
// out chunks of one size, and remembers how much was asked for.
type tape struct {
	in    *bytes.Reader
	out   bytes.Buffer
	chunk int
}

func (c *tape) Read(b []byte) (int, error) { return c.in.Read(b[:min(len(b), c.chunk)]) }

func (c *tape) Write(b []byte) (int, error)    { return c.out.Write(b) }
func (*tape) Close() error                     { return nil }
func (*tape) LocalAddr() net.Addr              { return nil }
func (*tape) RemoteAddr() net.Addr             { return nil }
func (*tape) SetDeadline(time.Time) error      { return nil }
func (*tape) SetReadDeadline(time.Time) error  { return nil }
func (*tape) SetWriteDeadline(time.Time) error { return nil }

// consumed is how many bytes of in belong to the packets that Accept has to
// read: encryption requests, then one more.
func consumed(in []byte) int {
	n := 0
	for {
		if len(in)-n < 8 {
			return n
		}
		length := int(binary.BigEndian.Uint32(in[n:]))
		request := string(in[n:n+8]) == sslRequest || string(in[n:n+8]) == gssRequest
		n += length
		if !request {
			return n
		}
	}
}

func FuzzAccept(f *testing.F) {
	f.Add([]byte(packet(protocol30, "user", "app", "options", `-c a.b=c\ d --x-y=z`)), uint8(1))
	f.Add([]byte(sslRequest+gssRequest+packet(protocol30+9999, "user", "app", "_pq_.x", "")+"Q\x00\x00"), uint8(3))
	f.Add([]byte(raw("\x04\xd2\x16\x2e\x00\x00\x12\x67key4")), uint8(200))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint8(0))
	f.Add([]byte("\x16\x03\x01\x02\x00\x01\x00"), uint8(0))
	f.Add([]byte(packet(2<<16)), uint8(0))
	f.Fuzz(func(t *testing.T, in []byte, chunk uint8) {
		c := &tape{in: bytes.NewReader(in), chunk: int(chunk) + 1}
		outcome, err := handshake.Accept(context.Background(), c, trust)
		if (err == nil) != (outcome.Startup != nil || outcome.Cancel != nil) || outcome.Conn == nil {
			t.Fatalf("%+v, %v", outcome, err)
		}
		if err != nil {
			handshake.Refuse(c, err)
			return
		}
		if read := len(in) - c.in.Len(); read != consumed(in) {
			t.Errorf("read %d bytes of %d", read, consumed(in))
		}
		s := outcome.Startup
		if s == nil {
			return
		}
		if s.User == "" || s.Database == "" || len(s.User) > 63 || s.Minor != 0 && s.Minor != 2 {
			t.Errorf("%+v", *s)
		}
		for _, p := range s.Params {
			if handshake.Reserved(p.Name) || strings.Contains(p.Name+p.Value, "\x00") {
				t.Errorf("setting %+v", p)
			}
		}
		// What we understood, said again, means the same.
		again := []string{"user", s.User, "database", s.Database}
		for _, p := range s.Params {
			again = append(again, p.Name, p.Value)
		}
		hello := packet(protocol30, again...)
		if len(hello) > 10_000 {
			return
		}
		second, err := handshake.Accept(context.Background(), &tape{in: bytes.NewReader([]byte(hello)), chunk: 100}, trust)
		if err != nil || second.Startup.User != s.User || len(second.Startup.Params) != len(s.Params) {
			t.Errorf("%+v became %+v, %v", *s, second.Startup, err)
		}
	})
}

func FuzzAuthenticate(f *testing.F) {
	f.Add([]byte(response("SCRAM-SHA-256", "n,,n=,r=abc")+"p"+raw("c=biws,r=abc,p=AAAA")), uint8(0))
	f.Add([]byte("p"+raw("SCRAM-SHA-256\x00\xff\xff\xff\xff")), uint8(7))
	u := newUsers(f)
	f.Fuzz(func(t *testing.T, in []byte, chunk uint8) {
		c := &tape{in: bytes.NewReader(in), chunk: int(chunk) + 1}
		keys, err := handshake.Authenticate(context.Background(), c, &handshake.Startup{User: "app"}, scram(u))
		if err == nil || keys != nil {
			t.Fatal("somebody guessed the proof")
		}
		handshake.Refuse(c, err)
	})
}

func FuzzReadMessage(f *testing.F) {
	f.Add([]byte("Q\x00\x00\x00\x06;\x00X"), uint8(1))
	f.Add([]byte("d\x00\x00\x40\x00"+strings.Repeat("x", 0x4000)), uint8(255))
	f.Fuzz(func(t *testing.T, in []byte, chunk uint8) {
		const limit = 32 << 10
		c := &tape{in: bytes.NewReader(in), chunk: int(chunk) + 1}
		var got []byte
		for {
			typ, body, err := handshake.ReadMessage(c, make([]byte, 0, int(chunk)), limit)
			if err != nil {
				if len(in) == len(got) && !errors.Is(err, io.EOF) {
					t.Errorf("a clean end is %v", err)
				}
				break
			}
			if len(body) > limit || cap(body) > 2*max(len(in), 4<<10) {
				t.Errorf("%d bytes were allocated for %d", cap(body), len(body))
			}
			got = append(binary.BigEndian.AppendUint32(append(got, typ), uint32(len(body)+4)), body...)
			if len(in)-c.in.Len() != len(got) {
				t.Error("bytes were read ahead")
			}
		}
		if !bytes.HasPrefix(in, got) {
			t.Error("other bytes came out than went in")
		}
	})
}
