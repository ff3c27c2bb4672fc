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
	if e := c.Control(func(fd uintptr) { err = set(fd, int(Limit.Milliseconds())) }); e != nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("set TCP_USER_TIMEOUT: %w", err)
	}
	return nil
}

func set(fd uintptr, ms int) error {
	return unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms)
}

// lift takes the bound off.
func lift(fd uintptr) { _ = set(fd, 0) }

// settle sets it again if all that was sent has arrived, and reports whether it
// did.
func settle(fd uintptr) bool {
	left, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	return err == nil && left == 0 && set(fd, int(Limit.Milliseconds())) == nil
}
