package client

import "github.com/pgroute/pgroute/proxy/internal/wire"

// planOpKind says what becomes of one reply of the backend, or that a reply
// is made here because the backend is not asked.
type planOpKind uint8

const (
	opParse       planOpKind = iota // forward ParseComplete; the client's name is registered now
	opParseHidden                   // drop ParseComplete: we prepared it
	opParseMade                     // make ParseComplete: the backend had it
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
	name string     // the client's name, for opParse, opParseMade, opCloseMade
	stmt *Statement // the reference that opParse and opParseMade hold
}

func (m *Machine) planOp(op planOpKind) { m.c.plan = append(m.c.plan, planned{op: op}) }

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
		if p.op != opParse && p.op != opParseHidden {
			return false
		}
		m.c.planAt++
		if p.op == opParse && p.stmt != nil {
			if drop {
				m.env.Statements.release(p.stmt)
			} else {
				m.names.add(p.name, p.stmt)
			}
		}
		return p.op == opParseHidden
	case '3':
		if p.op != opClose && p.op != opCloseHidden {
			return false
		}
		m.c.planAt++
		return p.op == opCloseHidden
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
		}
	}
	m.c.planAt = len(m.c.plan)
}
