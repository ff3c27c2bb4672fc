package client

import (
	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// more forwards what the client sends while its backend works: the rest of a
// long message, copy data, the rest of a group that began with a Flush.
func (m *Machine) more(data []byte, out *Effects) {
	for len(data) > 0 {
		if m.skip > 0 {
			n := min(m.skip, len(data))
			m.skip -= n
			out.Consumed += n
			data = data[n:]
			continue
		}
		if m.c.stream > 0 {
			n := min(m.c.stream, len(data))
			out.toBackend(data[:n])
			out.Consumed += n
			m.c.stream -= n
			data = data[n:]
			continue
		}
		if !m.c.open && !m.c.copyIn && !m.c.tail {
			return
		}
		typ, total, ok := wire.Header(data)
		if !ok || !m.vet(typ, total, out) {
			return
		}
		if typ == 'X' {
			out.Consumed += len(data)
			m.close(out)
			return
		}
		n := 0
		switch {
		case m.c.copyIn && (typ == 'd' || typ == 'c' || typ == 'f' || typ == 'H' || typ == 'S'):
			n = min(total, len(data))
			if typ != 'd' && n < total {
				return
			}
			m.c.stream = total - n
			out.toBackend(data[:n])
			if typ == 'S' {
				// The server ignores it, unless the copy has failed meanwhile:
				// then it answers, and nobody can tell when.
				m.be.Tainted = true
			}
			if typ == 'c' || typ == 'f' {
				m.c.copyIn = false
				m.c.tail = !m.c.simple
			}
		case m.c.failed && !m.c.copyIn && typ != 'S':
			n = min(total, len(data)) // the server would skip it
			m.skip = total - n
			out.Consumed += n
			data = data[n:]
			if m.skip > 0 {
				return
			}
			continue
		case wire.FrontendExtended(typ):
			if n = m.moreExtended(data, typ, total, out); n == 0 {
				return
			}
		default: // a Query or FunctionCall without Sync before it, or nonsense: the server's answer is the right one
			if total > len(data) && total <= m.env.GatherLimit {
				return
			}
			n = min(total, len(data))
			m.c.stream = total - n
			out.toBackend(data[:n])
			m.c.open, m.c.tail, m.c.queried = false, false, true
			m.c.class.mixed = true
			m.c.class.access = sqlclass.AccessWrite
			m.c.class.binds |= sqlclass.BindsTaint | sqlclass.BindsPin
			m.c.class.pinReason = "a query within a pipeline"
			m.be.Unnamed, m.unnamed.id = 0, 0
		}
		out.Consumed += n
		data = data[n:]
	}
}

// begun reports whether the names at the beginning of a long Parse or Bind are
// there.
func begun(data []byte) bool {
	_, rest, ok := wire.CString(data[wire.HeaderLen:])
	if ok && data[0] == 'B' {
		_, _, ok = wire.CString(rest)
	}
	return ok
}

// moreExtended forwards one more message of a group.
func (m *Machine) moreExtended(data []byte, typ byte, total int, out *Effects) (n int) {
	if total > len(data) && total <= m.env.GatherLimit {
		return 0
	}
	if total > len(data) && !begun(data) && len(data) < m.env.GatherLimit {
		return 0 // its names are still to come
	}
	n = min(total, len(data))
	if total <= len(data) {
		s := scan{names: m.env.scanned[:0], statements: 1}
		if !m.look(&s, typ, data[wire.HeaderLen:total]) {
			m.violation("invalid message format", out)
			return 0
		}
		clear(s.names)
		m.env.scanned = s.names[:0]
		if m.names.len()+len(m.c.renamed)+s.parsed > maxNames || m.names.bytes+s.bytes > maxNameBytes {
			m.fatal(tooManyNames(), out)
			return 0
		}
		if s.local > 0 {
			m.c.class.binds &^= sqlclass.BindsLocal // the server will refuse it
		}
		if s.unknown {
			m.c.class.access = sqlclass.AccessWrite
		}
		if len(m.c.changes) > 0 {
			m.c.class.mixed = true // not every one of them need be run
		}
	} else {
		m.c.class.access = sqlclass.AccessWrite
	}
	m.build(data[:n], nil, out)
	m.emitMade(out)
	if typ == 'S' {
		m.c.open, m.c.tail = false, false
	}
	return n
}
