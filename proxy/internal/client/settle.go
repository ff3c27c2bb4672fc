package client

import (
	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/router"
)

// settle ends the cycle with the backend's transaction status: it raises the
// floor (I1), follows the session's settings, and decides what binds the
// client. It returns true if ReadyForQuery must wait for the ticket.
func (m *Machine) settle(status byte) (hold bool) {
	if m.phase != phaseRun {
		m.be.Tx = status
		return false
	}
	if m.c.apart {
		m.settleApart(status)
		return false
	}
	be, cl := m.be, &m.c.class
	prev := m.tx
	be.Tx = status
	if m.c.planAt < len(m.c.plan) {
		m.abandon() // a server that has not answered everything
		be.Tainted = true
	}
	nonread := cl.access == sqlclass.AccessWrite && !cl.harmless || cl.mixed
	wrote := false
	if be.Primary {
		switch {
		case status == 'I' && prev != 'I':
			wrote = nonread || m.txWrote && !(m.c.rollback && cl.tx == sqlclass.TxRollback)
		case status == 'I':
			wrote = nonread
		default:
			// That a COMMIT was among the statements does not say that it was
			// run: the next COMMIT takes a ticket all the same.
			m.txWrote = m.txWrote || nonread
			wrote = m.txWrote && (cl.mixed || cl.tx == sqlclass.TxCommitChain)
		}
	}
	if wrote && !mutantNoTicket() {
		m.chain.Wrote()
		m.acknowledged()
		if m.policy.ReportToken {
			m.ticket.gen = m.chain.Ticket()
		}
	} else if be.Primary {
		m.chain.SawPrimary()
	} else {
		m.chain.SawReplica(be.Node)
	}
	ddl := cl.binds&sqlclass.BindsDDL != 0
	if m.txDDL && prev != 'I' {
		ddl = true // others see it from its COMMIT on
	}
	m.txDDL = ddl && status != 'I'
	m.txRows = status != 'I' && (m.txRows || m.c.rows) && cl.tx != sqlclass.TxRollbackTo
	m.committing.rows = m.committing.rows || m.c.rows
	m.txNames = status != 'I' && (m.txNames || m.c.names || cl.mixed)
	m.settleSettings(prev, status)
	m.settleSequences(nonread)
	m.settlePin(nonread, status)
	m.settleListen(prev, status)
	m.settleTransaction(prev, status)
	m.count()
	if ddl && (status == 'I' || cl.binds&sqlclass.BindsDDL != 0 || cl.tx == sqlclass.TxCommitChain) {
		m.db.Changed()
	}
	m.doneBudget()
	m.tx = status
	m.phase = phaseIdle
	m.c.copyIn, m.c.tail, m.c.open = false, false, false
	return wrote && m.policy.ReportToken
}

// settleTransaction follows transactions by what ReadyForQuery says.
func (m *Machine) settleTransaction(prev, status byte) {
	switch {
	case prev == 'I' && status != 'I':
		m.saved = m.policy
		m.committing = committing{}
		m.startedTx()
	case status != 'I':
		if m.begin != nil {
			m.startedTx()
		}
		if tx := m.c.class.tx; tx == sqlclass.TxCommitChain || tx == sqlclass.TxRollbackChain || m.c.class.mixed {
			m.committing = committing{} // it may be another transaction now
		}
		if tx := m.c.class.tx; tx == sqlclass.TxCommitChain && !m.c.rollback {
			m.saved = m.policy
		}
		if m.c.class.tx == sqlclass.TxNone {
			m.txUsed = true
		}
		if cl := &m.c.class; cl.tx == sqlclass.TxSavepoint || cl.setting != sqlclass.SettingShow &&
			(cl.setting != sqlclass.SettingNone || cl.access == sqlclass.AccessWrite) {
			m.txFixed = true
		}
		if m.c.portal {
			m.txFixed = true // a later group may go on with what this one left open
		}
	case prev != 'I':
		m.endTransaction(m.c.rollback || prev == 'E' || m.c.failed)
	default:
		m.begin = nil
	}
}

// startedTx notes that a transaction has begun on the backend.
func (m *Machine) startedTx() {
	m.txReplica = !m.be.Primary
	if m.begin != nil {
		m.beginSQL = m.begin
		m.txUsed = m.c.class.tx == sqlclass.TxNone
	} else {
		m.txRR = m.c.class.iso == sqlclass.RepeatableRead
		if v, ok := m.want.Value("default_transaction_isolation"); ok && m.c.class.iso == sqlclass.IsolationDefault {
			m.txRR = isRepeatable(v)
		}
		m.txUsed = m.c.more
		m.beginSQL = m.beginOfGroup()
		m.txFixed = m.beginSQL == nil // its BEGIN cannot be repeated elsewhere
	}
	m.begin = nil
}

// beginOfGroup returns a BEGIN READ ONLY that was a group by itself, nil if it
// was anything else.
func (m *Machine) beginOfGroup() []byte {
	cl := &m.c.class
	if m.c.simple || m.c.more || cl.mixed || cl.tx != beginReadOnly {
		return nil
	}
	var sql []byte
	switch {
	case m.c.stmt != nil && m.c.stmt.class.tx == beginReadOnly:
		sql = m.c.stmt.text()
	case m.c.stmt == nil && m.c.unnamed.tx == beginReadOnly && m.unnamed.class.tx == beginReadOnly:
		sql = queryText(m.unnamed.rest)
	}
	if len(sql) == 0 || len(sql) > maxBegin {
		return nil
	}
	return append([]byte(nil), sql...)
}

// unlease gives the backend back when the client does not need it any more.
func (m *Machine) unlease(out *Effects) {
	be := m.be
	if be != nil && be.Gone && m.phase != phaseRun {
		m.outlived(out)
		return
	}
	if be == nil || m.phase == phaseRun || !m.c.apart && (be.Tx != 'I' || m.tx != 'I') {
		return
	}
	if m.pin != "" && m.home == nil {
		if be.Primary {
			m.ask(out)
			return
		}
		m.unpin(m.pins)
	}
	if be.Tainted || be.Pinned || be.Settings == nil || be.Tx != 'I' {
		out.add(Destroy)
	} else {
		out.add(Release)
	}
	m.be = nil
}

// count counts the cycle, if it was a read.
func (m *Machine) count() {
	m.env.Stats.Cycles.Add(1)
	if m.c.class.access != sqlclass.AccessRead || m.c.class.tx != sqlclass.TxNone || m.last.node == nil || m.c.class.empty ||
		m.last.reason == router.ReasonWrite {
		m.env.Stats.Writes.Add(1)
		return
	}
	role := router.RoleReplica
	if m.be.Primary {
		role = router.RolePrimary
	}
	m.env.Stats.Read(m.last.node, role, m.last.reason)
}
