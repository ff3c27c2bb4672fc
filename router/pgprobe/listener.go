package pgprobe

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/router"
)

// Listener is a connection for LISTEN. One goroutine may send while another
// receives.
type Listener struct {
	conn     net.Conn
	frontend *pgproto3.Frontend
}

// maxNotification bounds a message to a Listener: PostgreSQL's notifications
// have up to 8000 bytes, its errors carry the statement.
const maxNotification = 16 << 20

// Listen opens a connection to database on the server at addr that is for
// LISTEN alone, within the deadline of ctx or else Config.ConnectTimeout.
func (p *Prober) Listen(ctx context.Context, addr router.Addr, database string) (*Listener, error) {
	ctx, cancel := bound(ctx, p.cfg.ConnectTimeout)
	defer cancel()
	conn, err := p.dial(ctx, addr, database, false)
	if err != nil {
		return nil, err
	}
	sql := "SET application_name = 'pgroute listener'"
	if conn.ParameterStatus("server_encoding") == "SQL_ASCII" {
		// Such a server stores bytes of any encoding and would refuse to send
		// those that are not UTF-8.
		sql += "; SET client_encoding = 'SQL_ASCII'"
	}
	if err := conn.Exec(ctx, sql).Close(); err != nil {
		_ = conn.Conn().Close()
		return nil, fmt.Errorf("prepare the listener on %s: %w", addr.Name, err)
	}
	taken, err := conn.Hijack()
	if err != nil {
		return nil, fmt.Errorf("take the connection over: %w", err)
	}
	taken.Frontend.SetMaxBodyLen(maxNotification)
	return &Listener{conn: taken.Conn, frontend: taken.Frontend}, nil
}

// Send sends a Query of statements that return no rows.
func (l *Listener) Send(sql string) error {
	b, err := (&pgproto3.Query{String: sql}).Encode(nil)
	if err != nil {
		return fmt.Errorf("encode a query: %w", err)
	}
	_ = l.conn.SetWriteDeadline(time.Now().Add(defaultCallTimeout))
	_, err = l.conn.Write(b)
	return err
}

// Receive returns the next notification, or nil when a Query has been
// answered. more is true while another message has arrived already. An error
// of the server is an error here, and the Listener is of no use any more.
func (l *Listener) Receive() (n *pgproto3.NotificationResponse, more bool, err error) {
	for {
		msg, err := l.frontend.Receive()
		if err != nil {
			return nil, false, err
		}
		switch msg := msg.(type) {
		case *pgproto3.NotificationResponse:
			return msg, l.frontend.ReadBufferLen() > 0, nil
		case *pgproto3.ReadyForQuery:
			return nil, false, nil
		case *pgproto3.ErrorResponse:
			return nil, false, pgconn.ErrorResponseToPgError(msg)
		case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus, *pgproto3.CommandComplete, *pgproto3.EmptyQueryResponse:
		default:
			return nil, false, fmt.Errorf("unexpected %T on a connection for LISTEN", msg)
		}
	}
}

// Close closes the connection; it may be called at any time.
func (l *Listener) Close() error { return hangUp(l.conn) }
