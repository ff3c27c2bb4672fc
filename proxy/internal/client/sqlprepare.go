package client

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"unique"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/settings"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// What a client may have prepared by SQL, in number and in bytes of text, so
// that it can follow the client. What is beyond pins.
const (
	maxSQLNames = 256
	maxSQLBytes = 256 << 10
)

// nameLen is NAMEDATALEN-1: the server looks no further into a name.
const nameLen = 63

func cutName(name []byte) []byte { return name[:min(len(name), nameLen)] }

// sqlStatement is a statement that the client has made by SQL's PREPARE.
type sqlStatement struct {
	what  backend.Prepared
	class class // of what it runs
	hint  sqlclass.Hint
	hash  uint64
	// class was made with this catalogue, under these settings.
	gen  uint64
	want *settings.Set
}

// sqlStatements are the client's statements of SQL's PREPARE by their names.
type sqlStatements struct {
	byName map[string]*sqlStatement
	bytes  int
	// delicate counts those whose text means something else under another
	// client_encoding or standard_conforming_strings.
	delicate int
}

func (t *sqlStatements) find(name []byte) *sqlStatement { return t.byName[string(cutName(name))] }

func (t *sqlStatements) add(name string, what backend.Prepared) {
	t.drop([]byte(name))
	if t.byName == nil {
		t.byName = make(map[string]*sqlStatement)
	}
	t.byName[name] = &sqlStatement{what: what, gen: unclassified}
	t.bytes += len(what.Value().SQL)
	if delicate([]byte(what.Value().SQL)) {
		t.delicate++
	}
}

// drop forgets a name and reports whether there was one.
func (t *sqlStatements) drop(name []byte) bool {
	st := t.find(name)
	if st == nil {
		return false
	}
	delete(t.byName, string(cutName(name)))
	t.bytes -= len(st.what.Value().SQL)
	if delicate([]byte(st.what.Value().SQL)) {
		t.delicate--
	}
	return true
}

// delicate reports whether the settings of a session decide what a text means.
func delicate(sql []byte) bool {
	for _, c := range sql {
		if c >= 0x80 || c == '\\' {
			return true
		}
	}
	return false
}

// sqlCycle is what a cycle has to do with statements of SQL's PREPARE.
type sqlCycle struct {
	// The name that the cycle refers to, or all: what it means on the backend
	// is compared with what it means to the client before anything is sent.
	name [nameLen]byte
	n    int
	all  bool

	prepares  int              // PREPAREs that will be executed
	preparing string           // the name, if there is one and it can be followed
	what      backend.Prepared // what it will be
	clash     bool             // the client has this name from the protocol

	aligning bool     // the backend is told; see alignPrepared
	asked    string   // what it prepares for us now
	failed   []string // what it could not prepare
}

// need says that the cycle refers to a prepared statement by this name.
func (m *Machine) need(name []byte) {
	name = cutName(name)
	switch q := &m.c.sql; {
	case q.n == 0:
		q.n = copy(q.name[:], name)
	case string(q.name[:q.n]) != string(name):
		q.all = true
	}
}

