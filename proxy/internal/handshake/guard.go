package handshake

import (
	"context"
	"net"
	"time"
)

// Guard makes reads and writes on conn fail at the deadline (never, if it is
// zero) and as soon as ctx is done. release must be called before conn is
// given to somebody else: after it conn has no deadline, and nothing will set
// one.
func Guard(ctx context.Context, conn net.Conn, deadline time.Time) (release func()) {
	_ = conn.SetDeadline(deadline) // a closed conn says so at the next read
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0))
		close(fired)
	})
	return func() {
		if !stop() {
			<-fired
		}
		_ = conn.SetDeadline(time.Time{})
	}
}
