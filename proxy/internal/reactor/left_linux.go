package reactor

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Left reports whether the client has hung up. Nothing is taken from the
// connection.
func Left(conn net.Conn) bool {
	if c, ok := conn.(interface{ Below() net.Conn }); ok {
		conn = c.Below()
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	left := false
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(p, 0)
		left = err == nil && n > 0 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return err != nil || left
}
