package silence_test

import (
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgroute/pgroute/internal/silence"
)

// A server whose host is gone, or was cut off and died meanwhile, must not hold
// its clients: nobody would ever tell.
func TestSilenceIsBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := silence.Dialer().DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	option := func(level, name int) (v int) {
		if err := raw.Control(func(fd uintptr) { v, err = unix.GetsockoptInt(int(fd), level, name) }); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if option(unix.SOL_SOCKET, unix.SO_KEEPALIVE) == 0 {
		t.Error("no keepalives")
	}
	probes := time.Duration(option(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)+option(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)*option(unix.IPPROTO_TCP, unix.TCP_KEEPCNT)) * time.Second
	unacknowledged := time.Duration(option(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)) * time.Millisecond
	if probes != silence.Limit || unacknowledged != silence.Limit {
		t.Errorf("a connection on which nothing is sent breaks after %v, one whose data nobody acknowledges after %v, want %v", probes, unacknowledged, silence.Limit)
	}
}

// A server that takes no more for long, because it waits for a lock, is not
// silent: its kernel answers. The bound on what was sent would end the connection
// all the same, so there is none until all has arrived.
func TestServerThatTakesNoMoreIsNotSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := silence.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	bound := func() time.Duration {
		raw, err := conn.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var ms int
		if e := raw.Control(func(fd uintptr) { ms, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) }); e != nil || err != nil {
			t.Fatal(e, err)
		}
		return time.Duration(ms) * time.Millisecond
	}
	answer := func() {
		if _, err := server.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Write(make([]byte, 100)); err != nil || bound() != silence.Limit {
		t.Errorf("after a little: %v, %v", bound(), err)
	}
	if _, err := io.ReadFull(server, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	answer()
	const much = 64 << 20
	written := make(chan error, 1)
	go func() { // ends when the server has read enough
		_, err := conn.Write(make([]byte, much))
		written <- err
	}()
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if d := bound(); d != 0 {
		t.Errorf("a connection that was sent much breaks after %v", d)
	}
	answer() // to something before
	if d := bound(); d != 0 {
		t.Errorf("it breaks after %v although the server has not taken all", d)
	}
	if _, err := io.ReadFull(server, make([]byte, much-1)); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	for bound() != silence.Limit { // the last acknowledgement may come after the answer
		answer()
	}
}
