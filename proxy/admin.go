package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
)

// adminDatabase is the database that is not one: it answers SHOW.
const adminDatabase = "pgroute"

// maxAdminMessage bounds what an administrator may send at once (I7).
const maxAdminMessage = 64 << 10

// adminParams are what clients need to be told before they believe that they
// talk to a PostgreSQL server.
var adminParams = []handshake.Param{
	{Name: "client_encoding", Value: "UTF8"}, {Name: "DateStyle", Value: "ISO, MDY"}, {Name: "integer_datetimes", Value: "on"},
	{Name: "is_superuser", Value: "off"}, {Name: "server_encoding", Value: "UTF8"}, {Name: "standard_conforming_strings", Value: "on"},
	{Name: "TimeZone", Value: "UTC"},
}

// admin serves a client of the admin database, which has proven who it is,
// until it leaves or ctx is done. It owns conn.
func (s *Server) admin(ctx context.Context, conn net.Conn, st *handshake.Startup) {
	if st.Replication != "" {
		_ = handshake.Fatal(conn, &pgproto3.ErrorResponse{Code: sqlstate.FeatureNotSupported,
			Message: "the admin database cannot be replicated"})
		return
	}
	params := append([]handshake.Param{
		{Name: "server_version", Value: "15.0 (pgroute " + Version() + ")"},
		{Name: "session_authorization", Value: st.User},
	}, adminParams...)
	// Nothing here runs long enough to be cancelled, so the key is nobody's.
	if err := handshake.Welcome(conn, params, 0, make([]byte, 4)); err != nil {
		_ = conn.Close()
		return
	}
	a := &adminSession{s: s, be: pgproto3.NewBackend(conn, conn), prepared: make(map[string]adminStatement), portals: make(map[string]adminPortal)}
	a.be.SetMaxBodyLen(maxAdminMessage)
	release := handshake.Guard(ctx, conn, time.Time{})
	err := a.serve()
	release()
	switch {
	case ctx.Err() != nil:
		_ = handshake.Fatal(conn, &pgproto3.ErrorResponse{Code: sqlstate.AdminShutdown,
			Message: "terminating connection due to administrator command"})
	case errors.Is(err, errProtocol):
		_ = handshake.Fatal(conn, &pgproto3.ErrorResponse{Code: sqlstate.ProtocolViolation, Message: err.Error()})
	default:
		_ = conn.Close()
	}
}

var errProtocol = errors.New("protocol violation")

// adminSession is one client of the admin database.
type adminSession struct {
	s        *Server
	be       *pgproto3.Backend
	prepared map[string]adminStatement
	portals  map[string]adminPortal
	failed   bool // until the next Sync everything is skipped
}

type adminStatement struct{ sql string }

type adminPortal struct {
	sql     string
	formats []int16
}

// maxAdminNames bounds the statements and portals of one session (I7).
const maxAdminNames = 64

// serve answers messages until the client leaves (nil) or breaks the rules.
func (a *adminSession) serve() error {
	for {
		msg, err := a.be.Receive()
		if err != nil {
			var long *pgproto3.ExceededMaxBodyLenErr
			if errors.As(err, &long) {
				return fmt.Errorf("%w: message too long", errProtocol)
			}
			return err
		}
		if _, ok := msg.(*pgproto3.Terminate); ok {
			return nil
		}
		if a.failed {
			if _, ok := msg.(*pgproto3.Sync); !ok {
				continue
			}
		}
		flush, err := a.answer(msg)
		if err != nil {
			return err
		}
		if flush {
			if err := a.be.Flush(); err != nil {
				return err
			}
		}
	}
}

// answer answers one message and says whether the client waits for it.
func (a *adminSession) answer(msg pgproto3.FrontendMessage) (flush bool, err error) {
	switch m := msg.(type) {
	case *pgproto3.Query:
		if text := trimSQL(m.String); text == "" {
			a.be.Send(&pgproto3.EmptyQueryResponse{})
		} else if t, err := a.s.show(text); err != nil {
			a.fail(err)
		} else {
			a.describe(t, nil)
			a.rows(t, nil)
		}
		a.ready()
		return true, nil
	case *pgproto3.Sync:
		a.portals = make(map[string]adminPortal)
		a.ready()
		return true, nil
	case *pgproto3.Flush:
		return true, nil
	case *pgproto3.Parse:
		if a.room(len(a.prepared)) {
			a.prepared[m.Name] = adminStatement{trimSQL(m.Query)}
			a.be.Send(&pgproto3.ParseComplete{})
		}
	case *pgproto3.Bind:
		st, ok := a.prepared[m.PreparedStatement]
		switch {
		case !ok:
			a.skip(&clientError{Code: sqlstate.InvalidStatementName, Message: fmt.Sprintf("prepared statement %q does not exist", m.PreparedStatement)})
		case len(m.Parameters) > 0:
			a.skip(&clientError{Code: sqlstate.FeatureNotSupported, Message: "statements of the admin database have no parameters"})
		case a.room(len(a.portals)):
			a.portals[m.DestinationPortal] = adminPortal{st.sql, append([]int16(nil), m.ResultFormatCodes...)}
			a.be.Send(&pgproto3.BindComplete{})
		}
	case *pgproto3.Describe:
		a.describeNamed(m)
	case *pgproto3.Execute:
		a.execute(m)
	case *pgproto3.Close:
		if m.ObjectType == 'S' {
			delete(a.prepared, m.Name)
		} else {
			delete(a.portals, m.Name)
		}
		a.be.Send(&pgproto3.CloseComplete{})
	case *pgproto3.FunctionCall:
		a.fail(&clientError{Code: sqlstate.FeatureNotSupported, Message: "the admin database has no functions"})
		a.ready()
		return true, nil
	default:
		return false, fmt.Errorf("%w: unexpected %T", errProtocol, msg)
	}
	return false, nil
}

