package reactor

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// peerAddr returns where the peer of a TCP socket is.
func peerAddr(fd int) (addr string, port int) {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return "", 0
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr).String(), sa.Port
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(sa.Addr).Unmap().String(), sa.Port
	}
	return "", 0
}
