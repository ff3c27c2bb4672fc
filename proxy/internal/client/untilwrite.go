package client

import (
	"bytes"
	"strings"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/proxy/internal/settings"
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
	used   bool     // a statement of it has run, and taken a snapshot
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
	m.ahead.used = m.ahead.used || !m.c.class.empty
	m.tx = 'T'
	if m.c.failed {
		m.tx, m.txFailed = 'E', true
	}
	m.count()
	m.doneBudget()
	m.phase = phaseIdle
	m.c.copyIn, m.c.tail, m.c.open = false, false, false
}
