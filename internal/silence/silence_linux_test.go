package silence_test

import (
	"net"
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
