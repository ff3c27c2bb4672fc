package client

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// waitingTicket is what a machine in phaseTicket waits for.
type waitingTicket struct {
	gen    uint64
	token  router.TokenCheck // of SET pgroute.token, zero for all else
	report bool              // ReadyForQuery waits, to tell the token of a write
	status byte
	group  bool // local statements in the extended protocol
	floor  router.Floor
	ready  bool
}

// TicketGen is the generation that Ticket asks for.
func (m *Machine) TicketGen() uint64 {
	if gen := m.ticket.token.Ticket(); gen != 0 {
		return gen
	}
	return m.ticket.gen
}

// AwaitTicket is Router.Await for what Ticket asks for: the position of a
// generation, or that and what is known of the token that waits for it.
func (m *Machine) AwaitTicket(w router.Waiter) (router.Floor, bool) {
	if t := &m.ticket.token; t.Ticket() != 0 {
		return m.env.Router.AwaitToken(m.Request(), t, w)
	}
	return m.env.Router.Await(m.Request(), m.ticket.gen, w)
}

// localQuery answers a Query that consists of one pgroute statement.
func (m *Machine) localQuery(sql []byte, out *Effects) {
	if m.env.result.Statements != 1 {
		m.reject(&wire.Report{Code: sqlstate.FeatureNotSupported,
			Message: "pgroute statements cannot share a query with other statements",
			Hint:    "Send them alone."}, out)
		return
	}
	if m.tx == 'E' {
		m.failedHere(out)
		return
	}
	if m.needsTicket() && !m.ticket.ready {
		m.askTicket(false, out)
		return
	}
	m.ticket.ready = false
	m.take(out)
	mark := len(out.arena)
	var r *wire.Report
	if out.arena, r = m.execute(out.arena, true, 0); r != nil {
		out.arena = wire.AppendReport(out.arena[:mark], r)
		if m.tx == 'T' {
			m.failLocal(out)
		}
	}
	out.arena = wire.AppendReady(out.arena, m.tx)
	out.toClient(out.built(mark))
	m.rest(out)
}

// deallocate answers DEALLOCATE of a statement of the client. Backends know those
// of the protocol by another name, and may keep it; those of PREPARE are closed
// when somebody refers to the name there.
func (m *Machine) deallocate(out *Effects) bool {
	name := m.env.result.Name
	if m.env.result.Statements != 1 || len(name) == 0 {
		return false
	}
	if !m.knows(name) {
		m.need(name) // nor may the backend know it
		return false
	}
	if m.tx == 'E' {
		m.failedHere(out)
		return true
	}
	m.forgetPrepared(name)
	m.take(out)
	mark := len(out.arena)
	out.arena = wire.AppendCommandComplete(out.arena, "DEALLOCATE")
	out.arena = wire.AppendReady(out.arena, m.tx)
	out.toClient(out.built(mark))
	m.phase = phaseIdle
	return true
}

// failLocal makes the transaction a failed one after an error of ours.
func (m *Machine) failLocal(out *Effects) {
	if m.pin == "" {
		m.failTransaction(out)
	} // else its backend holds more than the transaction: see rest
	m.tx = 'E'
}

// failedHere answers a local statement in a failed transaction.
func (m *Machine) failedHere(out *Effects) {
	m.take(out)
	mark := len(out.arena)
	out.arena = wire.AppendReport(out.arena, &wire.Report{Severity: "ERROR", Code: sqlstate.InFailedTransaction,
		Message: "current transaction is aborted, commands ignored until end of transaction block"})
	out.arena = wire.AppendReady(out.arena, 'E')
	out.toClient(out.built(mark))
	m.phase = phaseIdle
}

// needsTicket reports whether the local statement in env.result needs to know
// a position of the primary.
func (m *Machine) needsTicket() bool {
	s := &m.env.result.Setting
	return string(s.Name) == "pgroute.token" &&
		(s.Kind == sqlclass.SettingShow || s.Kind == sqlclass.SettingSet || s.Kind == sqlclass.SettingSetLocal)
}

