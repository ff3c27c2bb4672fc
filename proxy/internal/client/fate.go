package client

import (
	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// tellFate tells the client, once, what a change of the primary has done to its
// last acknowledged write. It returns true if that is the answer to its request.
func (m *Machine) tellFate(out *Effects) bool {
	if m.be != nil || m.tx != 'I' && m.begin == nil && !m.ahead.on {
		return false
	}
	fate := m.chain.Fate()
	if fate == router.FateKept {
		return false
	}
	r := fateReport(fate)
	if m.policy.LostWritesFail {
		r.Severity = "ERROR"
		m.reject(&r, out)
		return true
	}
	mark := len(out.arena)
	out.arena = wire.AppendReport(out.arena, &r)
	out.toClient(out.built(mark))
	return false
}

// fateReport says that a write is lost, or may be.
func fateReport(f router.Fate) wire.Report {
	r := wire.Report{
		Severity: "WARNING", Code: sqlstate.WriteLost,
		Message: "a write of this session that was acknowledged is lost",
		Detail:  "The primary has changed, and the new one's history ends before the write.",
		Hint:    "Read the data back, and write again what is missing.",
	}
	if f == router.FateMaybeLost {
		r.Code, r.Message = sqlstate.WriteMayBeLost, "a write of this session that was acknowledged may be lost"
		r.Detail = "The primary has changed, and the new one's history ends about where the write was."
	}
	return r
}

// acknowledged notes that the client is about to be told that its cycle, which
// may have written, succeeded.
func (m *Machine) acknowledged() {
	if m.c.failed || m.c.rollback && !m.c.class.mixed {
		return
	}
	m.chain.Acknowledged((m.c.rows || m.txRows) && !m.c.class.mixed)
}

// changesRows reports whether a command tag says for certain that rows were
// changed. COPY has the same tag in both directions, and counts where the client
// may have sent data.
func changesRows(tag []byte, copyIn bool) bool {
	if len(tag) < 4 {
		return false
	}
	switch string(tag[:4]) {
	case "INSE", "UPDA", "DELE", "MERG":
	case "COPY":
		if !copyIn {
			return false
		}
	default:
		return false
	}
	n := len(tag) - 1 // without its terminator
	return n > 1 && !(tag[n-1] == '0' && tag[n-2] == ' ')
}
