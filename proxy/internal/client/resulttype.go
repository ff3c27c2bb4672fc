package client

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// PostgreSQL refuses to run a prepared statement whose result has changed its
// type since it was prepared (plancache.c, RevalidateCachedQuery). A backend that
// prepares it after the change for a client that prepared it before does not know
// what it was. So the first description of a statement is remembered as a number,
// and a backend that has to prepare it after DDL is asked to describe it, before
// anything of the client reaches it.

// resultCheck is what a cycle has to do about that.
type resultCheck struct {
	list    []*Statement // bound statements that are older than the last DDL
	asked   *Statement   // the backend describes it now
	answer  uint64
	changes uint64 // when it was asked
	gen     uint64
}

// noteAged notes that st is bound, which was described before the last DDL.
func (m *Machine) noteAged(st *Statement) {
	if st.result == 0 || m.phase == phaseRun { // or nothing is aligned any more
		return
	}
	_, gen, _ := m.db.Catalogue()
	now := m.db.Changes()
	if st.key.ddl == now && st.key.catalogue == gen || st.sameSince == now && st.sameGen == gen {
		return
	}
	m.c.result.list = append(m.c.result.list, st)
}

// noteResult takes the backend's description of a statement.
func (m *Machine) noteResult(typ byte, body []byte) {
	if m.c.planAt >= len(m.c.plan) {
		return
	}
	p := &m.c.plan[m.c.planAt]
	if p.op == opDescribe && p.stmt != nil && p.stmt.result == 0 && p.stmt.class.binds&sqlclass.BindsExecute == 0 {
		p.stmt.result = m.resultType(typ, body)
	}
}

// resultType returns a number for what two results of the same type have in
// common: names, types and modifiers of their columns. It is zero for what cannot
// be read.
func (m *Machine) resultType(typ byte, body []byte) uint64 {
	if typ == 'n' {
		return 1
	}
	if len(body) < 2 {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(m.env.seed)
	n := int(binary.BigEndian.Uint16(body))
	for body = body[2:]; n > 0; n-- {
		name, rest, ok := wire.CString(body)
		// Behind it: table, its column, type, length, modifier, format.
		if !ok || len(rest) < 4+2+4+2+4+2 {
			return 0
		}
		h.Write(name)
		h.WriteByte(0)
		h.Write(rest[6:16])
		body = rest[18:]
	}
	return h.Sum64() | 2
}

// alignResults prepares what the cycle binds and the backend lacks, one statement
// at a time, and asks what its result is now. It returns false if there is nothing
// to do.
func (m *Machine) alignResults(out *Effects) bool {
	q, be := &m.c.result, m.be
	if len(q.list) == 0 || be.Tx == 'E' {
		return false
	}
	for _, st := range q.list {
		has := be.Has(st.id)
		if has && !be.Outdated(st.id) {
			continue // the server itself knows what it was
		}
		mark := len(out.arena)
		if has {
			out.arena = wire.AppendNamed(out.arena, 'C', 'S', st.name)
			be.Forget(st.id)
		}
		if evict := be.Add(st.id); evict != 0 {
			out.arena = wire.AppendNamed(out.arena, 'C', 'S', backendName(evict))
		}
		out.arena = wire.AppendParse(out.arena, st.name, st.rest)
		out.arena = wire.AppendNamed(out.arena, 'D', 'S', st.name)
		out.arena = wire.AppendSync(out.arena)
		_, q.gen, _ = m.db.Catalogue()
		q.asked, q.answer, q.changes = st, 0, m.db.Changes()
		m.phase, m.c.alignErr = phaseAlign, nil
		out.toBackend(out.built(mark))
		return true
	}
	return false
}

// alignedResult takes the backend's answer to alignResults. It returns false if
// the client has to be told of the server's error.
func (m *Machine) alignedResult(out *Effects) bool {
	q := &m.c.result
	st := q.asked
	q.asked = nil
	switch {
	case m.c.alignErr != nil:
		m.be.Forget(st.id)
		return false
	case q.answer != 0 && q.answer != st.result:
		m.be.Outdate(st.id)
		if m.tx == 'T' {
			m.failLocal(out)
		}
		m.reject(stalePlanReport(), out)
		m.unlease(out)
		return true
	}
	if m.be.Primary { // a replica may not have replayed the change yet
		st.sameSince, st.sameGen = q.changes, q.gen
	}
	out.add(Input) // align comes with Aligned
	return true
}

// stalePlanReport is the error that a prepared statement's result has changed its
// type. Drivers know it by its routine and prepare the statement anew.
func stalePlanReport() *wire.Report {
	return &wire.Report{Severity: "ERROR", Code: sqlstate.FeatureNotSupported,
		Message: "cached plan must not change result type", Routine: "RevalidateCachedQuery"}
}
