package client

import "github.com/pgroute/pgroute/proxy/internal/wire"

// planOpKind says what becomes of one reply of the backend, or that a reply
// is made here because the backend is not asked.
type planOpKind uint8

const (
	opParse       planOpKind = iota // forward ParseComplete; the client's name is registered now
	opParseHidden                   // drop ParseComplete: we prepared it
	opParseMade                     // make ParseComplete: the backend had it
	opParseAgain                    // forward the error that it exists, or that the transaction has failed
	opParseUnnamed
	opCloseUnnamed
	opCloseUnnamedHidden // drop CloseComplete: the client has none, but the backend may
	opClosePortalHidden  // drop CloseComplete: a Query that was answered here has destroyed it
	opBind
	opDescribe
	opExecute
	opClose
	opCloseMade   // make CloseComplete: the backend keeps it
	opCloseHidden // drop CloseComplete: we closed it
)

// planned is one entry of a group's replies, in the order of the messages.
type planned struct {
	op   planOpKind
	name string     // the client's name, where one is given or taken
	stmt *Statement // opParse and opParseMade hold a reference to it
}

// unnamedState says what a group has done to the unnamed statement.
type unnamedState uint8

const (
	unnamedKept    unnamedState = iota
	unnamedSent                 // a message that replaces it was sent
	unnamedChanged              // and one was answered
)

// maxPlanKept bounds the plan that a client keeps for its next cycle.
const maxPlanKept = 256

func (m *Machine) planOp(op planOpKind) { m.planEntry(planned{op: op}) }

// planEntry adds an entry. What a long pipeline has behind it is dropped now
// and then, so that the plan is as long as what is in flight.
func (m *Machine) planEntry(p planned) {
	c := &m.c
	if c.planAt >= maxPlanKept && c.planAt >= len(c.plan)/2 {
		kept := c.renamed[:0]
		for _, i := range c.renamed {
			if i >= c.planAt {
				kept = append(kept, i-c.planAt)
			}
		}
		c.renamed = kept
		n := copy(c.plan, c.plan[c.planAt:])
		clear(c.plan[n:])
		c.plan, c.planAt = c.plan[:n], 0
	}
	if p.name != "" {
		c.renamed = append(c.renamed, len(c.plan))
	}
	c.plan = append(c.plan, p)
}

// find returns the client's statement of this name as it will be when
// everything that was sent before has been answered.
func (m *Machine) find(name []byte) *Statement {
	c := &m.c
	for i := len(c.renamed) - 1; i >= 0 && c.renamed[i] >= c.planAt; i-- {
		p := &c.plan[c.renamed[i]]
		if p.name == string(name) {
			if p.op == opCloseMade {
				return nil
			}
			return p.stmt
		}
	}
	return m.names.find(name)
}

// dueMade reports whether a reply that no backend gives is due now.
func (m *Machine) dueMade() bool {
	if m.c.simple || m.c.planAt >= len(m.c.plan) {
		return false
	}
	op := m.c.plan[m.c.planAt].op
	return op == opParseMade || op == opCloseMade
}

// made appends the replies that are due now and that no backend gives.
func (m *Machine) made(b []byte, drop bool) []byte {
	for len(m.c.plan) > m.c.planAt {
		p := &m.c.plan[m.c.planAt]
		switch p.op {
		case opParseMade:
			if !drop {
				m.names.add(p.name, p.stmt)
				b = wire.AppendEmpty(b, '1')
			} else {
				m.env.Statements.release(p.stmt)
			}
		case opCloseMade:
			if !drop {
				if st := m.names.remove([]byte(p.name)); st != nil {
					m.env.Statements.release(st)
				}
				b = wire.AppendEmpty(b, '3')
			}
		default:
			return b
		}
		m.c.planAt++
	}
	return b
}

// reply takes the plan's entry for a message of the backend. hidden is true
// if the message is not for the client.
func (m *Machine) reply(typ byte, drop bool) (hidden bool) {
	if m.c.planAt >= len(m.c.plan) {
		return false
	}
	p := &m.c.plan[m.c.planAt]
	switch typ {
	case '1':
		if p.op != opParse && p.op != opParseHidden && p.op != opParseUnnamed {
			return false
		}
		m.c.planAt++
		if p.op == opParseUnnamed {
			m.c.unnamedAt = unnamedChanged
		}
		if p.op == opParse && p.stmt != nil {
			if drop {
				m.env.Statements.release(p.stmt)
			} else {
				m.names.add(p.name, p.stmt)
			}
		}
		return p.op == opParseHidden
	case '3':
		switch p.op {
		case opCloseUnnamed:
			m.c.unnamedAt = unnamedChanged
		case opClose:
			if p.name != "" && !drop {
				m.sql.drop([]byte(p.name))
				m.be.DropSQL(string(cutName([]byte(p.name))))
			}
		case opCloseHidden, opCloseUnnamedHidden, opClosePortalHidden:
		default:
			return false
		}
		m.c.planAt++
		return p.op == opCloseHidden || p.op == opCloseUnnamedHidden || p.op == opClosePortalHidden
	case '2':
		if p.op == opBind {
			m.c.planAt++
		}
	case 'T', 'n':
		if p.op == opDescribe {
			m.c.planAt++
		}
	case 'C', 's', 'I':
		if p.op == opExecute {
			m.c.planAt++
		}
	}
	return false
}

// abandon ends the plan after an error: the server skips to Sync, and so do
// we. What was not prepared is not prepared.
func (m *Machine) abandon() {
	m.abandonUnnamed()
	for i := m.c.planAt; i < len(m.c.plan); i++ {
		p := &m.c.plan[i]
		switch p.op {
		case opParse:
			if p.stmt != nil {
				m.be.Forget(p.stmt.id)
				m.env.Statements.release(p.stmt)
			}
		case opParseHidden:
			if p.stmt != nil {
				m.be.Forget(p.stmt.id)
			} else {
				m.be.Unnamed = 0
			}
		case opParseMade:
			m.env.Statements.release(p.stmt)
		case opCloseHidden:
			// The statement that had to leave is still there.
			m.be.Tainted = true
		}
	}
	m.c.planAt = len(m.c.plan)
}

// abandonUnnamed finds out what the unnamed statement is after an error. Of
// several in one group only the last is remembered.
func (m *Machine) abandonUnnamed() {
	for i := m.c.planAt; i < len(m.c.plan); i++ {
		switch p := &m.c.plan[i]; {
		case p.op == opParseHidden && p.stmt == nil, p.op == opCloseUnnamedHidden:
			m.be.Unnamed = 0
		case p.op != opParseUnnamed && p.op != opCloseUnnamed:
		case i > m.c.planAt && m.c.unnamedAt == unnamedSent:
			m.unnamed, m.older = m.older, m.unnamed // it was not replaced
			m.be.Unnamed = m.c.unnamedWas
			m.c.unnamedAt = unnamedKept
			return
		default:
			m.unnamed.id, m.be.Unnamed = 0, 0
			return
		}
	}
}

// replaceUnnamed remembers the unnamed statement, which the group replaces.
func (m *Machine) replaceUnnamed() {
	if m.c.unnamedAt == unnamedKept {
		m.unnamed, m.older = m.older, m.unnamed
		m.c.unnamedAt, m.c.unnamedWas = unnamedSent, m.be.Unnamed
	}
}

// failing returns the entry of the message that an error is about, nil if that
// is not known.
func (m *Machine) failing() *planned {
	if m.c.simple || m.c.planAt >= len(m.c.plan) {
		return nil
	}
	return &m.c.plan[m.c.planAt]
}
