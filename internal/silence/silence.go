// Package silence bounds how long a server may say nothing at all. A host that
// is gone, or was cut off, sends neither an answer nor an end: without a bound
// whoever waits for it waits for a quarter of an hour.
package silence

import (
	"net"
	"time"
)

// Limit is how long a server's host may say nothing at all, not even that it
// has received something, before its connection counts as broken. A server that
// is stopped or busy is not silent: its kernel answers. But see Bound.
const Limit = 12 * time.Second

// Dialer returns a dialer whose connections break after Limit. Where the
// system cannot be told so, only those do on which nothing is on its way.
func Dialer() *net.Dialer {
	return &net.Dialer{Control: bound, KeepAliveConfig: net.KeepAliveConfig{
		Enable:   true,
		Idle:     Limit / 2,
		Interval: Limit / 6,
		Count:    3,
	}}
}
