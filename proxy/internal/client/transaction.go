package client

import (
	"bytes"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// maxBegin bounds the text of a BEGIN that is kept until the first statement.
const maxBegin = 1 << 10

// deferBegin answers BEGIN READ ONLY here. Where the transaction runs is
// decided at its first statement.
func (m *Machine) deferBegin(sql []byte, out *Effects) bool {
	cl := &m.c.class
	if cl.tx != sqlclass.TxBeginReadOnly || cl.mixed || cl.iso == sqlclass.Serializable || m.tx != 'I' || m.be != nil ||
		m.c.policy.Level == router.LevelPrimary || m.roPrimary || len(sql) > maxBegin || m.env.result.Statements != 1 {
		return false
	}
	if v, ok := m.want.Value("default_transaction_isolation"); ok && cl.iso == sqlclass.IsolationDefault {
		if !plainIsolation(v) {
			return false
		}
		m.txRR = isRepeatable(v)
	} else {
		m.txRR = cl.iso == sqlclass.RepeatableRead
	}
	m.begin = append([]byte(nil), sql...)
	m.beginPolicy, m.beginHinted = m.c.policy, m.c.policy != m.policy
	m.saved = m.policy
	m.txWrote = false
	m.txUsed, m.txFixed = false, false
	m.take(out)
	mark := len(out.arena)
	if m.c.notice != nil {
		out.arena = wire.AppendReport(out.arena, m.c.notice)
	}
	out.arena = wire.AppendCommandComplete(out.arena, beginTag(sql))
	out.arena = wire.AppendReady(out.arena, 'T')
	out.toClient(out.built(mark))
	m.tx = 'T'
	return true
}

// beginTag is the tag with which a server answers sql, which is BEGIN or START
// TRANSACTION after comments.
func beginTag(sql []byte) string {
	for depth := 0; len(sql) > 1; sql = sql[1:] {
		switch two := string(sql[:2]); {
		case two == "/*":
			depth++
			sql = sql[1:]
		case two == "*/":
			depth--
			sql = sql[1:]
		case depth > 0:
		case two == "--":
			sql = sql[max(bytes.IndexByte(sql, '\n'), 0):]
		case sql[0] == 's', sql[0] == 'S':
			return "START TRANSACTION"
		case sql[0] == 'b', sql[0] == 'B':
			return "BEGIN"
		}
	}
	return "BEGIN"
}

// orphans reports whether a transaction does not begin, as its BEGIN fails, and
// the client has sent more already: that belongs to it, and must not run without
// it.
func (m *Machine) orphans(out *Effects) bool {
	return m.begins() && !m.c.open && m.input > out.Consumed+m.c.len
}

// begins reports whether the cycle, which fails here, has a BEGIN whose
// transaction would have been open behind it.
func (m *Machine) begins() bool {
	cl := &m.c.class
	return m.tx == 'I' && m.home == nil && (cl.tx == sqlclass.TxBegin || cl.tx == sqlclass.TxBeginReadOnly) && !cl.mixed &&
		(m.c.simple || m.c.runs)
}

// orphaned makes the transaction that has not begun a failed one. A backend to
// which the client is pinned hears of it; see rest.
func (m *Machine) orphaned(out *Effects) {
	m.saved = m.policy // there is nothing to take back
	if m.tx = 'E'; m.pin == "" {
		m.failTransaction(out)
	}
}

// endDeferred ends a transaction that never ran anything.
func (m *Machine) endDeferred(out *Effects) bool {
	cl := &m.c.class
	if cl.mixed || m.env.result.Statements != 1 {
		return false
	}
	switch cl.tx {
	case sqlclass.TxCommit:
		m.endLocally("COMMIT", false, out)
	case sqlclass.TxRollback:
		m.endLocally("ROLLBACK", true, out)
	default:
		return false
	}
	return true
}

// endLocally ends a transaction that no backend knows of.
func (m *Machine) endLocally(tag string, rolledBack bool, out *Effects) {
	m.take(out)
	m.endTransaction(rolledBack)
	mark := len(out.arena)
	out.arena = wire.AppendCommandComplete(out.arena, tag)
	if m.carryListen(out) {
		out.toClient(out.built(mark))
		m.awaitHeard(out)
		return
	}
	out.arena = wire.AppendReady(out.arena, 'I')
	out.toClient(out.built(mark))
	m.phase = phaseIdle
}

// endTransaction forgets the transaction. SET LOCAL ends with it, and after a
// rollback so does SET.
func (m *Machine) endTransaction(rolledBack bool) {
	if rolledBack {
		m.policy = m.saved
	} else if m.local {
		m.policy = m.afterLocal
	}
	m.chain.SetScope(m.policy.Scope)
	m.local = false
	m.txNames = false
	m.tx = 'I'
	m.begin = nil
	m.ahead.on, m.ahead.judge = false, false
	m.txWrote, m.txFailed, m.txReplica, m.txRR, m.txUsed, m.txFixed = false, false, false, false, false, false
	m.txChanges = m.txChanges[:0]
	m.txUncertain = false
	m.sorry = nil
	m.committing = committing{}
	m.endListen(rolledBack)
}

// onReplica handles a statement of a transaction that runs on a replica. It
// returns false if the statement may simply run there now.
func (m *Machine) onReplica(data []byte, out *Effects) bool {
	cl := &m.c.class
	if len(m.txChanges) > 0 && (cl.tx == sqlclass.TxRollbackTo || cl.tx == sqlclass.TxCommitChain || cl.tx == sqlclass.TxRollbackChain) {
		// What is set after it nobody knows, and the session cannot stay here.
		m.roPrimary = true
		m.conflict(out)
		return true
	}
	if m.be.Tx == 'E' || cl.tx != sqlclass.TxNone && !cl.mixed {
		return false // transaction control belongs to where the transaction is
	}
	safe := cl.access == sqlclass.AccessRead || refusedThere(cl.reason) || m.c.sql.preparing != ""
	if cl.binds&(sqlclass.BindsPin|sqlclass.BindsTaint) != 0 || m.c.open || m.c.stream > 0 || cl.mixed {
		safe = false
	}
	if safe {
		if m.txRR && m.txUsed {
			return false // its one snapshot is taken
		}
		// READ COMMITTED: every statement takes a new snapshot, so the floor
		// is checked before each. REPEATABLE READ: before the first.
		m.c.onRead = cl.access == sqlclass.AccessRead
		if !m.c.onRead {
			return false
		}
		m.c.held = false
		m.route(out)
		return true
	}
	// The replica might accept it although it must not run there.
	m.roPrimary = true
	if m.txRR && m.txUsed || m.txFixed {
		m.conflict(out)
		return true
	}
	m.moveToPrimary(out)
	return true
}

// conflict refuses a statement of a transaction that runs on a replica.
func (m *Machine) conflict(out *Effects) {
	m.reject(&wire.Report{Code: sqlstate.SerializationFailure,
		Message: "pgroute: this read-only transaction runs on a replica and cannot run the statement there",
		Detail:  "Reason: " + m.c.class.reason.String() + ".",
		Hint:    "Run the transaction again; it will run on the primary."}, out)
}

// refusedThere reports whether a replica refuses such a statement just as a
// read-only transaction on the primary does, so that it may be sent there.
func refusedThere(r sqlclass.Reason) bool {
	switch r {
	case sqlclass.ReasonLocking, sqlclass.ReasonWritingCTE, sqlclass.ReasonSelectInto:
		return true
	}
	return false
}

// moveToPrimary begins the read-only transaction anew on the primary. Under
// READ COMMITTED nothing of it lasts from one statement to the next.
func (m *Machine) moveToPrimary(out *Effects) {
	out.add(Destroy)
	m.chain.SawReplica(m.be.Node)
	m.be = nil
	m.txReplica = false
	m.begin = append([]byte(nil), m.beginSQL...)
	m.c.onRead = false
	m.c.held = true
	m.route(out)
}