func (a *adminSession) ready() {
	a.failed = false
	a.be.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
}

// room reports whether one more name may be kept.
func (a *adminSession) room(have int) bool {
	if have < maxAdminNames {
		return true
	}
	a.skip(&clientError{Code: sqlstate.ProgramLimitExceeded, Message: "too many prepared statements or portals"})
	return false
}

// skip fails a group of the extended protocol.
func (a *adminSession) skip(err error) {
	a.fail(err)
	a.failed = true
}

func (a *adminSession) fail(err error) {
	r := errorResponse(err)
	r.Severity, r.SeverityUnlocalized = "ERROR", "ERROR"
	a.be.Send(r)
}

func (a *adminSession) describeNamed(m *pgproto3.Describe) {
	var sql string
	var formats []int16
	if m.ObjectType == 'S' {
		st, ok := a.prepared[m.Name]
		if !ok {
			a.skip(&clientError{Code: sqlstate.InvalidStatementName, Message: fmt.Sprintf("prepared statement %q does not exist", m.Name)})
			return
		}
		sql = st.sql
	} else {
		p, ok := a.portals[m.Name]
		if !ok {
			a.skip(noPortal(m.Name))
			return
		}
		sql, formats = p.sql, p.formats
	}
	var t *table
	if sql != "" {
		var err error
		if t, err = a.s.show(sql); err != nil {
			a.skip(err)
			return
		}
	}
	if m.ObjectType == 'S' {
		a.be.Send(&pgproto3.ParameterDescription{})
	}
	if t == nil {
		a.be.Send(&pgproto3.NoData{})
		return
	}
	a.describe(t, formats)
}

func (a *adminSession) execute(m *pgproto3.Execute) {
	p, ok := a.portals[m.Portal]
	switch {
	case !ok:
		a.skip(noPortal(m.Portal))
	case p.sql == "":
		a.be.Send(&pgproto3.EmptyQueryResponse{})
	default:
		t, err := a.s.show(p.sql)
		if err != nil {
			a.skip(err)
			return
		}
		a.rows(t, p.formats)
	}
}

func noPortal(name string) error {
	return &clientError{Code: sqlstate.InvalidCursorName, Message: fmt.Sprintf("portal %q does not exist", name)}
}

// The types that columns have.
const (
	oidBool = 16
	oidInt8 = 20
	oidText = 25
)

func (a *adminSession) describe(t *table, formats []int16) {
	fields := make([]pgproto3.FieldDescription, len(t.columns))
	for i, c := range t.columns {
		f := pgproto3.FieldDescription{Name: []byte(c), DataTypeOID: oidText, DataTypeSize: -1, TypeModifier: -1, Format: formatOf(formats, i)}
		switch t.kinds[i] {
		case kindInt:
			f.DataTypeOID, f.DataTypeSize = oidInt8, 8
		case kindBool:
			f.DataTypeOID, f.DataTypeSize = oidBool, 1
		}
		fields[i] = f
	}
	a.be.Send(&pgproto3.RowDescription{Fields: fields})
}

func (a *adminSession) rows(t *table, formats []int16) {
	for _, row := range t.rows {
		values := make([][]byte, len(row))
		for i, v := range row {
			values[i] = encodeValue(v, formatOf(formats, i))
		}
		a.be.Send(&pgproto3.DataRow{Values: values})
	}
	a.be.Send(&pgproto3.CommandComplete{CommandTag: []byte("SHOW")})
}

// formatOf is the protocol's rule: no code means text, one is for all.
func formatOf(formats []int16, i int) int16 {
	switch {
	case len(formats) == 1:
		return formats[0]
	case i < len(formats):
		return formats[i]
	}
	return 0
}

// encodeValue encodes a string, an int64, a bool, or nil for NULL.
func encodeValue(v any, format int16) []byte {
	switch v := v.(type) {
	case string:
		return []byte(v)
	case int64:
		if format == 1 {
			return binary.BigEndian.AppendUint64(nil, uint64(v))
		}
		return fmt.Append(nil, v)
	case bool:
		switch {
		case format == 1 && v:
			return []byte{1}
		case format == 1:
			return []byte{0}
		case v:
			return []byte{'t'}
		}
		return []byte{'f'}
	}
	return nil
}

// trimSQL cuts comments out of a statement, and white space and semicolons off
// both ends. Statements of the admin database hold no literals. What follows
// an unfinished comment stays, and is refused.
func trimSQL(sql string) string {
	var b strings.Builder
	for {
		i := strings.IndexAny(sql, "-/")
		if i < 0 || i+1 == len(sql) {
			break
		}
		end := ""
		switch sql[i : i+2] {
		case "--":
			end = "\n"
		case "/*":
			end = "*/"
		default:
			b.WriteString(sql[:i+1])
			sql = sql[i+1:]
			continue
		}
		b.WriteString(sql[:i])
		_, rest, ended := strings.Cut(sql[i+2:], end)
		if !ended && end == "*/" {
			sql = sql[i:]
			break
		}
		b.WriteByte(' ')
		sql = rest
	}
	b.WriteString(sql)
	return strings.Trim(b.String(), " \t\r\n\f\v;")
}
