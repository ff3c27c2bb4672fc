package client

import (
	"bytes"
	"strings"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/proxy/internal/settings"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// DefaultIsolation names the setting that says what a plain BEGIN begins. No
// server reports it by itself; see Machine.Reported.
const DefaultIsolation = "default_transaction_isolation"

// maxPoints bounds the savepoints of a transaction that no server knows.
const maxPoints = 32

// ahead is a READ COMMITTED transaction that the client has begun and that no
// server knows yet (transaction_reads: until-write). Every statement of such a
// transaction takes a snapshot of its own, so that what it reads before its
// first write may be read on a replica, by statements that stand alone there.
// Whatever could notice that, or needs a transaction, moves it to the primary:
// its BEGIN and its savepoints are sent in front.
type ahead struct {
	on     bool
	judge  bool     // in shadow mode: it would be such a one, and runs on the primary
	used   bool     // a statement of it has run
	begin  []byte   // its BEGIN as the client wrote it
	points []string // its savepoints, the oldest first
}

// beginsAhead reports whether sql, whose class is cl, begins a transaction that
// need not begin on a server yet. In shadow mode it does, and is judged.
func (m *Machine) beginsAhead(cl *class, sql []byte) bool {
	p := &m.c.policy
	if !p.UntilWrite || p.Level == router.LevelPrimary || cl.tx != sqlclass.TxBegin || cl.mixed ||
		m.tx != 'I' || m.be != nil || m.pin != "" || m.txFailed || len(sql) > maxBegin {
		return false
	}
	if cl.iso != sqlclass.ReadCommitted && (cl.iso != sqlclass.IsolationDefault || !m.readCommitted()) {
		return false
	}
	m.ahead.judge = p.Shadow
	return !p.Shadow
}

// judgeAhead counts in shadow mode where the statement would run if its
// transaction began on no server.
func (m *Machine) judgeAhead() {
	switch cl := &m.c.class; {
	case m.readsApart():
		m.Judge(&m.req)
	case cl.mixed, cl.tx != sqlclass.TxSavepoint && cl.tx != sqlclass.TxRelease && cl.tx != sqlclass.TxRollbackTo:
		m.ahead.judge = false // it would be on the primary from now on
	}
}

// readCommitted reports whether a plain BEGIN begins a READ COMMITTED
// transaction. What is not known is none.
func (m *Machine) readCommitted() bool {
	v := m.defaultIsolation
	if set, ok := m.want.Value(DefaultIsolation); ok {
		v = settings.Plain(set)
	}
	return strings.EqualFold(v, "read committed") || strings.EqualFold(v, "read uncommitted")
}

// goAhead begins the transaction whose BEGIN is sql.
func (m *Machine) goAhead(sql []byte) {
	a := &m.ahead
	a.on, a.used = true, false
	a.begin = append(a.begin[:0], sql...)
	a.points = a.points[:0]
	m.beginPolicy, m.beginHinted = m.c.policy, m.c.policy != m.policy
	m.saved = m.policy
	m.txWrote, m.txUsed, m.txFixed = false, false, false
	m.tx = 'T'
}

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
	case sqlclass.TxCommit, sqlclass.TxRollback, sqlclass.TxCommitChain, sqlclass.TxRollbackChain:
		return true
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

// readsApart reports whether the cycle is a read that nothing ties to the
// transaction that it is in.
func (m *Machine) readsApart() bool {
	cl := &m.c.class
	return !cl.time && !m.c.portal && cl.tx == sqlclass.TxNone && m.asRead()
}

// startAhead routes a cycle of a transaction that no server knows yet: a read
// that nothing ties to the transaction as a read, anything else to the primary.
func (m *Machine) startAhead(out *Effects) {
	m.c.onRead = m.readsApart()
	m.c.held = true
	m.route(out)
}

// moveAhead begins the transaction on the primary: what is sent in front of the
// statement makes it what it would be if it had been there from its beginning.
func (m *Machine) moveAhead() {
	a := &m.ahead
	a.on = false
	m.begin = a.begin
	if m.c.class.access == sqlclass.AccessRead && !m.c.onRead {
		m.last.reason = router.ReasonTransaction
	}
	if !a.used && len(a.points) == 0 {
		return
	}
	b := append([]byte(nil), a.begin...)
	if bytes.Contains(b, []byte("--")) {
		b = append(b, '\n') // a comment that ends with its line
	}
	if a.used {
		// Some commands have to come before any query (SET TRANSACTION
		// ISOLATION LEVEL), and are refused behind this one.
		b = append(b, "; SELECT"...)
	}
	for _, name := range a.points {
		b = append(b, "; SAVEPOINT \""...)
		b = append(append(b, name...), '"')
	}
	m.begin = b
}

// settleApart ends a cycle that ran on a replica, by itself, for a transaction
// that no server knows.
func (m *Machine) settleApart(status byte) {
	be := m.be
	be.Tx = status
	if m.c.planAt < len(m.c.plan) {
		m.abandon() // a server that has not answered everything
		be.Tainted = true
	}
	m.chain.SawReplica(be.Node)
	m.ahead.used = true
	m.tx = 'T'
	if m.c.failed {
		m.tx, m.txFailed = 'E', true
	}
	m.count()
	m.doneBudget()
	m.phase = phaseIdle
	m.c.copyIn, m.c.tail, m.c.open = false, false, false
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
