package client

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// pinning is what a machine knows of what pins its client.
type pinning struct {
	pins sqlclass.Pins
	// state is the reason for the kinds that have many.
	state string
	// doubt: some of it may be gone. The backend is asked once the client is
	// idle.
	doubt bool
	check pinCheck

	// home is the backend that the client is pinned to, while a read runs on
	// another one. homeGone says why it is not there any more.
	home     *backend.State
	homeGone *wire.Report

	id        uint64         // in Env, never 0
	sequenced *backend.State // where the client has last used a sequence, perhaps
	moved     bool           // and others, or on other backends, in between
}

// pinCheck is the state of the question to the backend.
type pinCheck struct {
	asked, gone sqlclass.Pins
	told        bool // there was an answer
	failed      bool
}

// Pin says why the client keeps its backend, empty if it does not.
func (m *Machine) Pin() string {
	var b strings.Builder
	for kind := range sqlclass.PinKinds {
		if m.pins&(1<<kind) == 0 {
			continue
		}
		why := sqlclass.PinReason(kind)
		if why == "" {
			why = m.state
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(why)
	}
	return b.String()
}

// bind pins the client to the backend that it has.
func (m *Machine) bind(kinds sqlclass.Pins, why string) {
	if why == "" {
		why = "session state"
	}
	if m.pin == "" {
		m.pin = why
	}
	if kinds&(sqlclass.PinState|sqlclass.PinOther) != 0 && m.state == "" {
		m.state = why
	}
	m.env.Stats.pinned(kinds &^ m.pins)
	m.pins |= kinds
	m.be.Pinned = true
}

// unpin ends pins of these kinds. Whether a backend still holds what they stand
// for is the caller's knowledge.
func (m *Machine) unpin(kinds sqlclass.Pins) {
	m.env.Stats.unpinned(kinds & m.pins)
	m.pins &^= kinds
	if m.pins&(sqlclass.PinState|sqlclass.PinOther) == 0 {
		m.state = ""
	}
	if m.pins == 0 {
		m.pin, m.doubt = "", false
	}
}

// settlePin pins the client if the cycle bound its session.
func (m *Machine) settlePin(nonread bool, status byte) {
	cl, be := &m.c.class, m.be
	prev := m.tx // settle has not changed it yet
	if m.c.refused {
		m.forget = false
		return
	}
	kinds := cl.pins
	if cl.binds&sqlclass.BindsTaint != 0 {
		kinds |= sqlclass.PinState
		be.Tainted = true
	}
	if cl.binds&sqlclass.BindsPin != 0 && kinds == 0 {
		kinds = sqlclass.PinOther
	}
	inside := prev != 'I' || status != 'I'
	kinds = m.pinsSequence(kinds, nonread, inside)
	if kinds != 0 {
		m.bind(kinds, cl.pinReason)
	}
	switch {
	case m.pins == 0:
	case cl.binds&sqlclass.BindsEndsPin != 0, cl.dealloc:
		m.doubt = true
	case kinds&sqlclass.PinsCheckable == 0:
	case m.c.failed, cl.several,
		inside && kinds&(sqlclass.PinTemporary|sqlclass.PinCursor|sqlclass.PinListen) != 0:
		m.doubt = true // it may never have come to be, or end with the transaction
	}
	if m.forget && status == 'I' && !m.c.failed { // DISCARD ALL
		m.unpin(m.pins)
		be.Tainted, be.Pinned, be.Sequences = false, false, 0
	}
	m.forget = false
}

// onlyParsed takes back what the group's statements bind if nothing of them is
// run yet: they bind it when they are.
func (m *Machine) onlyParsed(s *scan) {
	c := &m.c.class
	if s.executes > 0 || s.binds > 0 || s.unknown || m.c.open || c.binds&sqlclass.BindsTaint != 0 {
		return
	}
	c.pins, c.pinReason = 0, ""
	c.binds &^= sqlclass.BindsPin | sqlclass.BindsEndsPin
}

// unread reports whether an ErrorResponse comes from the server's raw parser,
// which reads all of a Query before anything of it runs: so nothing did. What
// is parsed later, within functions, has a context; and the body of a function
// that is created is parsed in the course of its creation.
func (m *Machine) unread(body []byte) bool {
	cl := &m.c.class
	return m.c.simple && !m.c.answered && m.c.stream == 0 &&
		(cl.binds&sqlclass.BindsDDL == 0 || cl.reason == sqlclass.ReasonSyntax) &&
		string(wire.Field(body, 'R')) == "scanner_yyerror" && len(wire.Field(body, 'W')) == 0 && len(wire.Field(body, 'q')) == 0
}

// questions are what to ask for each of the kinds that can be checked, in their
// order. No search_path can change what they mean. What is in the temporary
// schema depends on it: that is how the server itself finds it, when it
// removes it (namespace.c).
var questions = [...]string{
	"EXISTS (SELECT FROM pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=) '2615'::pg_catalog.oid" +
		" AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())",
	"EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory'::pg_catalog.text" +
		" AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())",
	"EXISTS (SELECT FROM pg_catalog.pg_listening_channels())",
	"EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)",
	"EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql)",
}

// ask asks the backend whether what pins the client is still there, if there
// is a doubt and an answer would help. The client is idle; what it sends waits
// for the answer.
func (m *Machine) ask(out *Effects) {
	asked := m.pins & sqlclass.PinsCheckable
	if !m.doubt || asked == 0 || m.phase != phaseIdle || m.pins&^(sqlclass.PinsCheckable|sqlclass.PinsApart|sqlclass.PinIdentity) != 0 {
		return
	}
	m.check = pinCheck{asked: asked}
	mark := len(out.arena)
	out.arena = append(out.arena, 'Q', 0, 0, 0, 0)
	out.arena = append(out.arena, "SELECT "...)
	for i, q := range questions {
		if asked&(1<<i) == 0 {
			continue
		}
		if asked&(1<<i-1) != 0 {
			out.arena = append(out.arena, ", "...)
		}
		out.arena = append(out.arena, q...)
	}
	out.arena = append(out.arena, 0)
	wire.Lengthen(out.arena[mark:], len(out.arena)-mark-1)
	out.toBackend(out.built(mark))
	m.be.Unnamed = 0 // a Query destroys it
	m.phase = phasePin
	m.env.Stats.PinChecks.Add(1)
}

// checked reads the answer to ask, of which data[:i] has been handled, and
// data[from:i] is for the client. What a server says at any time reaches the
// client all the same.
func (m *Machine) checked(data []byte, from, i int, out *Effects) {
	be := m.be
	for i < len(data) {
		typ, total, ok := wire.Header(data[i:])
		if !ok {
			break
		}
		if total < wire.HeaderLen || total > 1<<30 {
			m.brokenBackend(data[from:i], out)
			out.BackendConsumed = len(data)
			return
		}
		n := min(total, len(data)-i)
		if n < total && total <= controlLimit {
			break
		}
		frame := data[i : i+n]
		if typ == 'Z' && n == wire.HeaderLen+1 {
			out.toClient(data[from:i])
			i += n
			be.Tx = frame[wire.HeaderLen]
			if be.Tx != 'I' {
				m.brokenBackend(nil, out)
				out.BackendConsumed = len(data)
				return
			}
			m.endCheck(out)
			if m.be == be && m.phase != phasePin && i < len(data) {
				m.backendBytes(data[i:], out)
				i += out.BackendConsumed
			}
			out.BackendConsumed = i
			return
		}
		keep := m.checkMessage(typ, frame[wire.HeaderLen:], n == total)
		if n < total {
			be.Remain, be.DropRemain = total-n, !keep
		}
		if !keep {
			out.toClient(data[from:i])
			from = i + n
		}
		i += n
	}
	out.toClient(data[from:i])
	out.BackendConsumed = i
}

// checkMessage handles a message of the answer, and reports whether it goes to
// the client.
func (m *Machine) checkMessage(typ byte, body []byte, whole bool) (keep bool) {
	switch typ {
	case 'A':
		m.chain.Notified()
		return true
	case 'N':
		return true
	case 'S':
		return !whole || m.parameter(body)
	case 'D':
		m.check.told = true
		m.checkRow(body)
	case 'E':
		m.check.failed = true
		if v := string(wire.Field(body, 'V')); v == "FATAL" || v == "PANIC" {
			m.c.alignErr = reportOf(body) // the end of the connection follows
		}
	}
	return false
}

// checkRow reads the row of the answer: a Boolean for each kind.
func (m *Machine) checkRow(body []byte) {
	if len(body) < 2 {
		m.check.failed = true
		return
	}
	columns := int(binary.BigEndian.Uint16(body))
	body = body[2:]
	for i := range questions {
		if m.check.asked&(1<<i) == 0 {
			continue
		}
		if columns--; columns < 0 || len(body) < 5 || binary.BigEndian.Uint32(body) != 1 {
			m.check.failed = true
			return
		}
		if body[4] == 'f' {
			m.check.gone |= 1 << i
		}
		body = body[5:]
	}
	m.check.failed = m.check.failed || columns != 0
}

// endCheck draws the conclusion. After an error, which is not the client's,
// the doubt remains for the next time.
func (m *Machine) endCheck(out *Effects) {
	m.phase = phaseIdle
	if m.check.failed || !m.check.told {
		return
	}
	m.doubt = false
	m.unpin(m.check.gone)
	if m.pins == 0 {
		m.be.Pinned = false
		m.unlease(out)
	}
}

// fatalIn returns the report of an ErrorResponse that ends a connection, nil
// if there is none in data.
func fatalIn(data []byte) *wire.Report {
	for {
		typ, total, ok := wire.Header(data)
		if !ok || total < wire.HeaderLen || total > len(data) {
			return nil
		}
		body := data[wire.HeaderLen:total]
		if typ == 'E' && !bytes.Equal(wire.Field(body, 'V'), []byte("ERROR")) {
			return reportOf(body)
		}
		data = data[total:]
	}
}
