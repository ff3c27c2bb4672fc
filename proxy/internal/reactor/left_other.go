//go:build !linux

package reactor

import "net"

// Left is for Linux, where alone pgroute serves.
func Left(net.Conn) bool { return false }
