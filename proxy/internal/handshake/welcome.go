package handshake

import (
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// welcomeTimeout bounds a write that a fresh socket takes at once.
const welcomeTimeout = 10 * time.Second

// Welcome ends a login well, in one write: AuthenticationOk, what the server
// reports (params, in this order), the key by which the session can be
// cancelled (4 bytes of secret unless Startup.Minor is 2, then up to 256), and
// ReadyForQuery. Afterwards the client may send queries.
func Welcome(conn net.Conn, params []Param, pid uint32, secret []byte) error {
	msg, err := AppendWelcome(make([]byte, 0, 512), params, pid, secret)
	if err != nil {
		return err
	}
	_ = conn.SetWriteDeadline(time.Now().Add(welcomeTimeout))
	if _, err = conn.Write(msg); err != nil {
		return fmt.Errorf("welcome the client: %w", err)
	}
	_ = conn.SetWriteDeadline(time.Time{})
	return nil
}

// AppendWelcome appends to dst what Welcome writes.
func AppendWelcome(dst []byte, params []Param, pid uint32, secret []byte) ([]byte, error) {
	if len(secret) < minCancelKey || len(secret) > maxCancelKey {
		return nil, fmt.Errorf("welcome the client: a cancel key of %d bytes", len(secret))
	}
	dst, err := (&pgproto3.AuthenticationOk{}).Encode(dst)
	for _, p := range params {
		if err == nil {
			dst, err = (&pgproto3.ParameterStatus{Name: p.Name, Value: p.Value}).Encode(dst)
		}
	}
	if err == nil {
		dst, err = (&pgproto3.BackendKeyData{ProcessID: pid, SecretKey: secret}).Encode(dst)
	}
	if err == nil {
		dst, err = (&pgproto3.ReadyForQuery{TxStatus: 'I'}).Encode(dst)
	}
	if err != nil {
		return nil, fmt.Errorf("welcome the client: %w", err)
	}
	return dst, nil
}
