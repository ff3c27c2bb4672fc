package client

import (
	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/router"
)

// mustLook reports whether a read that goes on where the client already is, on
// the primary, has to wait until that shows what the client read on a replica.
// A write does not: it is no answer. Nor does a read whose snapshot was taken
// before.
func (m *Machine) mustLook() bool {
	cl := &m.c.class
	if !m.be.Primary || m.c.looked || cl.access != sqlclass.AccessRead || cl.tx != sqlclass.TxNone || cl.mixed || cl.empty || m.c.stream > 0 {
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
	q.Only = m.be.Node
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
