package silence

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// bound bounds how long what was sent may stay without an
// acknowledgement: keepalives alone do not count while something is on its way,
// and the kernel repeats it for a quarter of an hour (tcp(7), TCP_USER_TIMEOUT).
func bound(network, _ string, c syscall.RawConn) error {
	if network == "unix" {
		return nil
	}
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(Limit.Milliseconds()))
	}); e != nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("set TCP_USER_TIMEOUT: %w", err)
	}
	return nil
}
