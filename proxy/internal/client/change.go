package client

import (
	"bytes"
	"strings"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/proxy/internal/settings"
)

// change is what a statement does to the session's settings if it succeeds.
type change struct {
	kind        changeKind
	name, value string
}

type changeKind uint8

const (
	// maxSettings bounds what a client may have set, and maxValue one value, so
	// that it can follow the client.
	maxSettings = 128
	maxValue    = 1 << 10
)

const (
	changeSet changeKind = iota
	changeReset
	changeResetAll
	changeDiscard // DISCARD ALL
)

// noteSetting notes the SET or RESET that was just classified.
func (m *Machine) noteSetting(r *sqlclass.Result) {
	s := &r.Setting
	m.noteLexing(s)
	switch string(s.Name) {
	case "search_path", "role", "": // without a name it is RESET ALL
		m.c.names = m.c.names || s.Kind != sqlclass.SettingShow
	}
	if s.Local {
		return
	}
	switch s.Kind {
	case sqlclass.SettingSet:
		if s.Multi && m.noteCharacteristics(r) {
			return
		}
		if s.Untrackable || len(s.Name) == 0 || len(s.Value) > maxValue ||
			m.want.Len()+len(m.c.changes)+len(m.txChanges) >= maxSettings {
			m.c.class.binds |= sqlclass.BindsPin | sqlclass.BindsTaint
			m.c.class.pinReason = "a setting that cannot follow the session"
			return
		}
		m.c.changes = append(m.c.changes, change{changeSet, string(s.Name), string(s.Value)})
	case sqlclass.SettingReset:
		if len(m.c.changes)+len(m.txChanges) >= maxSettings {
			m.c.class.binds |= sqlclass.BindsPin | sqlclass.BindsTaint
			m.c.class.pinReason = "a setting that cannot follow the session"
			return
		}
		m.c.changes = append(m.c.changes, change{kind: changeReset, name: string(s.Name)})
	case sqlclass.SettingResetAll:
		m.once(changeResetAll)
	}
}

// once notes a change that is the same if it is made twice in a row.
func (m *Machine) once(kind changeKind) {
	last := m.c.changes
	if len(last) == 0 {
		last = m.txChanges
	}
	if n := len(last); n == 0 || last[n-1].kind != kind {
		m.c.changes = append(m.c.changes, change{kind: kind})
	}
}

// noteCharacteristics notes SET SESSION CHARACTERISTICS AS TRANSACTION, which
// sets what SET default_transaction_… sets.
func (m *Machine) noteCharacteristics(r *sqlclass.Result) bool {
	if bytes.Contains(bytes.ToLower(r.Setting.Value), []byte("deferrable")) {
		return false
	}
	set := func(name, value string) {
		m.c.changes = append(m.c.changes, change{changeSet, name, value})
	}
	switch r.Isolation {
	case sqlclass.ReadCommitted:
		set("default_transaction_isolation", "'read committed'")
	case sqlclass.RepeatableRead:
		set("default_transaction_isolation", "'repeatable read'")
	case sqlclass.Serializable:
		set("default_transaction_isolation", "'serializable'")
	}
	if r.ReadOnly {
		set("default_transaction_read_only", "on")
	}
	if r.ReadWrite {
		set("default_transaction_read_only", "off")
	}
	return true
}

// noteForget notes DISCARD ALL.
func (m *Machine) noteForget(cl class) {
	if cl.binds&sqlclass.BindsDiscardAll != 0 {
		m.once(changeDiscard)
	}
}

// settleSettings applies the changes of the cycle once they are certain: at
// once outside of a transaction, at its COMMIT inside.
func (m *Machine) settleSettings(prev, status byte) {
	if len(m.c.changes) == 0 && len(m.txChanges) == 0 {
		return
	}
	cl := &m.c.class
	if cl.mixed || cl.tx == sqlclass.TxCommitChain || cl.tx == sqlclass.TxRollbackChain {
		m.uncertain()
		return
	}
	if status == 'I' {
		if prev != 'I' {
			if (m.c.rollback || prev == 'E' || m.c.failed) && !mutantKeptSettings() { // a COMMIT can fail
				m.be.Settings = m.want
				m.txChanges = m.txChanges[:0]
				return
			}
			if m.txUncertain {
				m.uncertain()
				return
			}
			m.txChanges = append(m.txChanges, m.c.changes...)
			m.apply(m.txChanges)
			m.txChanges = m.txChanges[:0]
			return
		}
		if !m.c.failed {
			m.apply(m.c.changes)
		}
		return
	}
	if m.c.class.tx == sqlclass.TxRollbackTo && len(m.txChanges) > 0 {
		m.txUncertain = true
	}
	if len(m.c.changes) > 0 && (!m.c.failed || !m.c.simple) {
		m.txChanges = append(m.txChanges, m.c.changes...)
		m.txUncertain = m.txUncertain || m.c.failed
		m.be.Settings = nil // until the transaction ends
	}
}

