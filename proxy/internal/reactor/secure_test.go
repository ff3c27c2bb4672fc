//go:build linux

package reactor

import (
	"syscall"
	"testing"

	"github.com/pgroute/pgroute/proxy/internal/tlsconn"
)

// What TLS needs costs a socket in the clear nothing: reading, keeping what is
// incomplete, and sending allocate nothing.
func TestInTheClearNothingIsAllocated(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	l := &Loop{scratch: make([]byte, 4*readChunk+tlsconn.Slack)}
	s := &sock{fd: fds[0], mask: evIn}
	message, answer := make([]byte, 200), make([]byte, 400)
	turn := func() {
		for range 2 {
			if n, err := syscall.Write(fds[1], message); n != len(message) || err != nil {
				t.Fatal(n, err)
			}
			if n, ok := l.fill(s); n != len(message) || !ok {
				t.Fatal(n, ok)
			}
			l.keep(s)
		}
		if len(s.in) != 2*len(message) {
			t.Fatalf("%d bytes", len(s.in))
		}
		if !l.send(s, s.in) {
			t.Fatal("it cannot be sent")
		}
		s.consume(len(s.in))
		l.keep(s)
		if n, err := syscall.Read(fds[1], answer); n != len(answer) || err != nil {
			t.Fatal(n, err)
		}
	}
	turn()
	if n := testing.AllocsPerRun(1000, turn); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
