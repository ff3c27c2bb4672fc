package client

import (
	"encoding/binary"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// pinCheck is the state of the question to the backend.
type pinCheck struct {
	asked, gone sqlclass.Pins
	told        bool // there was an answer
	failed      bool
	spoils      bool // nothing is asked: the answer is the error that was wanted
}

// spoilSQL fails a transaction, and nothing else. Its savepoints stay, and what
// pins the client to the connection.
const spoilSQL = `ROLLBACK TO SAVEPOINT "pgroute refused the statement before this one"`

// rest ends a cycle that was answered here. If an error of ours has failed the
// transaction, and the client is pinned to the backend that it runs on, the server
// has to hear of it. What the client sends waits for that.
func (m *Machine) rest(out *Effects) {
	m.phase = phaseIdle
	if m.tx != 'E' || m.be == nil || m.be.Tx == 'E' {
		return
	}
	m.check = pinCheck{spoils: true}
	mark := len(out.arena)
	out.arena = append(out.arena, 'Q', 0, 0, 0, 0)
	if m.be.Tx == 'I' {
		out.arena = append(out.arena, "BEGIN;"...) // what the client thinks has begun
	}
	out.arena = append(append(out.arena, spoilSQL...), 0)
	wire.Lengthen(out.arena[mark:], len(out.arena)-mark-1)
	out.toBackend(out.built(mark))
	m.be.Unnamed = 0 // a Query destroys it
	m.phase = phasePin
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
			if m.check.spoils != (be.Tx == 'E') || !m.check.spoils && be.Tx != 'I' {
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
		if m.doubly(body) {
			return false
		}
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
