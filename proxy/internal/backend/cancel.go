package backend

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgproto3"
)

// maxCancelAnswer bounds what a server may say to a cancellation, which is
// nothing.
const maxCancelAnswer = 1 << 10

// Cancel asks the server at t to cancel what the session named by pid and
// secret is running, and waits until the server has closed the connection:
// then the signal has been sent, and later queries of that session cannot be
// hit. Whether anything was cancelled only the session itself learns.
func Cancel(ctx context.Context, t Target, pid uint32, secret []byte) error {
	packet, err := (&pgproto3.CancelRequest{ProcessID: pid, SecretKey: secret}).Encode(nil)
	if err != nil {
		return fmt.Errorf("cancel a query on %s: %w", t, err)
	}
	return t.try(ctx, "cancel a query on", func(conn net.Conn) error {
		defer conn.Close()
		if _, err := conn.Write(packet); err != nil {
			return err
		}
		// A reset ends the connection as well as a FIN does: only the
		// deadline means that the server may still be at it.
		_, _ = io.Copy(io.Discard, io.LimitReader(conn, maxCancelAnswer))
		return nil
	})
}
