package client

import (
	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/settings"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// align gives the backend the client's settings, and then the prepared statements
// to which the request refers, under a Sync of their own, before anything of the
// client reaches it (I4).
func (m *Machine) align(data []byte, out *Effects) {
	be := m.be
	m.c.sql.aligning, m.c.result.asked = false, nil // another backend may have been lost at it
	foreign := m.foreignSequences()
	same := be.Settings == m.want || be.Tx != 'I' || be.Settings == nil || mutantNoAlign()
	if same && !foreign {
		if !m.alignPrepared(out) && !m.alignResults(out) {
			m.forward(data, out)
		}
		return
	}
	skip := neverSkipped
	if !be.Primary {
		skip = skippedOnReplica
	}
	mark := len(out.arena)
	out.arena = append(out.arena, 'Q', 0, 0, 0, 0)
	m.c.kept, m.c.cleared = same, foreign
	if foreign {
		out.arena = append(out.arena, "DISCARD SEQUENCES;"...)
	}
	if !same {
		out.arena = settings.AppendAlign(out.arena, be.Settings, m.want, skip)
	}
	if len(out.arena) == mark+wire.HeaderLen {
		out.arena = out.arena[:mark]
		be.Settings = m.want
		m.align(data, out)
		return
	}
	out.arena = append(out.arena, 0)
	wire.Lengthen(out.arena[mark:], len(out.arena)-mark-1)
	m.phase = phaseAlign
	m.c.alignErr = nil
	be.Unnamed = 0 // a Query destroys it
	if mutantUnguardedAlign() {
		out.toBackend(out.built(mark))
		be.Settings = m.want
		m.c.prefix = true // swallow its answer, whatever it is
		m.forward(data, out)
		return
	}
	out.toBackend(out.built(mark))
}

func neverSkipped(string) bool { return false }

// skippedOnReplica keeps the guard of replica backends: they log in with
// default_transaction_read_only = on, so that a promoted one refuses what was
// misjudged (I6).
func skippedOnReplica(name string) bool { return name == "default_transaction_read_only" }

// aligned goes on after the backend has answered the alignment.
func (m *Machine) aligned(out *Effects) {
	if m.c.sql.aligning && m.alignedPrepared(out) || m.c.result.asked != nil && m.alignedResult(out) {
		return
	}
	if m.c.alignErr == nil && m.be.Tx != 'I' && (!m.c.kept || m.be.Tx != m.tx) {
		m.c.alignErr = &wire.Report{Code: sqlstate.ProtocolViolation, Message: "a setting has begun a transaction"}
	}
	if m.c.alignErr == nil {
		if !m.c.kept {
			m.be.Settings = m.want
		}
		if m.c.cleared {
			m.be.Sequences, m.sequenced, m.moved = m.id, m.be, false
		}
		out.add(Input) // align comes with Aligned
		return
	}
	r := m.c.alignErr
	m.c.alignErr = nil
	node := m.be.Node
	if m.pin != "" && m.home == nil || m.tx != 'I' && m.begin == nil && !m.ahead.on {
		m.reject(r, out)
		return
	}
	if m.be.Tx == 'I' {
		// The settings went in as one implicit transaction: none of them is set.
		out.add(Release)
	} else {
		out.add(Destroy)
	}
	m.be = nil
	if r.Code == sqlstate.QueryCanceled || !m.elsewhere(node, m.c.decision.Role, out) {
		m.reject(r, out)
	}
}

// forward sends the request to the leased backend.
func (m *Machine) forward(data []byte, out *Effects) {
	be := m.be
	m.phase = phaseRun
	m.c.held = m.movable() || mutantRedoWrite()
	if m.ahead.on {
		if m.c.apart = m.c.held; !m.c.apart {
			m.moveAhead()
		}
	}
	req := data[:m.c.len]
	if be.Primary {
		m.chain.Writing(be.Era, be.Dialed)
	}
	if m.begin != nil {
		mark := len(out.arena)
		out.arena = wire.AppendQuery(out.arena, string(m.begin))
		out.toBackend(out.built(mark))
		m.c.prefix = true
		be.Unnamed = 0
	}
	if m.c.ownChannels || m.c.unprepared {
		mark := len(out.arena)
		if m.c.unprepared {
			out.arena = wire.AppendQuery(out.arena, "LISTEN pgroute") // what follows takes it back
		} else {
			out.arena = m.appendOwnListen(out.arena)
		}
		out.toBackend(out.built(mark))
		m.c.prefix = true
		be.Unnamed = 0
	}
	if !m.c.held {
		m.take(out)
	}
	ask := m.asks()
	if m.c.simple {
		be.Unnamed, m.noPortal = 0, false
		if len(ask) > 0 {
			mark := len(out.arena)
			out.arena = append(append(out.arena, ask...), req...)
			req = out.built(mark)
		}
		out.toBackend(req)
		return
	}
	m.c.plan, m.c.planAt, m.c.renamed = m.c.plan[:0], 0, m.c.renamed[:0]
	m.build(req, ask, out)
	m.emitMade(out)
}

// movable reports whether the request may run again on another server if the one
// that it is sent to fails it: a read (I5) that nothing ties to a transaction or
// a backend, and on the primary also a BEGIN alone, which has done nothing yet, or
// a COMMIT or ROLLBACK alone, which have nothing to do.
func (m *Machine) movable() bool {
	if !m.be.Primary {
		return m.c.onRead && !m.txReplica
	}
	if m.tx != 'I' || m.pin != "" || m.begin != nil || m.ahead.on || m.c.open || m.c.stream > 0 {
		return false
	}
	cl := &m.c.class
	if m.c.onRead {
		// Once: it may be what the server, or its administrator, could not stand.
		return !m.c.retreated
	}
	switch cl.tx {
	case sqlclass.TxBegin, beginReadOnly, sqlclass.TxCommit, sqlclass.TxRollback:
		return cl.access == sqlclass.AccessRead && !cl.mixed && !cl.several
	}
	return false
}

// emitMade sends the replies that no backend will give and that are already
// due. Those of a read that may be run again wait for its answer.
func (m *Machine) emitMade(out *Effects) {
	if m.c.held || m.c.prefix || m.c.simple || m.c.failed {
		return
	}
	mark := len(out.arena)
	out.arena = m.made(out.arena, false)
	out.toClient(out.built(mark))
}

// failTransaction makes the client's transaction a failed one that lives here
// only: a backend that it used is given up.
func (m *Machine) failTransaction(out *Effects) {
	if m.be != nil {
		out.add(Destroy)
		m.be = nil
	}
	m.begin = nil
	m.txFailed = true
	m.txReplica = false
}

// inFailedLong answers a request in a transaction that has failed here, of
// which only the beginning may have arrived.
func (m *Machine) inFailedLong(data []byte, total int, out *Effects) {
	m.c.len = min(total, len(data))
	m.skip = total - m.c.len
	m.c.class = class{mixed: true}
	m.inFailed(out)
}

// inFailed answers a statement in a transaction that has failed here.
func (m *Machine) inFailed(out *Effects) {
	cl := &m.c.class
	untold := m.c.simple && cl.tx == sqlclass.TxCommit && !cl.mixed && m.sorry != nil
	if m.c.simple && (cl.tx == sqlclass.TxRollback || cl.tx == sqlclass.TxCommit) && !cl.mixed && !untold {
		m.endLocally("ROLLBACK", true, out)
		return
	}
	m.take(out)
	mark := len(out.arena)
	if untold {
		// The client was never told that the transaction failed: to answer its
		// COMMIT with the tag ROLLBACK is what few of them look at.
		out.arena = wire.AppendReport(out.arena, m.sorry)
		m.endTransaction(true)
		out.arena = wire.AppendReady(out.arena, 'I')
		out.toClient(out.built(mark))
		m.phase = phaseIdle
		return
	}
	r := wire.Report{Severity: "ERROR", Code: sqlstate.InFailedTransaction,
		Message: "current transaction is aborted, commands ignored until end of transaction block"}
	if m.sorry != nil {
		r = *m.sorry
		m.sorry = nil
	}
	out.arena = wire.AppendReport(out.arena, &r)
	if m.c.open {
		m.c.open = false
		m.dropToSync()
	} else {
		out.arena = wire.AppendReady(out.arena, 'E')
	}
	out.toClient(out.built(mark))
	m.phase = phaseIdle
	m.tx = 'E'
}