func (m *Machine) askTicket(group bool, out *Effects) {
	m.phase = phaseTicket
	m.ticket = waitingTicket{group: group}
	s := &m.env.result.Setting
	if pos, err := lsn.ParseToken(literal(string(s.Value))); s.Kind != sqlclass.SettingShow && err == nil {
		m.ticket.token = m.env.Router.CheckToken(pos)
	} else {
		m.ticket.gen = m.env.Router.Ticket()
	}
	out.add(Ticket)
}

// awaitReport makes ReadyForQuery wait for the position of the write.
func (m *Machine) awaitReport(status byte, out *Effects) {
	m.phase = phaseTicket
	m.ticket.token = router.TokenCheck{}
	m.ticket.report, m.ticket.status, m.ticket.ready = true, status, false
	out.add(Ticket)
}

// ticketReady goes on with the position.
func (m *Machine) ticketReady(ev *Event, out *Effects) {
	t := &m.ticket
	if t.report {
		t.report = false
		mark := len(out.arena)
		if ev.Report == nil {
			out.arena = wire.AppendParameterStatus(out.arena, "pgroute.token",
				lsn.EncodeToken(m.env.Router.TokenPosition(ev.Floor)))
		} else {
			w := *ev.Report
			w.Severity = "WARNING"
			out.arena = wire.AppendReport(out.arena, &w)
		}
		if m.holdReady(t.status, out) {
			out.toClient(out.built(mark))
			m.awaitHeard(out)
			return
		}
		out.arena = wire.AppendReady(out.arena, m.tx)
		out.toClient(out.built(mark))
		m.phase = phaseIdle
		m.unlease(out)
		return
	}
	if ev.Report != nil {
		m.reject(ev.Report, out)
		return
	}
	t.floor, t.ready = ev.Floor, true
	m.phase = phaseIdle
	m.gather(ev.Data, out) // the same request again, and now it can be answered
}

// localGroup answers a group of the extended protocol that needs no server.
func (m *Machine) localGroup(data []byte, out *Effects) {
	if m.tx == 'E' && !m.txFailed && m.be != nil {
		m.failedHere(out)
		return
	}
	mark := len(out.arena)
	var text []byte
	format := uint16(0)
	bound := false // there is a portal: none of an earlier group is left
	var failed *wire.Report
	off, listen := 0, -1 // where the answer to a LISTEN begins
	for off < len(data) && failed == nil {
		typ, total, _ := wire.Header(data[off:])
		body := data[off+wire.HeaderLen : off+total]
		off += total
		switch typ {
		case 'P':
			name, rest, _ := wire.CString(body)
			sql := queryText(rest)
			if len(name) == 0 {
				m.env.parses++
				m.unnamed.id = m.env.parses
				m.unnamed.rest = append(m.unnamed.rest[:0], rest...)
				m.unnamed.class = m.classify(sql)
			} else if st := m.names.find(name); st != nil && m.ticket.ready && bytes.Equal(st.rest, rest) {
				// It is there since the group began to wait for its ticket.
			} else if st != nil || m.sql.find(name) != nil {
				failed = &wire.Report{Severity: "ERROR", Code: sqlstate.DuplicatePreparedStatement,
					Message: fmt.Sprintf("prepared statement %q already exists", name)}
				continue
			} else {
				st, fresh := m.env.Statements.hold(rest, m.meaning())
				if fresh {
					m.refresh(st)
				}
				m.names.add(string(name), st)
			}
			out.arena = wire.AppendEmpty(out.arena, '1')
		case 'B':
			portal, rest, _ := wire.CString(body)
			name, rest, _ := wire.CString(rest)
			_ = portal
			if failed = m.missing(name); failed != nil {
				continue
			}
			text, bound = m.localText(name), true
			format = resultFormat(rest)
			out.arena = wire.AppendEmpty(out.arena, '2')
		case 'D', 'E':
			if !bound && (typ == 'E' || body[0] == 'P') {
				if typ == 'D' {
					body = body[1:]
				}
				portal, _, _ := wire.CString(body)
				failed = &wire.Report{Severity: "ERROR", Code: sqlstate.InvalidCursorName,
					Message: fmt.Sprintf("portal %q does not exist", portal)}
				continue
			}
			if typ == 'E' {
				if m.c.listen {
					listen = len(out.arena)
				}
				if failed = m.executeText(text, mark, format, out); failed == errWaits {
					return
				}
			} else if body[0] == 'S' {
				name := body[1 : len(body)-1]
				if failed = m.missing(name); failed != nil {
					continue
				}
				text = m.localText(name)
				out.arena = wire.AppendNoParameters(out.arena)
				out.arena = m.describe(out.arena, text, 0)
			} else {
				out.arena = m.describe(out.arena, text, format)
			}
		case 'C':
			if body[0] == 'S' {
				m.forgetPrepared(body[1 : len(body)-1])
				if len(body) == 2 {
					m.unnamed.id = 0
				}
			}
			out.arena = wire.AppendEmpty(out.arena, '3')
		}
	}
	m.ticket.ready = false
	if failed != nil {
		out.arena = wire.AppendReport(out.arena, failed)
		if m.tx == 'T' {
			m.failLocal(out)
		}
		if m.c.first {
			m.dropToSync()
		}
	}
	m.take(out)
	if listen >= 0 && failed == nil {
		m.answerListen(mark, listen, out)
		return
	}
	if m.carryListen(out) { // of a COMMIT
		out.toClient(out.built(mark))
		m.awaitHeard(out)
		return
	}
	if !m.c.first {
		out.arena = wire.AppendReady(out.arena, m.tx)
	}
	out.toClient(out.built(mark))
	m.rest(out)
}

