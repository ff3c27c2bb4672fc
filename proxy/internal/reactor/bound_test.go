//go:build linux

package reactor

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgroute/pgroute/internal/silence"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/settings"
	"github.com/pgroute/pgroute/proxy/internal/tlsconn"
)

// TestServerThatTakesNoMoreIsKept: while a server has not taken what it was sent,
// because it waits for a lock, nothing bounds how long that may last: the bound on
// silence would, although the server's kernel answers.
func TestServerThatTakesNoMoreIsKept(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := silence.Dialer().DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	l := &Loop{scratch: make([]byte, 4*readChunk+tlsconn.Slack), poll: p, env: client.Env{Settings: settings.NewInterner(16)}}
	s := &server{}
	if err := l.enroll(s, &mail{hello: &backend.Hello{Conn: conn}}); err != nil {
		t.Fatal(err)
	}
	defer closeFD(s.fd)
	bound := func() time.Duration {
		ms, err := unix.GetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(ms) * time.Millisecond
	}
	if d := bound(); d != silence.Limit {
		t.Fatalf("a connection breaks after %v", d)
	}
	const much = 64 << 10
	if !l.send(&s.sock, make([]byte, much)) {
		t.Fatal("it cannot be sent")
	}
	if d := bound(); d != 0 {
		t.Errorf("a connection that was sent much breaks after %v", d)
	}
	taken := make(chan error, 1)
	go func() { // ends with peer
		_, err := io.CopyN(io.Discard, peer, much)
		taken <- err
	}()
	for s.queued() > 0 {
		if !l.flush(&s.sock) {
			t.Fatal("it cannot be flushed")
		}
		runtime.Gosched()
	}
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	for bound() != silence.Limit { // the last acknowledgement may come after the answer
		if _, err := peer.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, ok := l.fill(&s.sock); !ok {
			t.Fatal("it cannot be read")
		}
		l.keep(&s.sock)
		s.consume(len(s.in))
	}
}
