package client

import (
	"bytes"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// What a client's named statements may be, in number and in bytes.
const (
	maxNames     = 10000
	maxNameBytes = 16 << 20
)

// scan is what looking at a group of extended messages found.
type scan struct {
	statements int  // parsed or bound
	parsed     int  // Parse messages
	bytes      int  // of the named ones
	local      int  // statements that we answer ourselves
	dealloc    int  // DEALLOCATE of a statement of the protocol
	channels   bool // somebody may ask for the client's channels
	listens    int  // LISTEN and UNLISTEN that can be answered here
	executes   int  // Execute messages
	binds      int  // Bind messages
	describes  int  // Describe messages
	unknown    bool // something was bound or run that we do not know
	hasUnnamed bool
	unnamed    []byte    // its text
	names      []scanned // named statements parsed in this group
}

// alone reports whether there is one statement that is run at most once.
func (s *scan) alone() bool {
	return s.statements == 1 && !s.unknown && s.binds <= 1 && s.executes <= 1
}

type scanned struct {
	name, sql []byte // point into the client's input
	class     class
}

// group gathers extended messages up to their Sync and starts the cycle. What
// lies between two Syncs is one unit: one implicit transaction.
func (m *Machine) group(data []byte, out *Effects) {
	m.newCycle(false)
	// First only where it ends: it is looked at once, however it arrives.
	whole, off := true, 0
	for ended := false; !ended; {
		typ, total, ok := wire.Header(data[off:])
		if !ok {
			if off < m.env.GatherLimit && !(m.hesitates && off > 0) {
				return
			}
			m.c.open = true
			break
		}
		if !m.vet(typ, total, out) {
			return
		}
		if wire.FrontendExtended(typ) && off+total > len(data) {
			if m.hesitates && off > 0 {
				m.c.open = true
				break
			}
			if off+total <= m.env.GatherLimit {
				return // wait for the rest
			}
			// Too long to be gathered: what is complete goes first, the long
			// message follows as it comes.
			m.c.open, whole = true, false
			break
		}
		if !wire.FrontendExtended(typ) {
			// A Query joins the implicit transaction of messages without
			// Sync; everything else is refused by the server.
			m.c.open, whole = true, false
			break
		}
		ended = typ == 'H' || typ == 'S'
		m.c.open = m.c.open || typ == 'H'
		off += total
	}
	if m.controlFirst(data[:off], out) {
		return
	}
	m.c.class.access = sqlclass.AccessRead
	s := scan{names: m.env.scanned[:0], unknown: !whole}
	for at := 0; at < off; {
		typ, total, _ := wire.Header(data[at:])
		if !m.look(&s, typ, data[at+wire.HeaderLen:at+total]) {
			m.violation("invalid message format", out)
			return
		}
		at += total
	}
	if m.hesitates && (s.local+s.dealloc > 0 || s.listens == 1 && s.alone()) {
		return // it is answered here, as a whole
	}
	if len(m.c.changes) > 0 && (m.c.open || s.executes != s.binds) {
		m.c.class.mixed = true // not every one of them need have been run
	}
	m.onlyParsed(&s)
	clear(s.names)
	m.env.scanned = s.names[:0]
	m.c.len = off
	m.c.runs = s.executes > 0
	if m.names.len()+s.parsed > maxNames || m.names.bytes+s.bytes > maxNameBytes {
		m.reject(tooManyNames(), out)
		return
	}
	m.c.more = s.statements > 1
	m.c.idle = !m.c.runs && !m.c.open
	m.c.portal = m.c.portal || s.binds != s.executes
	if s.unknown {
		m.c.class.access = sqlclass.AccessWrite
	}
	if m.hintedOnly(&s, data[:off], out) {
		return
	}
	if m.c.sql.prepares > 0 && !s.alone() {
		m.unfollowed()
	}
	if m.c.sql.clash {
		m.duplicate(out)
		return
	}
	m.startCycle(data, out)
}

func tooManyNames() *wire.Report {
	return &wire.Report{Code: sqlstate.ProgramLimitExceeded,
		Message: "too many prepared statements",
		Hint:    "Close or deallocate statements that are no longer needed."}
}

// hintedOnly answers the groups that need no server.
func (m *Machine) hintedOnly(s *scan, data []byte, out *Effects) bool {
	cl := &m.c.class
	switch {
	case s.local > 0 && s.local == s.statements && !m.c.open:
		m.localGroup(data, out)
	case s.local > 0:
		m.reject(&wire.Report{Code: sqlstate.FeatureNotSupported,
			Message: "pgroute statements cannot share a pipeline with other statements",
			Hint:    "Send a Sync between them."}, out)
	case m.preparesControl(s):
		m.localGroup(data, out)
	case s.statements == 0 && s.executes == 0 && s.binds == 0 && s.describes == 0 && !m.c.open && m.be == nil:
		m.localGroup(data, out) // Sync alone, or Close
	case m.txFailed:
		if s.alone() && (cl.tx == sqlclass.TxRollback || cl.tx == sqlclass.TxCommit) {
			m.c.first, m.c.open = m.c.open, false // its Sync may be still to come
			m.localGroup(data, out)
		} else {
			m.inFailed(out)
		}
	case s.dealloc == 1 && s.alone() && !m.c.open:
		m.localGroup(data, out)
	case s.listens == 1 && s.alone() && !m.c.open:
		m.c.listen = true
		m.localGroup(data, out)
	case s.channels:
		return m.ownChannels(out)
	case m.begin != nil && !m.c.open && s.alone() && s.binds <= s.executes && (cl.tx == sqlclass.TxRollback || cl.tx == sqlclass.TxCommit) && !cl.mixed:
		m.localGroup(data, out)
	default:
		return false
	}
	return true
}

// look notes what a message of a group means for routing. It returns false if
// the message is malformed.
func (m *Machine) look(s *scan, typ byte, body []byte) bool {
	switch typ {
	case 'P':
		name, rest, ok := wire.CString(body)
		if !ok {
			return false
		}
		sql, _, ok := wire.CString(rest)
		if !ok {
			return false
		}
		cl := m.classify(sql)
		here := m.resolved(cl)
		m.hint(&m.env.result.Hint)
		s.parsed++
		if len(name) == 0 {
			s.hasUnnamed, s.unnamed, m.c.unnamed = true, sql, cl
		} else {
			s.names = append(s.names, scanned{name, sql, cl})
			s.bytes += 2 * len(rest)
			if m.sql.find(name) != nil {
				m.need(name) // the server refuses it
			}
		}
		m.join(s, here)
		m.lookDealloc(s, cl)
		m.lookListen(s, cl, sql)
	case 'B':
		_, rest, ok := wire.CString(body)
		if !ok {
			return false
		}
		name, _, ok := wire.CString(rest)
		if !ok {
			return false
		}
		s.binds++
		m.c.portal = m.c.portal || body[0] != 0
		m.lookBound(s, name, true)
	case 'D', 'C':
		if len(body) < 2 || body[len(body)-1] != 0 {
			return false
		}
		if typ == 'D' {
			s.describes++
			m.c.portal = m.c.portal || body[0] == 'P' && s.binds == 0
		}
		if typ == 'D' && body[0] == 'S' {
			m.lookBound(s, body[1:len(body)-1], false)
		}
	case 'E':
		_, rows, ok := wire.CString(body)
		if !ok {
			return false
		}
		m.c.portal = m.c.portal || len(bytes.Trim(rows, "\x00")) > 0
		s.executes++
		if body[0] != 0 { // a named portal may come from anywhere
			s.unknown = true
		}
	}
	return true
}

// lookBound notes that the statement name is bound or described. What was
// parsed in the same group was counted then.
func (m *Machine) lookBound(s *scan, name []byte, bound bool) {
	if len(name) == 0 {
		switch {
		case s.hasUnnamed:
			m.noteBound(m.c.unnamed, s.unnamed, bound)
		case m.unnamed.id == 0:
			s.unknown = true
		default:
			m.joinText(s, m.unnamed.class, queryText(m.unnamed.rest))
			if m.unnamed.class.dealloc {
				m.lookDealloc(s, m.classify(queryText(m.unnamed.rest)))
			}
			m.lookListen(s, m.unnamed.class, queryText(m.unnamed.rest))
			m.noteBound(m.unnamed.class, queryText(m.unnamed.rest), bound)
		}
		return
	}
	for i := len(s.names) - 1; i >= 0; i-- {
		if e := &s.names[i]; bytes.Equal(e.name, name) {
			m.noteBound(e.class, e.sql, bound)
			return
		}
	}
	st := m.find(name)
	if st == nil {
		m.need(name)
		if sql := m.sql.find(name); sql != nil && !m.loose {
			m.judge(sql)
			m.hint(&sql.hint)
			m.join(s, sql.class)
			m.c.hash = sql.hash
		} else {
			s.unknown = true
		}
		return
	}
	m.refresh(st)
	if bound {
		m.noteAged(st)
	}
	m.c.stmt = st
	m.joinText(s, st.class, st.text())
	if st.class.dealloc {
		m.lookDealloc(s, m.classify(st.text()))
	}
	m.lookListen(s, st.class, st.text())
	m.noteBound(st.class, st.text(), bound)
	m.hint(&st.hint)
}

// lookDealloc notes a DEALLOCATE, just classified, of a statement that backends
// know by another name.
func (m *Machine) lookDealloc(s *scan, cl class) {
	if !cl.dealloc || cl.deallocAll {
		return
	}
	name := m.env.result.Name
	m.need(name)
	if m.knows(name) {
		s.dealloc++
	}
}

// lookListen notes a LISTEN or UNLISTEN. The server takes no more than one
// statement in a Parse.
func (m *Machine) lookListen(s *scan, cl class, sql []byte) {
	s.channels = s.channels || m.listens() && asksChannels(sql)
	if cl.binds&sqlclass.BindsListen == 0 {
		return
	}
	if ops, ok := m.sharedListen(sql); ok && len(ops) == 1 {
		s.listens++
	}
}

// noteBound notes what a statement will do to the session when it is executed.
// A Parse or a Describe does nothing.
func (m *Machine) noteBound(cl class, sql []byte, bound bool) {
	if !bound {
		return
	}
	if cl.setting != sqlclass.SettingNone {
		m.classify(sql)
		m.noteSetting(&m.env.result)
	}
	if cl.binds&sqlclass.BindsPrepare != 0 {
		m.classify(sql)
		m.notePrepare(sql)
	}
	if cl.tx >= sqlclass.TxSavepoint {
		m.classify(sql)
		m.noteSavepoint()
	}
	if cl.binds&sqlclass.BindsListen != 0 && m.listen != nil {
		ops, _ := sqlclass.Listens(sql, m.scanOptions())
		m.noteUnlistens(ops)
	}
	m.noteForget(cl)
}

// joinText is join for a text that was classified before.
func (m *Machine) joinText(s *scan, cl class, sql []byte) {
	if cl.binds&(sqlclass.BindsExecute|sqlclass.BindsPrepare) != 0 {
		m.classify(sql)
		cl = m.resolved(cl)
	}
	m.join(s, cl)
}

// refresh classifies a statement again if the catalogue or the client's
// search_path differ from those of its classification.
func (m *Machine) refresh(st *Statement) {
	_, gen, _ := m.db.Catalogue()
	if st.gen == gen && !m.want.Has("search_path") && !m.scsOff && !m.unsafeEncoding {
		return
	}
	st.class = m.classify(st.text())
	h := &m.env.result.Hint
	st.hint = sqlclass.Hint{Level: h.Level, OnTimeout: h.OnTimeout, Wait: bytes.Clone(h.Wait), MaxStaleness: bytes.Clone(h.MaxStaleness)}
	st.gen = gen
	if m.want.Has("search_path") || m.scsOff || m.unsafeEncoding {
		st.gen = unclassified // true for this client only
	}
}

// join adds a statement to the class of the group.
func (m *Machine) join(s *scan, o class) {
	c := &m.c.class
	if o.binds&sqlclass.BindsLocal != 0 {
		s.local++
	}
	if o.tx != sqlclass.TxNone {
		if s.statements > 0 {
			c.mixed = true
		}
		c.tx, c.iso, c.readOnly = o.tx, o.iso, o.readOnly
	} else if c.tx != sqlclass.TxNone && c.tx != sqlclass.TxBegin && c.tx != sqlclass.TxBeginReadOnly {
		c.mixed = true // something follows a COMMIT or the like
	}
	s.statements++
	c.queries = c.queries || o.tx == sqlclass.TxNone && !o.empty
	if o.access == sqlclass.AccessWrite {
		if c.access == sqlclass.AccessRead {
			c.reason = o.reason
		}
		c.access = sqlclass.AccessWrite
	}
	c.harmless = o.harmless && (s.statements == 1 || c.harmless)
	c.time = c.time || o.time
	c.empty = o.empty && (s.statements == 1 || c.empty)
	c.copyIn = c.copyIn || o.copyIn
	c.cursor = c.cursor || o.cursor
	c.sequence = c.sequence || o.sequence
	c.mixed = c.mixed || o.mixed
	c.binds |= o.binds
	c.pins |= o.pins
	c.several = c.several || o.several || s.statements > 1
	if o.pinReason != "" {
		c.pinReason = o.pinReason
	}
}

// queryText returns the SQL of what follows a Parse's name.
func queryText(rest []byte) []byte {
	sql, _, _ := wire.CString(rest)
	return sql
}
