package client

import (
	"bytes"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// readsAway reports whether a pinned client's cycle is a read that may run on
// a replica, because it cannot depend on what pins the client.
func (m *Machine) readsAway() bool {
	be, cl := m.be, &m.c.class
	return m.pin != "" && m.pins != 0 && m.pins&^sqlclass.PinsApart == 0 && m.tx == 'I' && be.Primary && be.Tx == 'I' &&
		!be.Tainted && be.Settings != nil && cl.harmless && cl.tx == sqlclass.TxNone &&
		m.c.policy.Level != router.LevelPrimary && m.asRead()
}

// park lays the backend that the client is pinned to aside, for one cycle.
func (m *Machine) park(out *Effects) {
	m.home, m.be = m.be, nil
	out.add(Park)
}

// comeHome takes the backend back that the client is pinned to. It returns
// false if it has gone meanwhile, and the client with it.
func (m *Machine) comeHome(out *Effects) bool {
	home := m.home
	m.home = nil
	if r := m.homeGone; r != nil {
		m.homeGone = nil
		r.Detail = "The session was pinned to that connection: " + m.Pin() + "."
		m.fatal(r, out)
		return false
	}
	m.be = home
	out.add(Unpark)
	return true
}

// homeIsGone notes that the parked backend's connection has ended. What runs
// elsewhere goes on to its end.
func (m *Machine) homeIsGone(data []byte) {
	if m.home == nil {
		return
	}
	m.homeGone = fatalIn(data)
	if m.homeGone == nil {
		m.homeGone = &wire.Report{Severity: "ERROR", Code: sqlstate.ConnectionFailure,
			Message: "the connection to the server was lost"}
	}
}

// closeHome makes the parked backend the leased one again, if there is one, for
// close: what ran elsewhere is given up.
func (m *Machine) closeHome(out *Effects) {
	if m.home == nil {
		return
	}
	if m.be != nil {
		out.add(Destroy)
		m.be = nil
	}
	if m.homeGone == nil {
		m.be = m.home
		out.add(Unpark)
	}
	m.home, m.homeGone = nil, nil
}

// fatalIn returns the report of an ErrorResponse that ends a connection, nil
// if there is none in data.
func fatalIn(data []byte) *wire.Report {
	for {
		typ, total, ok := wire.Header(data)
		if !ok || total < wire.HeaderLen || total > len(data) {
			return nil
		}
		body := data[wire.HeaderLen:total]
		if typ == 'E' && !bytes.Equal(wire.Field(body, 'V'), []byte("ERROR")) {
			return reportOf(body)
		}
		data = data[total:]
	}
}
