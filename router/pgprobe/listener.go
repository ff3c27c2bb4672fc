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

// Notification is what a Listener hears.
type Notification struct {
	// PID is the server process of whoever notified.
	PID uint32
	// Channel and Payload are in UTF-8, or as they are stored in a database of
	// the encoding SQL_ASCII.
	Channel, Payload string
}

// Listener is a connection for LISTEN. One goroutine may send while another
// receives. It belongs to the caller of Prober.Listen, who must Close it.
type Listener struct {
	conn     net.Conn
	frontend *pgproto3.Frontend
	late     bool
}

// Late reports whether the server answers a Query before it sends what was
// notified before that, as PostgreSQL did up to version 14: then it takes a
// second Query to bring it.
func (l *Listener) Late() bool { return l.late }

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
	return &Listener{conn: taken.Conn, frontend: taken.Frontend, late: major(taken.ParameterStatuses["server_version"]) < 15}, nil
}

// major is the number that a server_version begins with: 15 of 15.4 (Debian)
// and of 15beta1.
func major(version string) int {
	n := 0
	for _, c := range version {
		if c < '0' || c > '9' {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// Send sends a Query of statements that return no rows. It waits for at most 5 s
// for the network to take it.
func (l *Listener) Send(sql string) error {
	b, err := (&pgproto3.Query{String: sql}).Encode(nil)
	if err != nil {
		return fmt.Errorf("encode a query: %w", err)
	}
	_ = l.conn.SetWriteDeadline(time.Now().Add(defaultCallTimeout))
	_, err = l.conn.Write(b)
	return err
}

// Receive waits for the next notification, or for the answer to a Query, for
// which it returns nil. more is true while another message has arrived already.
// Close ends the wait. After an error, one of the server too, the Listener is of
// no use any more.
func (l *Listener) Receive() (n *Notification, more bool, err error) {
	for {
		msg, err := l.frontend.Receive()
		if err != nil {
			return nil, false, err
		}
		switch msg := msg.(type) {
		case *pgproto3.NotificationResponse:
			return &Notification{msg.PID, msg.Channel, msg.Payload}, l.frontend.ReadBufferLen() > 0, nil
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