// completed follows the commands that no ROLLBACK undoes, by their tags.
func (m *Machine) completed(tag []byte) {
	switch string(tag) {
	case "DEALLOCATE ALL\x00", "DISCARD ALL\x00":
		m.forgetNames()
		if m.c.planAt+1 < len(m.c.plan) {
			m.be.Tainted, m.c.behind = true, true // what comes behind it was sent without knowing that
		}
		if tag[1] == 'I' {
			m.unlistenAll()
		}
	case "DEALLOCATE\x00":
		m.be.Tainted = true // perhaps it was one of ours, by the name that we gave it
		m.deallocated()
	case "PREPARE\x00":
		m.prepared()
	}
}

// uncertain says that nobody knows what is set on the backend now.
func (m *Machine) uncertain() {
	m.be.Tainted = true
	m.bind(sqlclass.PinState, "settings whose fate is not known")
}

// apply makes the changes in what the client wants and in what the backend
// has. The two differ where RESET means the startup packet's value, which the
// backend does not know.
func (m *Machine) apply(changes []change) {
	in, be := m.env.Settings, m.be
	has := m.want
	for i := range changes {
		c := &changes[i]
		switch c.kind {
		case changeSet:
			value := m.want.After(c.name, c.value)
			m.want = in.With(m.want, c.name, value)
			has = in.With(has, c.name, value)
			if !be.Primary && skippedOnReplica(c.name) {
				be.Tainted = true
			}
		case changeReset:
			has = in.Without(has, c.name)
			if v, ok := m.base.Value(c.name); ok {
				m.want = in.With(m.want, c.name, v)
			} else {
				m.want = in.Without(m.want, c.name)
			}
		case changeResetAll:
			m.want, has = m.resetAll(m.base), m.resetAll(in.Empty())
			m.resetPolicy()
		case changeDiscard:
			m.want, has = m.base, in.Empty()
			m.forget = true
			m.resetPolicy()
		}
	}
	be.Settings = has
	m.settingsChanged()
}

// resetPolicy takes the pgroute settings back to those of the startup.
func (m *Machine) resetPolicy() {
	m.policy, m.afterLocal = m.start, m.start
	m.chain.SetScope(m.policy.Scope)
}

// resetAll is what RESET ALL leaves: the role stays.
func (m *Machine) resetAll(to *settings.Set) *settings.Set {
	if v, ok := m.want.Value("role"); ok {
		return m.env.Settings.With(to, "role", v)
	}
	return to
}

func (m *Machine) forgetNames() {
	m.names.each(m.env.Statements.release)
	m.sql = sqlStatements{}
	m.be.ForgetAll()
}

// settingsChanged follows the settings that change how we read SQL.
func (m *Machine) settingsChanged() {
	if v, ok := m.want.Value("standard_conforming_strings"); ok {
		v = strings.ToLower(settings.Plain(v))
		m.scsOff = v == "off" || v == "false" || v == "no" || v == "0"
	}
	if v, ok := m.want.Value("client_encoding"); ok {
		m.unsafeEncoding = sqlclass.UnsafeEncoding(settings.Plain(v))
	} else {
		m.unsafeEncoding = m.unsafeDefault
	}
}

// Reported tells what a server reports to this user of this database at the
// login: ALTER ROLE … SET may change how SQL is to be read.
func (m *Machine) Reported(name, value string) {
	switch name {
	case "standard_conforming_strings":
		m.scsOff = value == "off"
	case DefaultIsolation:
		m.defaultIsolation = value
	case "client_encoding":
		m.unsafeDefault = sqlclass.UnsafeEncoding(value)
		m.encoding = encodingOf(value)
		m.unsafeEncoding = m.unsafeDefault
	case "server_encoding":
		m.stored = encodingOf(value)
	}
}

func isRepeatable(v string) bool { return strings.Contains(strings.ToLower(v), "repeatable") }
