package client

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// alignPrepared makes the names of prepared statements to which the cycle may
// refer mean on the backend what they mean to the client: what other clients
// have left there is closed, what is missing is prepared. It returns false if
// there is nothing to do. One statement is prepared at a time, by the client's
// own text, so that one that cannot be prepared any more is in nobody's way;
// align is called again after each.
func (m *Machine) alignPrepared(out *Effects) bool {
	q, be := &m.c.sql, m.be
	all := m.refersToAny()
	if !all && q.n == 0 {
		return false
	}
	mark := len(out.arena)
	name := q.name[:q.n]
	out.arena = closeOurs(out.arena, be, name)
	if len(m.sql.byName) == 0 && be.SQLCount() == 0 && len(out.arena) == mark {
		return false
	}
	if all {
		be.EachSQL(func(name string, p backend.Prepared) {
			if st := m.sql.byName[name]; st == nil || st.what != p {
				out.arena = closeSQL(out.arena, be, name)
			}
		})
	} else if p := be.SQLPrepared(name); p != (backend.Prepared{}) {
		if st := m.sql.find(name); st == nil || st.what != p {
			out.arena = closeSQL(out.arena, be, string(name))
		}
	}
	q.asked = ""
	if be.Tx != 'E' {
		q.asked = m.lacking(all)
	}
	if be.SQLCrowded() && (q.asked != "" || q.preparing != "") {
		out.arena = m.makeRoom(out.arena)
	}
	if q.asked == "" && len(out.arena) == mark {
		return false
	}
	if q.asked != "" {
		out.arena = wire.AppendQuery(out.arena, m.sql.byName[q.asked].what.Value().SQL)
		be.Unnamed = 0 // a Query destroys it
	} else {
		out.arena = wire.AppendSync(out.arena)
	}
	m.phase, q.aligning, m.c.alignErr = phaseAlign, true, nil
	out.toBackend(out.built(mark))
	return true
}

// refersToAny reports whether nobody knows to which prepared statements the cycle
// refers.
func (m *Machine) refersToAny() bool {
	c := &m.c
	return c.sql.all || c.open || c.class.binds&(sqlclass.BindsTaint|sqlclass.BindsStatements) != 0 ||
		c.class.reason == sqlclass.ReasonView || c.class.copyIn && !c.simple
}

// closeSQL closes what PREPARE has made. That cannot fail, and is not undone by a
// ROLLBACK.
func closeSQL(b []byte, be *backend.State, name string) []byte {
	be.DropSQL(name)
	return wire.AppendNamed(b, 'C', 'S', []byte(name))
}

// closeOurs closes the statement that we have prepared under the name that the
// client uses: it is another client's, or has another name.
func closeOurs(b []byte, be *backend.State, name []byte) []byte {
	number, ok := bytes.CutPrefix(name, []byte(namePrefix))
	if !ok {
		return b
	}
	id, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil || !be.Has(id) {
		return b
	}
	be.Forget(id)
	return wire.AppendNamed(b, 'C', 'S', name)
}

// lacking returns a name to which the cycle refers and that the backend does not
// have, empty if there is none.
func (m *Machine) lacking(all bool) string {
	q, none := &m.c.sql, backend.Prepared{}
	if q.n > 0 && m.be.SQLPrepared(q.name[:q.n]) == none {
		if name := string(q.name[:q.n]); m.sql.byName[name] != nil && !slices.Contains(q.failed, name) {
			return name
		}
	}
	first := ""
	if all {
		for name := range m.sql.byName {
			if (first == "" || name < first) && m.be.SQLPrepared([]byte(name)) == none && !slices.Contains(q.failed, name) {
				first = name
			}
		}
	}
	return first
}

// makeRoom closes what is not the client's until there is room on the backend.
func (m *Machine) makeRoom(b []byte) []byte {
	m.be.EachSQL(func(name string, p backend.Prepared) {
		if st := m.sql.byName[name]; m.be.SQLCrowded() && (st == nil || st.what != p) {
			b = closeSQL(b, m.be, name)
		}
	})
	return b
}

// alignedPrepared takes the backend's answer to alignPrepared. It returns false
// if the client has to be told of an error.
func (m *Machine) alignedPrepared(out *Effects) bool {
	q, r := &m.c.sql, m.c.alignErr
	q.aligning = false
	switch {
	case r == nil && q.asked != "":
		m.be.AddSQL(q.asked, m.sql.byName[q.asked].what)
	case r == nil:
	case m.be.Tx == 'I' && r.Code != sqlstate.QueryCanceled && q.asked != string(q.name[:q.n]):
		// Its tables have gone, perhaps, and it may not be needed at all.
		q.failed = append(q.failed, q.asked)
		m.c.alignErr = nil
	default:
		return false
	}
	out.add(Input) // align comes with Aligned
	return true
}
