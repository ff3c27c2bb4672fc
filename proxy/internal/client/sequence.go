package client

import (
	"bytes"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/router"
)

// What currval and lastval tell belongs to the session, and every INSERT may
// change it: to pin whoever inserts would leave nothing to share. So a client
// is pinned once it has asked outside of the transaction that made the value,
// and so are those like it from then on when they write. Until then it is
// asked where the client has written, if that was always the same backend and
// nobody else has written there meanwhile; otherwise the server is made to
// forget, and says what it would say to a session that has used no sequence.

// askers are the clients that are taken to be alike: they ask for currval or
// lastval, if one of them does.
type askers struct {
	db          Database
	session     *router.Session
	application string
}

// maxAskers bounds the askers that are remembered.
const maxAskers = 1024

func (m *Machine) askers() askers {
	app, _ := m.want.Value("application_name")
	return askers{m.db, m.session, app}
}

// asksLater reports whether the client is one of those that will ask for
// currval or lastval after a write.
func (m *Machine) asksLater() bool {
	if len(m.env.asking) == 0 {
		return false
	}
	_, ok := m.env.asking[m.askers()]
	return ok
}

// asksNow remembers that the client asks for currval or lastval.
func (m *Machine) asksNow() {
	e := m.env
	if e.asking == nil || len(e.asking) >= maxAskers {
		e.asking = make(map[askers]struct{})
	}
	e.asking[m.askers()] = struct{}{}
}

// foreignSequences reports whether the backend has to forget what it knows of
// sequences before the cycle runs there.
func (m *Machine) foreignSequences() bool {
	cl, be := &m.c.class, m.be
	if !be.Primary || be.Tx == 'E' || m.pins&sqlclass.PinSequence != 0 {
		return false
	}
	// The first use here took the place of what others had left; after that,
	// everything that the client did has to have been here, or at least
	// something in this transaction, or since it is pinned.
	mine := be.Sequences == m.id && be == m.sequenced && (!m.moved || m.txWrote || m.pin != "")
	if cl.pins&sqlclass.PinSequence == 0 {
		// The first write of a client that will ask, or may: only what it does
		// from now on is to be found.
		return cl.access == sqlclass.AccessWrite && !cl.harmless && be.Tx == 'I' && be.Sequences != 0 && !mine &&
			(m.asksLater() || cl.sequence && !m.reserves)
	}
	if mine {
		return false
	}
	m.asksNow()
	return be.Sequences != 0
}

// Sequenced is the backend that knows what the cycle asks of sequences, nil if
// it asks nothing or none does.
func (m *Machine) Sequenced() *backend.State {
	if m.c.class.pins&sqlclass.PinSequence == 0 && (!m.reserves || m.c.onRead) || m.sequenced == nil || m.sequenced.Sequences != m.id {
		return nil
	}
	return m.sequenced
}

// Spares reports whether the client should rather have another backend, because
// somebody else may come back for what this one knows of sequences.
func (m *Machine) Spares(be *backend.State) bool { return be.Reserved != 0 && be.Reserved != m.id }

// namesSequence reports whether a text that was just classified calls nextval or
// setval: who does so may ask for currval.
func namesSequence(r *sqlclass.Result) bool {
	return r.Reason == sqlclass.ReasonDenied && (bytes.EqualFold(r.Object, []byte("nextval")) || bytes.EqualFold(r.Object, []byte("setval")))
}

// settleSequences notes where the client may have used a sequence.
func (m *Machine) settleSequences(nonread bool) {
	be := m.be
	if !nonread || !be.Primary {
		return
	}
	if be != m.sequenced || be.Sequences != m.id {
		m.moved = m.moved || m.sequenced != nil
		m.sequenced, be.Sequences, be.Reserved = be, m.id, 0
	}
	if m.reserves = m.reserves || m.c.class.sequence; m.reserves {
		be.Reserved = m.id
	}
}

// pinsSequence decides whether the use of sequences pins the client.
func (m *Machine) pinsSequence(kinds sqlclass.Pins, nonread, inside bool) sqlclass.Pins {
	switch {
	case inside:
		return kinds &^ sqlclass.PinSequence
	case kinds&sqlclass.PinSequence != 0:
		m.asksNow()
	case nonread && m.be.Primary && m.asksLater():
		kinds |= sqlclass.PinSequence
		if m.c.class.pinReason == "" {
			m.c.class.pinReason = "currval"
		}
	}
	return kinds
}
