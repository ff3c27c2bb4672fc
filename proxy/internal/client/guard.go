package client

import (
	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/router"
)

// mustLook reports whether what the client reads on the primary, though not by a
// decision for reads, has to wait until that shows what the client read on a
// replica: in a transaction, also by what is sent along with its BEGIN. A write
// does not: it is no answer. Nor does a read whose snapshot was taken before, such
// as a FETCH: the cursor has waited.
func (m *Machine) mustLook() bool {
	if m.be != nil && !m.be.Primary || m.c.looked || !m.c.class.shows() || m.c.stream > 0 {
		return false
	}
	switch m.c.policy.Level {
	case router.LevelEventual, router.LevelBounded:
		return false
	}
	return !(m.txRR && m.txUsed) && m.chain.Owes()
}

// awaitLook waits for that.
func (m *Machine) awaitLook(out *Effects) {
	m.c.looked = true
	m.route(out)
}

// routeLook says what the router is asked for by awaitLook.
func (m *Machine) routeLook() {
	q, p := &m.req, &m.c.policy
	q.Level, q.Wait, q.OnTimeout = router.LevelPrimary, p.Wait, p.OnTimeout
	q.Only = nil
	if m.be != nil {
		q.Only = m.be.Node
	}
}

// heldReason is why the cycle runs on the backend that the client holds.
func (m *Machine) heldReason() router.Reason {
	switch {
	case m.c.class.access != sqlclass.AccessRead:
		return router.ReasonWrite
	case m.tx != 'I':
		return router.ReasonTransaction
	}
	return router.ReasonPinned
}
