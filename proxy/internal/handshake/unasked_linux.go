package handshake

import (
	"net"
	"syscall"
)

// unasked reports whether the client has sent more than it may have by now.
// Nothing is taken from the socket. Bytes that follow a request for TLS before
// its answer are not encrypted, whoever put them there (CVE-2021-23214); the
// handshake would fail over those that come later.
func unasked(conn net.Conn) bool {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	there := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		there = err == nil && n > 0
	})
	return err == nil && there
}
