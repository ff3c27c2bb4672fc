package client

import (
	"hash/maphash"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// savepoint is where the transaction's pending stood.
type savepoint struct {
	name uint64 // hash
	at   int
}

// settleListen follows, inside of transactions, what was said of channels.
func (m *Machine) settleListen(prev, status byte) {
	cl := &m.c.class
	if l := m.listen; l != nil && !m.c.failed && len(m.c.unlistens) > 0 {
		if status == 'I' && prev == 'I' {
			l.due = append(l.due, m.c.unlistens...)
		} else {
			l.say(m.c.unlistens)
		}
	}
	if status == 'I' || m.c.failed {
		return
	}
	if cl.mixed {
		m.savepointsLost = true
		return
	}
	m.followSavepoint(cl.tx)
}

// followSavepoint follows what has nested the transaction, or ended it and begun
// another: a savepoint remembers what had been said of channels.
func (m *Machine) followSavepoint(tx sqlclass.Tx) {
	at := 0
	if m.listen != nil {
		at = len(m.listen.pending)
	}
	switch tx {
	case sqlclass.TxSavepoint:
		if len(m.savepoints) < maxSavepoints && m.c.savepoint != 0 {
			m.savepoints = append(m.savepoints, savepoint{m.c.savepoint, at})
		} else {
			m.savepointsLost = true
		}
	case sqlclass.TxRelease, sqlclass.TxRollbackTo:
		i := len(m.savepoints) - 1
		for i >= 0 && m.savepoints[i].name != m.c.savepoint {
			i--
		}
		if i < 0 {
			m.savepointsLost = true
			return
		}
		if tx == sqlclass.TxRelease {
			m.savepoints = m.savepoints[:i]
			return
		}
		if m.listen != nil {
			m.listen.pending = m.listen.pending[:min(at, m.savepoints[i].at)]
		}
		m.savepoints = m.savepoints[:i+1]
	case sqlclass.TxCommitChain, sqlclass.TxRollbackChain:
		m.endListen(tx == sqlclass.TxRollbackChain || m.c.rollback)
	}
}

// noteSavepoint notes the name of the savepoint that the statement in
// env.result is about; 0 if it is not certain.
func (m *Machine) noteSavepoint() {
	m.c.savepoint = 0
	if name := m.env.result.Savepoint; len(name) > 0 {
		m.c.savepoint = maphash.Bytes(m.env.seed, name) | 1
	}
}

// endListen makes what the transaction has said due, or forgets it.
func (m *Machine) endListen(rolledBack bool) {
	if m.savepoints, m.savepointsLost = m.savepoints[:0], false; cap(m.savepoints) > 64 {
		m.savepoints = nil
	}
	l := m.listen
	if l == nil {
		return
	}
	if !rolledBack {
		l.due = append(l.due, l.pending...)
	}
	l.pending = l.pending[:0]
}

// unlistenAll takes all channels back, after DISCARD ALL.
func (m *Machine) unlistenAll() {
	if m.listen != nil {
		m.listen.due = append(m.listen.due, sqlclass.Listen{})
	}
}
