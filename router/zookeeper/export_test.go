package zookeeper

import (
	"net"
	"time"
)

// NewGuardedConn is newGuardedConn, which only a hostile server would reach.
func NewGuardedConn(conn net.Conn) net.Conn { return newGuardedConn(conn, time.Second) }
