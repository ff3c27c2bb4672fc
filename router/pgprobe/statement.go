package pgprobe

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/lsn"
)

// statement is one that a connection is asked again and again. The server
// parses and plans it once.
type statement struct {
	name, sql string
	prepared  bool
}

// query runs sql by the simple protocol and returns the rows of all its
// statements; nil stands for NULL. After an error from the server the
// connection is ready for the next question, after any other it is not.
func (p *probe) query(sql string) ([][]*string, error) {
	p.frontend.SendQuery(&pgproto3.Query{String: sql})
	if err := p.frontend.Flush(); err != nil {
		return nil, err
	}
	return p.rows(nil)
}

// ask is query for a statement without parameters. It sends next, what follows
// in the same write and is answered after it, which is left to the caller: if
// ask fails, too, but for an error that the server did not survive.
func (p *probe) ask(s *statement, next []byte) ([][]*string, error) {
	buf := p.askCall[:0]
	var err error
	encode := func(msg pgproto3.FrontendMessage) {
		if err == nil {
			buf, err = msg.Encode(buf)
		}
	}
	if !s.prepared {
		encode(&pgproto3.Parse{Name: s.name, Query: s.sql})
	}
	encode(&pgproto3.Bind{PreparedStatement: s.name})
	encode(&pgproto3.Execute{})
	encode(&pgproto3.Sync{})
	if err != nil {
		return nil, fmt.Errorf("encode a statement: %w", err)
	}
	p.askCall = append(buf, next...)
	if _, err := p.conn.Write(p.askCall); err != nil {
		return nil, err
	}
	return p.rows(s)
}

// rows reads the answer to a query, or to s.
func (p *probe) rows(s *statement) ([][]*string, error) {
	var (
		rows   [][]*string
		failed error
	)
	for {
		msg, err := p.frontend.Receive()
		if err != nil {
			// A server that ends the connection says why just before.
			return nil, errors.Join(failed, err)
		}
		switch msg := msg.(type) {
		case *pgproto3.ParseComplete:
			if s != nil {
				s.prepared = true
			}
		case *pgproto3.DataRow:
			rows = append(rows, textRow(msg.Values))
		case *pgproto3.ErrorResponse:
			failed = pgconn.ErrorResponseToPgError(msg)
		case *pgproto3.ReadyForQuery:
			if failed == nil && msg.TxStatus != 'I' {
				failed = fmt.Errorf("monitor connection is in transaction state %q", msg.TxStatus)
			}
			return rows, failed
		case *pgproto3.BindComplete, *pgproto3.RowDescription, *pgproto3.CommandComplete, *pgproto3.EmptyQueryResponse,
			*pgproto3.NoticeResponse, *pgproto3.ParameterStatus, *pgproto3.NotificationResponse:
		default:
			return nil, fmt.Errorf("unexpected %T in the answer to a query", msg)
		}
	}
}

// textRow copies the values of a row out of the read buffer.
func textRow(values [][]byte) []*string {
	row := make([]*string, len(values))
	for i, v := range values {
		if v != nil {
			s := string(v)
			row[i] = &s
		}
	}
	return row
}

// fields reads values out of rows and keeps the first thing that was wrong.
type fields struct {
	rows [][]*string
	err  error
}

func (f *fields) nullable(row, column int) *string {
	if row >= len(f.rows) || column >= len(f.rows[row]) {
		f.keep(fmt.Errorf("row %d, column %d is missing in the answer", row, column))
		return nil
	}
	return f.rows[row][column]
}

func (f *fields) text(row, column int) string {
	v := f.nullable(row, column)
	if v == nil {
		f.keep(fmt.Errorf("row %d, column %d of the answer is NULL", row, column))
		return ""
	}
	return *v
}

func (f *fields) int(row, column int) int64 {
	n, err := strconv.ParseInt(f.text(row, column), 10, 64)
	f.keep(err)
	return n
}

func (f *fields) bool(row, column int) bool { return f.text(row, column) == "t" }

func (f *fields) lsn(row, column int) lsn.LSN {
	l, err := lsn.Parse(f.text(row, column))
	f.keep(err)
	return l
}

func (f *fields) keep(err error) {
	if f.err == nil && err != nil {
		f.err = fmt.Errorf("read the server's answer: %w", err)
	}
}