// errWaits says that a ticket has to arrive first.
var errWaits = &wire.Report{}

// executeText executes a local statement, COMMIT or ROLLBACK.
func (m *Machine) executeText(text []byte, mark int, format uint16, out *Effects) *wire.Report {
	cl := m.classify(text)
	if m.ahead.on && cl.tx != sqlclass.TxNone {
		out.arena = wire.AppendCommandComplete(out.arena, m.controlAhead(cl.tx))
		return nil
	}
	switch cl.tx {
	case sqlclass.TxBegin:
		m.goAhead(text)
		out.arena = wire.AppendCommandComplete(out.arena, beginTag(text))
		return nil
	case sqlclass.TxCommit:
		tag := "COMMIT"
		if m.txFailed {
			tag = "ROLLBACK"
			if r := m.sorry; r != nil { // as in inFailed
				m.endTransaction(true)
				return r
			}
		}
		m.endTransaction(m.txFailed)
		out.arena = wire.AppendCommandComplete(out.arena, tag)
		return nil
	case sqlclass.TxRollback:
		m.endTransaction(true)
		out.arena = wire.AppendCommandComplete(out.arena, "ROLLBACK")
		return nil
	}
	if m.c.listen {
		ops, _ := sqlclass.Listens(text, m.scanOptions())
		m.said(ops)
		for _, op := range ops {
			out.arena = wire.AppendCommandComplete(out.arena, listenTag(op))
		}
		return nil
	}
	if cl.dealloc {
		if !m.forgetPrepared(m.env.result.Name) {
			return &wire.Report{Severity: "ERROR", Code: sqlstate.InvalidStatementName,
				Message: fmt.Sprintf("prepared statement %q does not exist", m.env.result.Name)}
		}
		out.arena = wire.AppendCommandComplete(out.arena, "DEALLOCATE")
		return nil
	}
	if m.needsTicket() && !m.ticket.ready {
		out.arena = out.arena[:mark]
		m.askTicket(true, out)
		return errWaits
	}
	var r *wire.Report
	out.arena, r = m.execute(out.arena, false, format)
	return r
}

// missing returns the error for a statement that the client has not, perhaps
// because this group has closed it, nil if it has it.
func (m *Machine) missing(name []byte) *wire.Report {
	message := ""
	switch {
	case len(name) > 0 && (m.names.find(name) != nil || m.sql.find(name) != nil), len(name) == 0 && m.unnamed.id != 0:
		return nil
	case len(name) > 0:
		message = fmt.Sprintf("prepared statement %q does not exist", name)
	default:
		message = "unnamed prepared statement does not exist"
	}
	return &wire.Report{Severity: "ERROR", Code: sqlstate.InvalidStatementName, Message: message}
}

// localText returns the SQL of a statement of the client.
func (m *Machine) localText(name []byte) []byte {
	if len(name) == 0 {
		return queryText(m.unnamed.rest)
	}
	if st := m.names.find(name); st != nil {
		return st.text()
	}
	return nil
}

