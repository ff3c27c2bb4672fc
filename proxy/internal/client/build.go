package client

import (
	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// build writes the group's messages for the leased backend: names become the
// backend's names, what the backend has already is left out, what it lacks is
// added, and ask goes in front. It fills the plan of the replies. Without anything to change, the
// client's bytes go as they are.
func (m *Machine) build(data, ask []byte, out *Effects) {
	b := builder{m: m, out: out, mark: len(out.arena)}
	out.arena = append(out.arena, ask...)
	if m.c.class.binds&sqlclass.BindsDDL != 0 {
		m.db.Changed() // what is prepared behind it in this group may mean something else already
	}
	off := 0
	for off < len(data) {
		_, total, ok := wire.Header(data[off:])
		if !ok {
			break
		}
		n := min(total, len(data)-off)
		b.message(data[off:off+n], total)
		off += n
	}
	b.flush()
}

// builder writes one group. Runs of the client's bytes that need no change
// are sent as they are.
type builder struct {
	m    *Machine
	out  *Effects
	mark int
	raw  []byte // not yet sent, adjacent
	// bound is what the last Bind gave to the unnamed portal.
	bound *Statement
}

func (b *builder) keep(frame []byte) {
	if len(b.out.arena) > b.mark {
		b.out.arena = append(b.out.arena, frame...)
		return
	}
	if len(b.raw) == 0 {
		b.raw = frame
		return
	}
	b.raw = b.raw[:len(b.raw)+len(frame)] // frames are adjacent in the input
}

// own prepares the arena for messages of our own.
func (b *builder) own() {
	if len(b.raw) > 0 {
		b.out.arena = append(b.out.arena, b.raw...)
		b.raw = nil
	}
}

func (b *builder) flush() {
	if len(b.out.arena) > b.mark {
		b.out.toBackend(b.out.built(b.mark))
	} else {
		b.out.toBackend(b.raw)
	}
}

// message adds one message. frame may be its beginning only, when it is a long
// one of total bytes.
func (b *builder) message(frame []byte, total int) {
	m := b.m
	body := frame[wire.HeaderLen:]
	switch frame[0] {
	case 'P':
		name, rest, ok := wire.CString(body)
		if !ok || total > len(frame) {
			b.keepLong(frame, total) // a long Parse is not shared
			return
		}
		b.parse(frame, name, rest)
	case 'B':
		portal, rest, ok := wire.CString(body)
		if !ok {
			b.keepLong(frame, total)
			return
		}
		m.noPortal = m.noPortal && len(portal) > 0
		name, values, ok := wire.CString(rest)
		if !ok {
			b.keepLong(frame, total)
			return
		}
		st := b.prepared(name)
		if tx := m.unnamed.class.tx; st == nil && len(name) == 0 && endsFailed(tx) || st != nil && endsFailed(st.class.tx) {
			m.c.ending = true
		}
		if st == nil {
			b.keepLong(frame, total)
		} else {
			b.own()
			at := len(b.out.arena)
			b.out.arena = wire.AppendBind(b.out.arena, portal, st.name, values)
			b.lengthen(at, total-len(frame))
		}
		if b.bound = nil; len(portal) == 0 {
			b.bound = st
		}
		m.planEntry(planned{op: opBind, stmt: st})
	case 'D':
		if len(body) > 1 && body[0] == 'S' {
			if st := b.prepared(body[1 : len(body)-1]); st != nil {
				b.own()
				b.out.arena = wire.AppendNamed(b.out.arena, 'D', 'S', st.name)
				m.planEntry(planned{op: opDescribe, stmt: st})
				return
			}
		}
		if len(body) > 1 && body[0] == 'P' {
			b.portalGone(body[1:])
		}
		b.keep(frame)
		if len(body) == 2 && body[0] == 'P' {
			m.planEntry(planned{op: opDescribe, stmt: b.bound})
			return
		}
		m.planOp(opDescribe)
	case 'C':
		b.closing(frame, body)
	case 'E':
		b.portalGone(body)
		m.c.ended = m.c.ended || m.c.ending
		b.keep(frame)
		m.planOp(opExecute)
	case 'S':
		b.keep(frame)
		m.c.open = false
	default:
		b.keep(frame)
	}
}

// portalGone closes the unnamed portal, which name may be, if a Query that was
// answered here would have destroyed it.
func (b *builder) portalGone(name []byte) {
	if m := b.m; m.noPortal && len(name) > 0 && name[0] == 0 {
		m.noPortal = false
		b.own()
		b.out.arena = wire.AppendNamed(b.out.arena, 'C', 'P', nil)
		m.planOp(opClosePortalHidden)
	}
}

// keepLong keeps a message that may not have arrived whole.
func (b *builder) keepLong(frame []byte, total int) {
	b.keep(frame)
	b.m.c.stream = total - len(frame)
	if frame[0] == 'P' {
		// Only this backend knows the statement.
		m := b.m
		if len(frame) > wire.HeaderLen && frame[wire.HeaderLen] != 0 {
			m.planOp(opParse)
		} else {
			m.replaceUnnamed()
			m.env.parses++
			m.unnamed.id, m.unnamed.rest, m.unnamed.class = m.env.parses, m.unnamed.rest[:0], m.c.class
			m.be.Unnamed = m.unnamed.id
			m.planOp(opParseUnnamed)
		}
		m.c.class.binds |= sqlclass.BindsPin | sqlclass.BindsTaint
		m.c.class.pinReason = "a prepared statement too long to be examined"
	}
}

// lengthen corrects the length word of the message at, of which more bytes
// will be streamed.
func (b *builder) lengthen(at, more int) {
	if more == 0 {
		return
	}
	b.m.c.stream = more
	wire.Lengthen(b.out.arena[at:], more)
}

// parse adds a Parse.
func (b *builder) parse(frame, name, rest []byte) {
	m := b.m
	if len(name) == 0 {
		m.replaceUnnamed()
		m.env.parses++
		m.unnamed.id = m.env.parses
		m.unnamed.rest = append(m.unnamed.rest[:0], rest...)
		m.unnamed.class = m.c.unnamed
		m.be.Unnamed = m.unnamed.id
		b.keep(frame)
		m.planOp(opParseUnnamed)
		return
	}
	if m.sql.find(name) != nil { // it is there, and the server refuses it
		b.keep(frame)
		m.planOp(opParse)
		return
	}
	if old := m.find(name); old != nil {
		// The server must refuse the name itself, so that what follows is
		// skipped as it would be: give it a name that exists.
		b.ensure(old)
		b.own()
		b.out.arena = wire.AppendParse(b.out.arena, old.name, rest)
		m.planEntry(planned{op: opParseAgain, name: string(name), stmt: old})
		return
	}
	st, fresh := m.env.Statements.hold(rest, m.meaning())
	if fresh {
		m.refresh(st)
	}
	b.own()
	if m.be.Outdated(st.id) {
		// Who prepares it anew wants what it is now.
		b.out.arena = wire.AppendNamed(b.out.arena, 'C', 'S', st.name)
		m.planOp(opCloseHidden)
		m.be.Forget(st.id)
	}
	if m.be.Has(st.id) {
		if m.be.Tx == 'E' && !m.c.ended && !st.class.empty && !endsFailed(st.class.tx) {
			// The server refuses to parse it now, and we may not do better.
			m.env.Statements.release(st)
			b.out.arena = wire.AppendParse(b.out.arena, st.name, rest)
			m.planOp(opParseAgain)
			return
		}
		m.planEntry(planned{op: opParseMade, name: string(name), stmt: st})
		return
	}
	b.add(st)
	b.out.arena = wire.AppendParse(b.out.arena, st.name, rest)
	m.planEntry(planned{op: opParse, name: string(name), stmt: st})
}

// endsFailed reports whether a statement may be parsed in a transaction that
// has failed (postgres.c, IsTransactionExitStmt).
func endsFailed(tx sqlclass.Tx) bool {
	switch tx {
	case sqlclass.TxCommit, sqlclass.TxCommitChain, sqlclass.TxRollback, sqlclass.TxRollbackChain,
		sqlclass.TxRollbackTo, sqlclass.TxPrepare:
		return true
	}
	return false
}

// prepared makes sure that the backend has the statement that the client calls
// name, and returns it; nil if its bytes need no change.
func (b *builder) prepared(name []byte) *Statement {
	m := b.m
	if len(name) == 0 {
		switch {
		case m.unnamed.id == 0:
			// What the backend has is somebody else's.
			b.own()
			b.out.arena = wire.AppendNamed(b.out.arena, 'C', 'S', nil)
			m.be.Unnamed = 0
			m.planOp(opCloseUnnamedHidden)
		case m.be.Unnamed != m.unnamed.id && len(m.unnamed.rest) > 0 && !mutantSharedUnnamed():
			b.own()
			b.out.arena = wire.AppendParse(b.out.arena, nil, m.unnamed.rest)
			m.be.Unnamed = m.unnamed.id
			m.planOp(opParseHidden)
		}
		return nil
	}
	st := m.find(name)
	if st == nil {
		return nil
	}
	b.ensure(st)
	return st
}

// ensure prepares st on the backend if it is not there.
func (b *builder) ensure(st *Statement) {
	m := b.m
	if m.be.Has(st.id) {
		return
	}
	b.own()
	b.add(st)
	b.out.arena = wire.AppendParse(b.out.arena, st.name, st.rest)
	m.planEntry(planned{op: opParseHidden, stmt: st})
}

// add notes st on the backend and closes the statement that had to leave.
func (b *builder) add(st *Statement) {
	if evict := b.m.be.Add(st.id); evict != 0 {
		b.own()
		b.out.arena = wire.AppendNamed(b.out.arena, 'C', 'S', backendName(evict))
		b.m.planOp(opCloseHidden)
	}
}

// closing adds a Close. A shared statement stays on the backend.
func (b *builder) closing(frame, body []byte) {
	m := b.m
	if len(body) > 1 && body[0] == 'S' {
		name := body[1 : len(body)-1]
		if len(name) == 0 {
			m.replaceUnnamed()
			m.be.Unnamed, m.unnamed.id = 0, 0
			b.keep(frame)
			m.planOp(opCloseUnnamed)
			return
		}
		if st := m.find(name); st != nil {
			b.own()
			m.planEntry(planned{op: opCloseMade, name: string(name), stmt: st})
			return
		}
		if m.sql.find(name) != nil {
			b.keep(frame)
			m.planEntry(planned{op: opClose, name: string(name)})
			return
		}
		if m.pin == "" && m.c.class.binds&sqlclass.BindsTaint == 0 {
			// What the backend knows by this name is somebody else's.
			b.own()
			m.planEntry(planned{op: opCloseMade, name: string(name)})
			return
		}
	}
	b.keep(frame)
	m.planOp(opClose)
}
