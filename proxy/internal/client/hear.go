package client

import (
	"slices"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// heard goes on with the ReadyForQuery that has waited.
func (m *Machine) heard(ev *Event, out *Effects) {
	l := m.listen
	mark := len(out.arena)
	switch r := ev.Report; {
	case r != nil && l.statement:
		// Nothing of the statement has happened.
		slices.Reverse(l.changes)
		for i := range l.changes {
			c := &l.changes[i]
			if c.On = !c.On; c.On {
				l.channels[c.Channel] = struct{}{}
			} else {
				delete(l.channels, c.Channel)
			}
		}
		out.add(Listen)
		r.Severity = "ERROR"
		out.arena = wire.AppendReport(out.arena, r)
	case r != nil && l.waits:
		// The transaction has committed: the channels are listened to as soon
		// as that is possible.
		out.arena = wire.AppendReport(out.arena, &wire.Report{Severity: "WARNING", Code: sqlstate.Warning,
			Message: "pgroute: the channels are not listened to yet; notifications may be missed", Detail: r.Message + "."})
		l.told = true
	default:
		out.arena = append(out.arena, l.tail...)
		l.told = l.told || l.waits
	}
	if l.waits {
		// Of what was committed before, nothing will tell the client: it must
		// find it when it looks now.
		m.chain.Notified()
	}
	l.tail, l.waits, l.statement = l.tail[:0], false, false
	m.phase = phaseIdle
	out.arena = m.appendHeard(out.arena)
	out.arena = wire.AppendReady(out.arena, m.tx)
	out.toClient(out.built(mark))
	m.unlease(out)
}

// notified takes a notification of a channel that the client listens to.
func (m *Machine) notified(frame []byte) {
	l := m.listen
	if l == nil || m.phase == phaseClosed {
		return
	}
	if len(l.heard)+len(frame) > maxHeard {
		m.overheard()
		return
	}
	l.heard = append(l.heard, frame...)
}

// overheard notes that a notification is dropped.
func (m *Machine) overheard() {
	m.listen.lost = true
	m.env.Stats.Overheard.Add(1)
}

// appendHeard appends what the client has to be told, if it may be told now:
// between two transactions.
func (m *Machine) appendHeard(b []byte) []byte {
	l := m.listen
	if l == nil || m.tx != 'I' {
		return b
	}
	if len(l.heard) > 0 || l.missed || l.lost {
		// The client must find what it was told of, or was not.
		m.chain.Notified()
	}
	if len(l.heard) > 0 {
		b = append(b, l.heard...)
		if l.heard = l.heard[:0]; cap(l.heard) > 16<<10 {
			l.heard = nil
		}
	}
	if l.missed {
		l.missed = false
		b = wire.AppendReport(b, &wire.Report{Severity: "NOTICE", Code: sqlstate.Warning,
			Message: "pgroute: notifications may have been missed",
			Detail:  "The connection that listens for this database's clients was lost. It stands again, and all channels are listened to."})
	}
	if l.lost {
		l.lost = false
		b = wire.AppendReport(b, &wire.Report{Severity: "WARNING", Code: sqlstate.Warning,
			Message: "pgroute: notifications were dropped",
			Detail:  "More of them arrived than are kept for a client that does not read, or is in a transaction."})
	}
	return b
}

// tellHeard tells an idle client what has arrived.
func (m *Machine) tellHeard(out *Effects) {
	if m.phase != phaseIdle || m.toSync {
		return
	}
	mark := len(out.arena)
	out.arena = m.appendHeard(out.arena)
	out.toClient(out.built(mark))
}

// doubly reports whether a notification of the client's own backend comes over
// the shared listener as well.
func (m *Machine) doubly(body []byte) bool {
	if !m.listens() || len(body) < 5 {
		return false
	}
	name, _, ok := wire.CString(body[4:])
	_, shared := m.listen.channels[string(name)]
	return ok && shared
}