// resolved returns what a text that was just classified as cl is for this
// client: what EXECUTE does is what the client has prepared.
func (m *Machine) resolved(cl class) class {
	if cl.binds&(sqlclass.BindsExecute|sqlclass.BindsPrepare) == 0 {
		return cl
	}
	r := &m.env.result
	if r.Statements != 1 || len(r.Name) == 0 {
		m.c.sql.all = true
		for _, st := range m.sql.byName { // whichever it is
			m.judge(st)
			cl.binds |= st.class.binds
			cl.pins |= st.class.pins
			cl.pinReason = either(cl.pinReason, st.class.pinReason)
		}
		return cl
	}
	m.need(r.Name)
	st := m.sql.find(r.Name)
	if st == nil || cl.binds&sqlclass.BindsExecute == 0 {
		return cl
	}
	m.judge(st)
	m.hint(&st.hint)
	what, given := &st.class, &r.Inner
	cl.binds |= what.binds
	cl.pins |= what.pins
	cl.pinReason = either(cl.pinReason, what.pinReason)
	cl.time = cl.time || what.time
	cl.harmless = cl.harmless || what.harmless && given.Harmless
	switch {
	case what.access != sqlclass.AccessRead:
		cl.reason = what.reason
	case given.Access != sqlclass.AccessRead:
		if given.Reason != sqlclass.ReasonRead {
			cl.reason = given.Reason
		}
	case !m.loose:
		cl.access, cl.reason, cl.harmless = sqlclass.AccessRead, sqlclass.ReasonRead, true
		m.c.hash = st.hash
	}
	return cl
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// judge classifies what st runs, if that is not known.
func (m *Machine) judge(st *sqlStatement) {
	cat, gen, _ := m.db.Catalogue()
	if st.gen != gen || st.want != m.want {
		sql := []byte(st.what.Value().SQL)
		r := &m.env.inner
		sqlclass.Classify(sql, cat, m.options(), r)
		in := &r.Inner
		st.class = class{access: in.Access, harmless: in.Harmless, reason: in.Reason, binds: in.Binds, pins: in.Pins, pinReason: in.PinReason, time: r.TransactionTime}
		if r.Statements != 1 || r.Binds&sqlclass.BindsPrepare == 0 { // it is read differently now
			st.class = class{binds: sqlclass.BindsPin | sqlclass.BindsTaint, pins: sqlclass.PinPrepared, pinReason: "PREPARE"}
		}
		st.hint, st.hash = r.Hint, maphash.Bytes(m.env.seed, sql)
		st.gen, st.want = gen, m.want
	}
	if _, missed := m.env.misses[st.hash]; missed {
		st.class.access, st.class.harmless = sqlclass.AccessWrite, false
	}
}

// notePrepare notes that the PREPARE that was just classified will be executed.
// The name is the client's once the server has said so.
func (m *Machine) notePrepare(sql []byte) {
	q, name := &m.c.sql, m.env.result.Name
	q.prepares++
	switch {
	case m.env.result.Statements != 1, len(name) == 0, q.prepares > 1, m.c.open, m.phase == phaseRun,
		len(m.sql.byName) >= maxSQLNames, m.sql.bytes+len(sql) > maxSQLBytes,
		bytes.HasPrefix(name, []byte(namePrefix)), // those are ours
		m.tx != 'I' && delicate(sql):              // its transaction may have other settings than the session
		m.unfollowed()
		return
	}
	w := m.meaning()
	q.preparing = string(name)
	q.what = unique.Make(backend.Definition{SQL: string(sql), Path: w.path, Role: w.role, Catalogue: w.catalogue, DDL: w.ddl, Own: w.own})
	q.clash = m.names.find(name) != nil && m.tx != 'E'
}

// unfollowed says that nobody knows what the client has prepared when the cycle
// is over.
func (m *Machine) unfollowed() {
	cl := &m.c.class
	m.c.sql.preparing = ""
	cl.binds |= sqlclass.BindsPin | sqlclass.BindsTaint
	cl.pins |= sqlclass.PinPrepared
	cl.pinReason = either(cl.pinReason, "PREPARE")
}

// duplicate refuses a PREPARE of a name that the client has from the protocol:
// for PostgreSQL both are of one kind.
func (m *Machine) duplicate(out *Effects) {
	if m.tx == 'T' {
		m.failLocal(out)
	}
	m.reject(&wire.Report{Code: sqlstate.DuplicatePreparedStatement,
		Message: fmt.Sprintf("prepared statement %q already exists", m.c.sql.preparing)}, out)
}

// noteLexing notes a change of the settings that decide what a text means: the
// client's prepared ones could not be sent again.
func (m *Machine) noteLexing(s *sqlclass.Setting) {
	if m.sql.delicate == 0 || s.Kind == sqlclass.SettingShow {
		return
	}
	switch string(s.Name) {
	case "client_encoding", "standard_conforming_strings":
	case "":
		if s.Kind != sqlclass.SettingResetAll || !m.want.Has("client_encoding") && !m.want.Has("standard_conforming_strings") {
			return
		}
	default:
		return
	}
	m.c.class.binds |= sqlclass.BindsPin | sqlclass.BindsTaint
	m.c.class.pinReason = "a setting that prepared statements depend on"
}

// prepared follows the tag of a PREPARE. No ROLLBACK takes it back.
func (m *Machine) prepared() {
	q := &m.c.sql
	if q.preparing == "" || q.prepares != 1 {
		m.unfollowed()
		return
	}
	m.sql.add(q.preparing, q.what)
	m.be.AddSQL(q.preparing, q.what)
}

// knows reports whether the client certainly has a prepared statement of this
// name, of whichever kind.
func (m *Machine) knows(name []byte) bool {
	return m.names.find(name) != nil || !m.loose && m.sql.find(name) != nil
}

// deallocated follows the tag of a DEALLOCATE that the server has executed: the
// client's own, if it may be among what was sent.
func (m *Machine) deallocated() {
	if len(m.sql.byName) > 0 && (m.c.more || m.c.class.mixed || !m.c.simple) {
		m.unfollowed()
	}
}

// forgetPrepared forgets one name of the client, of whichever kind, and reports
// whether there was one.
func (m *Machine) forgetPrepared(name []byte) bool {
	if st := m.names.remove(name); st != nil {
		m.env.Statements.release(st)
		return true
	}
	return m.sql.drop(name)
}
