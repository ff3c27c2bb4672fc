package client

import (
	"encoding/binary"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// A COMMIT whose answer is lost with its server may have happened or not. Behind
// the first write of a transaction two function calls ask for its number and for
// the position that it has reached. They go in front of whatever the client sends
// next, in the same write, so that nobody waits for them. A COMMIT that comes
// later takes along a third call, for how far the server has flushed: if that
// position is flushed, no crash makes it give the number out again. If a COMMIT has
// no answer, the primary, or the next one, is asked what became of that number. Then
// what the server would have said is made here and handled as if it had come from
// there.

// What the next answer of a call says.
const (
	sayNothing = iota
	sayFlushed
	sayPosition
	sayXID
)

// committing is what is known of the open transaction for the case that the
// answer to its COMMIT is lost.
type committing struct {
	commit router.Commit
	asked  bool
	rows   bool // it has surely changed rows
}

// commitsOnly reports whether the cycle is the COMMIT of a transaction that may
// have written, and nothing else.
func (m *Machine) commitsOnly() bool {
	cl, be := &m.c.class, m.be
	return m.txWrote && be.Primary && be.Tx == 'T' && m.tx == 'T' && (cl.tx == sqlclass.TxCommit || cl.tx == sqlclass.TxCommitChain) &&
		cl.access != sqlclass.AccessWrite && !cl.mixed && !cl.several && !m.c.idle && !m.c.open && m.c.stream == 0 && !m.c.prefix
}

// asks returns what is to be asked in front of the cycle that is about to be sent,
// and notes that it is.
func (m *Machine) asks() []byte {
	m.c.commits = m.commitsOnly()
	switch {
	case m.captures():
		m.c.capture = sayXID
		m.committing.commit, m.committing.asked = router.Commit{Era: m.be.Era, Dialed: m.be.Dialed}, true
		return backend.Capture
	case m.c.commits && m.be.Captures && m.committing.commit.XID != 0:
		m.c.capture = sayFlushed
		return backend.Flushed
	}
	return nil
}

// captures reports whether the transaction is to be asked for in front of the
// cycle that is about to be sent: once rows were changed, or at its COMMIT. Before
// it has a snapshot the question would take one, too early for SET TRANSACTION or
// a LOCK TABLE that follow. Nor is it in front of what would run although the
// question has failed the transaction.
func (m *Machine) captures() bool {
	be, cl := m.be, &m.c.class
	if !m.txWrote || !be.Captures || m.committing.commit.XID != 0 ||
		(m.committing.asked || !m.committing.rows) && !m.c.commits {
		return false
	}
	switch cl.tx {
	case sqlclass.TxRollback, sqlclass.TxRollbackChain, sqlclass.TxRollbackTo:
		return false
	}
	return be.Primary && be.Tx == 'T' && m.tx == 'T' && !cl.mixed && !m.c.open && m.c.stream == 0 && !m.c.prefix
}

// captured handles a message of the answers to the calls.
func (m *Machine) captured(frame []byte, out *Effects) {
	body := frame[wire.HeaderLen:]
	switch frame[0] {
	case 'V':
		if len(body) != 12 {
			return // NULL: the transaction has no number
		}
		switch k, v := &m.committing.commit, binary.BigEndian.Uint64(body[4:]); m.c.capture {
		case sayXID:
			k.XID = v
		case sayPosition:
			k.Position = lsn.LSN(v)
		case sayFlushed:
			k.Flushed = lsn.LSN(v)
		}
	case 'Z':
		if m.c.capture--; m.c.capture == sayFlushed {
			m.c.capture = sayNothing // that is asked for apart
		}
		if len(body) == 1 {
			m.be.Tx = body[0]
		}
		if m.c.capture == sayNothing && m.c.commits && !m.c.spoiled {
			m.chain.Committing(&m.committing.commit)
		}
	case 'E':
		if m.c.spoiled {
			return
		}
		// The transaction has failed before the client's request, and this is the
		// answer to it. That a COMMIT is answered with ROLLBACK few clients notice.
		m.c.spoiled = true
		if severity := string(wire.Field(body, 'V')); severity == "FATAL" || severity == "PANIC" {
			m.c.alignErr = reportOf(body)
			return
		}
		m.c.failed = true
		if string(wire.Field(body, 'C')) != sqlstate.QueryCanceled {
			m.be.Captures = false // the privilege was taken back, perhaps
		}
		out.toClient(frame)
	}
}

// Commit is what Inquire asks for.
func (m *Machine) Commit() router.Commit { return m.committing.commit }

// resolves reports whether it can be found out what became of the cycle's
// COMMIT, whose backend is gone.
func (m *Machine) resolves() bool {
	c, k := &m.c, &m.committing.commit
	if !c.commits || k.XID == 0 || k.Position == 0 || c.capture > sayFlushed || c.spoiled || c.failed || c.readyHeld {
		return false
	}
	executes := 0
	for i := range c.plan {
		switch c.plan[i].op {
		case opParseAgain:
			return false // its answer would be an error
		case opExecute:
			executes++
		}
	}
	return c.simple || executes == 1
}

// told reports whether the client has its answer to the COMMIT but for
// ReadyForQuery.
func (m *Machine) told() bool {
	if m.c.simple {
		return m.c.answered
	}
	for i := m.c.planAt; i < len(m.c.plan); i++ {
		if m.c.plan[i].op == opExecute {
			return false
		}
	}
	return true
}

// inquire asks for the outcome of the COMMIT.
func (m *Machine) inquire(out *Effects) {
	m.be.Gone, m.c.alignErr, m.c.capture = true, nil, sayNothing
	if m.told() {
		m.goOn(nil, out)
		return
	}
	m.phase = phaseOutcome
	out.add(Inquire)
}

// outcomeKnown answers the COMMIT with what became of it.
func (m *Machine) outcomeKnown(v *router.Verdict, out *Effects) {
	m.chain.Resolved(&m.committing.commit, v)
	switch v.Outcome {
	case router.OutcomeCommitted:
		m.goOn(nil, out)
	case router.OutcomeAborted:
		m.goOn(&wire.Report{Severity: "ERROR", Code: sqlstate.SerializationFailure,
			Message: "the transaction was rolled back: the connection to the server was lost before its COMMIT took effect",
			Hint:    "Nothing of it was committed. Run it again."}, out)
	default:
		m.goOn(unknownOutcome(v.Reason), out)
	}
}

// unknownOutcome is the error for a COMMIT of which nobody knows what became.
func unknownOutcome(why string) *wire.Report {
	return &wire.Report{Severity: "ERROR", Code: sqlstate.TransactionResolutionUnknown,
		Message: "the connection to the server was lost during COMMIT; the outcome is unknown",
		Detail:  why, Hint: "Read the data back before you try again."}
}

// goOn gives the machine what the server has not said any more: the answer to
// the COMMIT, which is the error r if it is not nil.
func (m *Machine) goOn(r *wire.Report, out *Effects) {
	m.phase = phaseRun
	var b []byte
	if m.c.simple && !m.c.answered {
		b = appendEnd(b, r)
	}
	b = m.appendRest(b, r)
	status := byte('I')
	if r == nil && m.c.class.tx == sqlclass.TxCommitChain {
		status = 'T'
	}
	m.backendBytes(wire.AppendReady(b, status), out)
	out.BackendConsumed = 0
}

// appendRest appends the answers of a group that have not come yet.
func (m *Machine) appendRest(b []byte, r *wire.Report) []byte {
	bound := false
	for _, p := range m.c.plan[m.c.planAt:] {
		switch p.op {
		case opParse, opParseHidden, opParseUnnamed:
			b = wire.AppendEmpty(b, '1')
		case opBind:
			bound = true
			b = wire.AppendEmpty(b, '2')
		case opDescribe:
			if !bound { // of the statement: it has no parameters
				b = append(b, 't', 0, 0, 0, 6, 0, 0)
			}
			b = wire.AppendEmpty(b, 'n')
		case opExecute:
			if b = appendEnd(b, r); r != nil {
				return b // the server would have skipped what follows
			}
		case opClose, opCloseHidden, opCloseUnnamed, opCloseUnnamedHidden, opClosePortalHidden:
			b = wire.AppendEmpty(b, '3')
		}
	}
	return b
}

func appendEnd(b []byte, r *wire.Report) []byte {
	if r != nil {
		return wire.AppendReport(b, r)
	}
	return wire.AppendCommandComplete(b, "COMMIT")
}

// outlived ends the lease of a backend whose end the cycle has outlived.
func (m *Machine) outlived(out *Effects) {
	m.be = nil
	r := &wire.Report{Severity: "ERROR", Code: sqlstate.ConnectionFailure,
		Message: "the connection to the server was lost"}
	switch {
	case m.pin != "":
		r.Detail = "The session was pinned to that connection: " + m.Pin() + "."
		m.fatal(r, out)
	case m.tx != 'I':
		// COMMIT AND CHAIN has committed, and the client was told that the next
		// transaction has begun.
		m.tx, m.txFailed, m.txReplica = 'E', true, false
		m.sorry = r
	}
}
