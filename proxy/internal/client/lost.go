package client

import (
	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

const beginReadOnly = sqlclass.TxBeginReadOnly

// backendGone handles the end of the leased backend's connection. The loop
// has closed it already.
func (m *Machine) backendGone(out *Effects) {
	be := m.be
	if be == nil {
		return
	}
	partial := be.Remain > 0 && !be.DropRemain
	if m.phase == phaseRun && !partial && m.resolves() {
		m.inquire(out)
		return
	}
	r := m.c.alignErr
	m.c.alignErr = nil
	if m.phase == phaseRun {
		m.abandon()
	}
	m.saw(be)
	m.be = nil
	switch {
	case m.phase == phaseClosed:
		return
	case partial:
		// The client has the beginning of a message that will never end.
		m.close(out)
		return
	case (m.pin == "" || m.home != nil) && m.phase == phaseAlign, m.phase == phaseRun && (m.c.held || m.c.redo):
		// Nothing of an answer left: the request may run elsewhere, if it is
		// a read (I5) or was not sent yet.
		if m.c.redone < maxRedo && (m.tx == 'I' || m.begin != nil || m.ahead.on) {
			if m.c.retreats = be.Primary; !be.Primary {
				be.Node.Report(errBackendGone)
			} else if m.phase == phaseRun {
				m.c.retreated = true
			}
			if !m.c.redo { // else its error was counted
				m.env.Stats.Redone("EOF")
			}
			m.exclude(be.Node)
			m.c.redo, m.c.prefix = false, false
			m.rerun(out)
			return
		}
	}
	if r == nil {
		r = &wire.Report{Severity: "ERROR", Code: sqlstate.ConnectionFailure,
			Message: "the connection to the server was lost"}
	}
	m.lost(r, out)
}

// saw notes that something of an answer may have reached the client, although
// its end never will.
func (m *Machine) saw(be *backend.State) {
	switch {
	case m.phase != phaseRun || m.c.held || m.c.redo || m.c.prefix:
	case be.Primary:
		m.chain.SawPrimary()
	default:
		m.chain.SawReplica(be.Node)
	}
}

type goneError struct{}

func (goneError) Error() string { return "the server closed the connection" }

var errBackendGone = goneError{}

// lost tells the client that the backend which it held is gone. The client's
// connection goes on if nothing but the transaction went with the backend.
func (m *Machine) lost(r *wire.Report, out *Effects) {
	m.abandonPlanRefs()
	m.doneBudget()
	cl := &m.c.class
	commits := (cl.tx == sqlclass.TxCommit || cl.tx == sqlclass.TxCommitChain || cl.tx == sqlclass.TxPrepare) && !m.c.idle
	ends := commits || cl.tx == sqlclass.TxRollback && !m.c.idle
	if m.phase == phaseRun {
		if cl.access == sqlclass.AccessWrite || cl.mixed || m.txWrote || cl.tx == sqlclass.TxCommit {
			m.chain.Wrote() // it may have happened (I1)
		}
		if commits && (m.tx != 'E' || cl.mixed) && (m.txWrote || cl.access == sqlclass.AccessWrite) && !m.c.spoiled || cl.tx == sqlclass.TxCommitPrepared && !m.c.idle {
			r = unknownOutcome(r.Message)
			m.chain.Resolved(&m.committing.commit, &router.Verdict{Outcome: router.OutcomeNotAsked})
		}
	}
	if m.pin != "" && m.home == nil {
		r.Detail = "The session was pinned to that connection: " + m.Pin() + "."
		m.fatal(r, out)
		return
	}
	switch m.phase {
	case phaseRun:
		orphans := m.orphans(out)
		m.take(out)
		m.c.held = false
		status := byte('I')
		if m.tx == 'I' {
			m.saved = m.policy // there is nothing to take back
		}
		if m.tx != 'I' && !ends || orphans {
			// What the client still sends belongs to the transaction: it must
			// not run without it.
			status = 'E'
			m.failTransaction(out)
		} else {
			m.endTransaction(true)
		}
		m.tx = status
		m.phase = phaseIdle
		m.skipStream()
		if m.c.open || m.c.tail || m.c.copyIn && !m.c.simple {
			mark := len(out.arena)
			out.arena = wire.AppendReport(out.arena, r)
			out.toClient(out.built(mark))
			m.dropToSync()
			return
		}
		mark := len(out.arena)
		out.arena = wire.AppendReport(out.arena, r)
		out.arena = wire.AppendReady(out.arena, status)
		out.toClient(out.built(mark))
	case phaseIdle:
		if m.tx == 'I' {
			return
		}
		// PostgreSQL would have closed the connection; here the transaction
		// has failed, and ROLLBACK begins anew.
		m.tx = 'E'
		m.txFailed = true
		m.txReplica = false
		m.sorry = r
	case phaseTicket, phaseHear:
		m.tx = 'E'
		m.txFailed = true
	default: // waiting within a transaction on a replica
		m.reject(r, out)
	}
}

// skipStream drops what is still to come of a message that is not needed.
func (m *Machine) skipStream() {
	m.skip += m.c.stream
	m.c.stream = 0
}

// dropToSync drops the client's messages up to its next Sync, as a server does
// after an error.
func (m *Machine) dropToSync() { m.toSync = true }

// abandonPlanRefs releases the references of a plan whose backend is gone.
func (m *Machine) abandonPlanRefs() {
	for i := m.c.planAt; i < len(m.c.plan); i++ {
		if p := &m.c.plan[i]; p.stmt != nil && (p.op == opParse || p.op == opParseMade) {
			m.env.Statements.release(p.stmt)
		}
	}
	m.c.planAt = len(m.c.plan)
}

// exclude keeps a node out of the rest of this cycle.
func (m *Machine) exclude(n *router.Node) {
	if n != nil {
		m.req.Exclude.Add(n)
	}
}
