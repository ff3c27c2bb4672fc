package client

import (
	"strings"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// pinning is what a machine knows of what pins its client.
type pinning struct {
	pins sqlclass.Pins
	// state is the reason for the kinds that have many.
	state string
	// doubt: some of it may be gone. The backend is asked once the client is
	// idle.
	doubt bool
	check pinCheck

	// home is the backend that the client is pinned to, while a read runs on
	// another one. homeGone says why it is not there any more.
	home     *backend.State
	homeGone *wire.Report

	id        uint64         // in Env, never 0
	sequenced *backend.State // where the client has last used a sequence, perhaps
	moved     bool           // and others, or on other backends, in between
	reserves  bool           // it names sequences, so it may ask for currval
}

// Pin says why the client keeps its backend, empty if it does not.
func (m *Machine) Pin() string {
	var b strings.Builder
	for kind := range sqlclass.PinKinds {
		if m.pins&(1<<kind) == 0 {
			continue
		}
		why := sqlclass.PinReason(kind)
		if why == "" {
			why = m.state
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(why)
	}
	return b.String()
}

// bind pins the client to the backend that it has.
func (m *Machine) bind(kinds sqlclass.Pins, why string) {
	if why == "" {
		why = "session state"
	}
	if m.pin == "" {
		m.pin = why
	}
	if kinds&(sqlclass.PinState|sqlclass.PinOther) != 0 && m.state == "" {
		m.state = why
	}
	m.env.Stats.pinned(kinds &^ m.pins)
	m.pins |= kinds
	m.be.Pinned = !mutantNoTaint()
}

// unpin ends pins of these kinds. Whether a backend still holds what they stand
// for is the caller's knowledge.
func (m *Machine) unpin(kinds sqlclass.Pins) {
	m.env.Stats.unpinned(kinds & m.pins)
	m.pins &^= kinds
	if m.pins&(sqlclass.PinState|sqlclass.PinOther) == 0 {
		m.state = ""
	}
	if m.pins == 0 {
		m.pin, m.doubt = "", false
	}
}

// settlePin pins the client if the cycle bound its session.
func (m *Machine) settlePin(nonread bool, status byte) {
	cl, be := &m.c.class, m.be
	prev := m.tx // settle has not changed it yet
	if m.c.refused {
		m.forget = false
		return
	}
	kinds := cl.pins
	if mutantNoPin() {
		kinds = 0
	}
	if cl.binds&sqlclass.BindsTaint != 0 {
		kinds |= sqlclass.PinState
		be.Tainted, m.loose = !mutantNoTaint(), true
	}
	if cl.binds&sqlclass.BindsPin != 0 && kinds == 0 && !mutantNoPin() {
		kinds = sqlclass.PinOther
	}
	inside := prev != 'I' || status != 'I'
	kinds = m.pinsSequence(kinds, nonread, inside)
	if kinds != 0 {
		m.bind(kinds, cl.pinReason)
	}
	switch {
	case m.pins == 0:
	case cl.binds&sqlclass.BindsEndsPin != 0, cl.dealloc:
		m.doubt = true
	case kinds&sqlclass.PinsCheckable == 0:
	case m.c.failed, cl.several,
		inside && kinds&(sqlclass.PinTemporary|sqlclass.PinCursor|sqlclass.PinListen) != 0:
		m.doubt = true // it may never have come to be, or end with the transaction
	}
	if m.forget && status == 'I' && !m.c.failed { // DISCARD ALL
		m.unpin(m.pins)
		be.Tainted, be.Pinned, be.Sequences, m.loose = m.c.behind, false, 0, false
	}
	m.forget = false
}

// onlyParsed takes back what the group's statements bind if nothing of them is
// run yet: they bind it when they are.
func (m *Machine) onlyParsed(s *scan) {
	c := &m.c.class
	if s.executes > 0 || s.binds > 0 || s.unknown || m.c.open || c.binds&sqlclass.BindsTaint != 0 {
		return
	}
	c.pins, c.pinReason = 0, ""
	c.binds &^= sqlclass.BindsPin | sqlclass.BindsEndsPin
}

// unread reports whether an ErrorResponse comes from the server's raw parser,
// which reads all of a Query before anything of it runs: so nothing did. What
// is parsed later, within functions, has a context; and the body of a function
// that is created is parsed in the course of its creation.
func (m *Machine) unread(body []byte) bool {
	cl := &m.c.class
	return m.c.simple && !m.c.answered && m.c.stream == 0 &&
		(cl.binds&sqlclass.BindsDDL == 0 || cl.reason == sqlclass.ReasonSyntax) &&
		string(wire.Field(body, 'R')) == "scanner_yyerror" && len(wire.Field(body, 'W')) == 0 && len(wire.Field(body, 'q')) == 0
}