// resultFormat reads the format of the first result column from what follows
// a Bind's names.
func resultFormat(b []byte) uint16 {
	// What is missing reads as zero; nothing is allocated for what b claims.
	skip := func(n int) { b = b[min(n, len(b)):] }
	word := func() int {
		if len(b) < 2 {
			b = nil
			return 0
		}
		v := binary.BigEndian.Uint16(b)
		b = b[2:]
		return int(v)
	}
	skip(2 * word())
	for n := word(); n > 0 && len(b) >= 4; n-- {
		l := int32(binary.BigEndian.Uint32(b))
		skip(4 + max(int(l), 0))
	}
	if word() == 0 {
		return 0
	}
	return uint16(word())
}

var routeColumns = []string{"node", "role", "reason", "waited_ms"}

// describe appends the RowDescription of a local statement.
func (m *Machine) describe(b, text []byte, format uint16) []byte {
	m.classify(text)
	s := &m.env.result.Setting
	if s.Kind != sqlclass.SettingShow {
		return wire.AppendEmpty(b, 'n')
	}
	if string(s.Name) == "pgroute.last_route" {
		return wire.AppendTextColumns(b, format, routeColumns...)
	}
	return wire.AppendTextColumns(b, format, string(s.Name))
}

// execute runs the local statement in env.result and appends its answer.
func (m *Machine) execute(b []byte, describe bool, format uint16) ([]byte, *wire.Report) {
	s := &m.env.result.Setting
	name := strings.TrimPrefix(string(s.Name), "pgroute.")
	switch s.Kind {
	case sqlclass.SettingShow:
		if name == "last_route" {
			if describe {
				b = wire.AppendTextColumns(b, format, routeColumns...)
			}
			l := &m.last
			if l.node != nil {
				b = wire.AppendTextRow(b, l.node.Name, l.role.String(), l.reason.String(),
					strconv.FormatFloat(float64(l.waited.Microseconds())/1000, 'f', 3, 64))
			}
			return wire.AppendCommandComplete(b, "SHOW"), nil
		}
		v, r := m.show(name)
		if r != nil {
			return b, r
		}
		if describe {
			b = wire.AppendTextColumns(b, format, string(s.Name))
		}
		b = wire.AppendTextRow(b, v)
		return wire.AppendCommandComplete(b, "SHOW"), nil
	case sqlclass.SettingSet, sqlclass.SettingSetLocal:
		local := s.Kind == sqlclass.SettingSetLocal
		if r := m.set(name, literal(string(s.Value)), local); r != nil {
			return b, r
		}
		return wire.AppendCommandComplete(b, "SET"), nil
	case sqlclass.SettingReset:
		if r := m.reset(name); r != nil {
			return b, r
		}
		return wire.AppendCommandComplete(b, "RESET"), nil
	}
	return b, &wire.Report{Severity: "ERROR", Code: sqlstate.FeatureNotSupported, Message: "unknown pgroute statement"}
}

// setToken raises this connection's floor. The ticket was taken after the
// token arrived, so that a token from the future is found out.
func (m *Machine) setToken(value string) *wire.Report {
	floor, err := m.tokenFloor(value)
	switch {
	case errors.Is(err, router.ErrNoEra): // since it was judged
		return &wire.Report{Severity: "ERROR", Code: sqlstate.CannotConnectNow, Message: err.Error(), Hint: "Set pgroute.token again."}
	case err != nil:
		return &wire.Report{Severity: "ERROR", Code: sqlstate.InvalidParameterValue,
			Message: "invalid pgroute.token: " + err.Error(),
			Hint:    "Use what SHOW pgroute.token gave on the same database cluster."}
	}
	m.chain.RaiseToken(floor)
	return nil
}

func (m *Machine) tokenFloor(value string) (router.Floor, error) {
	if !strings.HasPrefix(value, "pgr") && strings.Contains(value, "/") {
		l, err := lsn.Parse(value)
		if err != nil {
			return router.Floor{}, err
		}
		pos := m.env.Router.TokenPosition(m.ticket.floor)
		pos.LSN = l
		return m.env.Router.TokenFloor(pos, m.ticket.floor)
	}
	pos, err := lsn.ParseToken(value)
	if err != nil {
		return router.Floor{}, err
	}
	return m.env.Router.TokenFloor(pos, m.ticket.floor)
}
