package client

import (
	"bytes"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// Transaction control of transactions that no server knows; see ahead.

// aheadQuery answers a Query that needs no server: a BEGIN, and what nests or
// ends a transaction that no server knows.
func (m *Machine) aheadQuery(sql []byte, out *Effects) bool {
	cl := &m.c.class
	tag := ""
	switch {
	case m.env.result.Statements != 1 || cl.mixed:
		if !m.ahead.on || !m.txFailed || !cl.empty {
			return false
		}
	case m.ahead.on:
		if !m.answersAhead(cl.tx) {
			return false
		}
		tag = m.controlAhead(cl.tx)
	case m.beginsAhead(cl, sql):
		m.goAhead(sql)
		tag = beginTag(sql)
	default:
		return false
	}
	m.take(out)
	mark := len(out.arena)
	if m.c.notice != nil {
		out.arena = wire.AppendReport(out.arena, m.c.notice)
	}
	if cl.empty {
		out.arena = wire.AppendEmpty(out.arena, 'I')
	} else {
		out.arena = wire.AppendCommandComplete(out.arena, tag)
	}
	out.arena = wire.AppendReady(out.arena, m.tx)
	out.toClient(out.built(mark))
	m.phase = phaseIdle
	return true
}

// answersAhead reports whether the statement in env.result, whose effect is tx,
// is answered here in the transaction that no server knows. One that goes back
// to a savepoint which is not known goes to the server, which knows what to say,
// also if the transaction has failed.
func (m *Machine) answersAhead(tx sqlclass.Tx) bool {
	name := m.env.result.Savepoint
	switch tx {
	case sqlclass.TxRollback, sqlclass.TxRollbackChain:
		return true
	case sqlclass.TxCommit, sqlclass.TxCommitChain:
		// What was said of channels takes effect with a real COMMIT.
		return m.txFailed || m.listen == nil || len(m.listen.pending) == 0
	case sqlclass.TxSavepoint:
		return !m.txFailed && len(name) > 0 && len(m.ahead.points) < maxPoints
	case sqlclass.TxRelease:
		return !m.txFailed && m.point(name) >= 0
	case sqlclass.TxRollbackTo:
		if m.point(name) >= 0 {
			return true
		}
		m.txFailed = false // so that it moves
	}
	return false
}

// point returns the index of the last savepoint of that name, or -1.
func (m *Machine) point(name []byte) int {
	points := m.ahead.points
	for i := len(points) - 1; i >= 0; i-- {
		if points[i] == string(name) {
			return i
		}
	}
	return -1
}

// controlAhead carries out what answersAhead allows and returns its tag.
func (m *Machine) controlAhead(tx sqlclass.Tx) (tag string) {
	a := &m.ahead
	name := m.env.result.Savepoint
	undo := m.txFailed || tx == sqlclass.TxRollback || tx == sqlclass.TxRollbackChain
	switch tx {
	case sqlclass.TxCommit, sqlclass.TxRollback:
		m.endTransaction(undo)
	case sqlclass.TxCommitChain, sqlclass.TxRollbackChain:
		m.endTransaction(undo)
		if !m.c.hinted {
			m.c.policy = m.policy // without what SET LOCAL has set
		}
		m.goAhead(a.begin)
	case sqlclass.TxSavepoint, sqlclass.TxRelease, sqlclass.TxRollbackTo:
		m.noteSavepoint()
		m.followSavepoint(tx)
	}
	switch tx {
	case sqlclass.TxSavepoint:
		a.points = append(a.points, string(name))
		return "SAVEPOINT"
	case sqlclass.TxRelease:
		a.points = a.points[:m.point(name)]
		return "RELEASE"
	case sqlclass.TxRollbackTo:
		a.points = a.points[:m.point(name)+1]
		m.txFailed = false
		m.tx = 'T'
		return "ROLLBACK"
	}
	if undo {
		return "ROLLBACK"
	}
	return "COMMIT"
}

// controlFirst looks at a group that begins with a BEGIN that is run at once, as
// some drivers put one in front of the first statement, or with what nests or
// ends a transaction that no server knows. If no server is needed for it, it is
// answered here, and the rest is a group of its own: between the two there would
// have been no difference but for Sync.
func (m *Machine) controlFirst(data []byte, out *Effects) bool {
	if !m.ahead.on && (!m.policy.UntilWrite || m.tx != 'I' || m.be != nil) {
		return false
	}
	var name, text []byte
	parsed, bound := false, false
	for at := 0; at < len(data); {
		typ, total, _ := wire.Header(data[at:])
		body := data[at+wire.HeaderLen : at+total]
		at += total
		first, rest, ok := wire.CString(body)
		switch {
		case typ == 'H' && !parsed && !bound: // nothing waits to be sent
			out.Consumed += at
			return true
		case typ == 'P' && !parsed && !bound && ok:
			parsed = true
			name, text = first, queryText(rest)
			if len(name) > 0 && (m.names.find(name) != nil || m.names.len() >= maxNames) {
				return false
			}
		case typ == 'B' && !bound && ok && len(first) == 0:
			bound = true
			of, _, ok := wire.CString(rest)
			if !ok || parsed && !bytes.Equal(of, name) {
				return false
			}
			if !parsed {
				text = m.localText(of)
				if len(of) == 0 && m.unnamed.id == 0 {
					return false
				}
			}
		case typ == 'D' && bound && len(body) == 2 && body[0] == 'P':
		case typ == 'E' && bound && ok && len(first) == 0:
			if next, _, ok := wire.Header(data[at:]); ok && (next == 'E' || next == 'D') {
				return false // it may be about the same portal
			}
			return m.answerFirst(data[:at], text, out)
		default:
			return false
		}
		if !looksLikeControl(text) {
			return false
		}
	}
	return false
}

// looksLikeControl spares most texts a classification.
func looksLikeControl(sql []byte) bool {
	sql = bytes.TrimLeft(sql, " \t\r\n")
	if len(sql) < len("end") {
		return false
	}
	switch sql[0] | 0x20 {
	case 'b', 'e', 'r':
		return true
	case 's':
		return sql[1]|0x20 != 'e' // SELECT
	case 'c':
		return sql[2]|0x20 == 'm' // COMMIT, not COPY
	case 'a':
		return sql[1]|0x20 == 'b' // ABORT
	}
	return sql[0] == '/' || sql[0] == '-'
}

// answerFirst answers the messages of data, which run text.
func (m *Machine) answerFirst(data, text []byte, out *Effects) bool {
	cl := m.classify(text)
	if m.env.result.Statements != 1 || cl.mixed {
		return false
	}
	if m.ahead.on {
		if !m.answersAhead(cl.tx) {
			return false
		}
	} else {
		m.hint(&m.env.result.Hint)
		if !m.beginsAhead(&cl, text) {
			m.c.policy, m.c.hinted, m.c.notice = m.policy, false, nil // as if nobody had looked
			return false
		}
	}
	m.c.first, m.c.open = true, false
	m.c.len = len(data)
	m.localGroup(data, out)
	return true
}

// preparesControl reports whether a group only prepares what nests or ends a
// transaction that no server knows.
func (m *Machine) preparesControl(s *scan) bool {
	tx := m.c.class.tx
	if !m.ahead.on || m.c.open || m.c.class.mixed || s.parsed != 1 || s.statements != 1 || s.binds+s.executes > 0 || s.unknown {
		return false
	}
	if endsFailed(tx) {
		return tx != sqlclass.TxPrepare
	}
	return !m.txFailed && (tx == sqlclass.TxSavepoint || tx == sqlclass.TxRelease)
}
