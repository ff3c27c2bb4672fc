package client

import (
	"bytes"
	"slices"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/settings"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

const (
	// maxChannels bounds the channels that a client has on the shared
	// listener. It may have more on a backend of its own, which pins it.
	maxChannels = 1000
	// maxHeard bounds what is kept for a client that cannot be told now.
	maxHeard = 1 << 20
	// maxSavepoints bounds the savepoints of a transaction that are followed.
	maxSavepoints = 1000
)

// Subscription is a channel that the client wants, or does not want any more,
// from the shared listener.
type Subscription struct {
	Channel string
	On      bool
}

// listening is what a client has that listens over the shared listener.
type listening struct {
	channels map[string]struct{}
	// pending is what the transaction has said, until it commits; due is what
	// has taken effect and was not carried out yet.
	pending, due []sqlclass.Listen
	// changes is what Listen asks the loop for.
	changes []Subscription
	// waits: the answer waits for a channel to be listened to. statement: it
	// is the answer to LISTEN, which can fail; tail is what is left of it.
	waits, statement bool
	tail             []byte
	// told: a channel was listened to at some time, so that something can be
	// missed.
	told bool

	heard        []byte // notifications that the client was not told yet
	missed, lost bool   // and that some were missed, or did not fit
}

// Subscriptions is what Listen asks for. It is valid until the next Step.
func (m *Machine) Subscriptions() []Subscription { return m.listen.changes }

// Subscribes reports whether the answer waits for a channel to be listened to,
// and not only for what may have been notified before.
func (m *Machine) Subscribes() bool { return m.listen != nil && m.listen.waits }

// Listening returns how many channels the client listens to over the shared
// listener.
func (m *Machine) Listening() int {
	if m.listen == nil {
		return 0
	}
	return len(m.listen.channels)
}

// EachChannel calls f with every channel that the client has on the shared
// listener.
func (m *Machine) EachChannel(f func(channel string)) {
	if m.listen != nil {
		for name := range m.listen.channels {
			f(name)
		}
	}
}

// listens reports whether the client has a channel on the shared listener.
func (m *Machine) listens() bool { return m.listen != nil && len(m.listen.channels) > 0 }

// scanOptions are how the server reads the client's SQL.
func (m *Machine) scanOptions() sqlclass.Options {
	return sqlclass.Options{StandardConformingStrings: !m.scsOff, UnsafeEncoding: m.unsafeEncoding}
}

// sharedListen returns what a text with LISTEN or UNLISTEN does, and whether it
// can be answered here. Otherwise it goes to a backend, and the client is
// pinned.
func (m *Machine) sharedListen(sql []byte) ([]sqlclass.Listen, bool) {
	if !m.env.SharedListen {
		return nil, false
	}
	ops, only := sqlclass.Listens(sql, m.scanOptions())
	n := m.Listening()
	if n == 0 && m.pins&^sqlclass.PinsCheckable != 0 {
		only = false // it has a backend of its own, which may listen as well
	}
	if m.listen != nil {
		n += len(m.listen.pending)
	}
	for _, op := range ops {
		if op.On {
			n++
		} else if m.pin != "" {
			only = false // the backend may listen as well
		}
	}
	if n > maxChannels || m.otherEncoding() || m.tx != 'I' && m.savepointsLost {
		only = false
	}
	return ops, only
}

// noteUnlistens notes what a text takes back that goes to a backend: the
// shared listener has to know. What it listens to, the backend does.
func (m *Machine) noteUnlistens(ops []sqlclass.Listen) {
	if m.listen == nil {
		return
	}
	for _, op := range ops {
		if !op.On && m.listen.changed(op) && !slices.Contains(m.c.unlistens, op) {
			m.c.unlistens = append(m.c.unlistens, op)
		}
	}
}

// otherEncoding reports whether the client may want its notifications in
// another encoding than the shared listener gets them in.
func (m *Machine) otherEncoding() bool {
	if v, ok := m.want.Value("client_encoding"); ok {
		switch string(bytes.ToUpper([]byte(settings.Plain(v)))) {
		case "UTF8", "UTF-8", "UNICODE":
			return false
		}
		return true
	}
	switch m.encoding {
	case encodingUTF8:
		return false
	case encodingNone:
		return m.stored != encodingUTF8 && m.stored != encodingNone // the server converts nothing
	}
	return true
}

// encoding is as much as has to be known of an encoding.
type encoding uint8

const (
	encodingUTF8 encoding = iota
	encodingNone          // SQL_ASCII
	encodingOther
)

func encodingOf(name string) encoding {
	switch name {
	case "UTF8":
		return encodingUTF8
	case "SQL_ASCII":
		return encodingNone
	}
	return encodingOther
}

// listenQuery answers a Query of nothing but LISTEN and UNLISTEN.
func (m *Machine) listenQuery(sql []byte, out *Effects) bool {
	ops, ok := m.sharedListen(sql)
	if !ok {
		m.noteUnlistens(ops)
		return false
	}
	if m.tx == 'E' {
		m.failedHere(out)
		return true
	}
	m.take(out)
	mark := len(out.arena)
	if m.c.notice != nil {
		out.arena = wire.AppendReport(out.arena, m.c.notice)
	}
	m.said(ops)
	for _, op := range ops {
		out.arena = wire.AppendCommandComplete(out.arena, listenTag(op))
	}
	m.answerListen(mark, mark, out)
	return true
}

func listenTag(op sqlclass.Listen) string {
	if op.On {
		return "LISTEN"
	}
	return "UNLISTEN"
}

// said notes what LISTEN and UNLISTEN have said.
func (m *Machine) said(ops []sqlclass.Listen) {
	if m.listen == nil {
		m.listen = &listening{channels: make(map[string]struct{})}
	}
	if l := m.listen; m.tx == 'I' {
		l.due = append(l.due, ops...)
	} else {
		l.say(ops)
	}
}

// say adds to what the transaction has said. What changes nothing is left out:
// so there is no more of it than of channels and of LISTEN.
func (l *listening) say(ops []sqlclass.Listen) {
	for _, op := range ops {
		if l.changed(op) {
			l.pending = append(l.pending, op)
		}
	}
}

// changed reports whether op, after what the transaction has said, changes
// anything.
func (l *listening) changed(op sqlclass.Listen) bool {
	for i := len(l.pending) - 1; i >= 0; i-- {
		switch said := l.pending[i]; {
		case said.Channel == op.Channel, said.Channel == "":
			return said.On != op.On
		case op.Channel == "" && said.On:
			return true
		}
	}
	if op.Channel == "" {
		return len(l.channels) > 0
	}
	_, has := l.channels[op.Channel]
	return has != op.On
}

// answerListen gives the answer that lies in the arena from mark on. What lies
// behind at waits until the channels are listened to: what is notified after
// the client has read it reaches the client.
func (m *Machine) answerListen(mark, at int, out *Effects) {
	if m.carryListen(out) {
		l := m.listen
		l.tail, l.statement = append(l.tail[:0], out.arena[at:]...), true
		out.arena = out.arena[:at]
		out.toClient(out.built(mark))
		m.awaitHeard(out)
		return
	}
	out.arena = wire.AppendReady(out.arena, m.tx)
	out.toClient(out.built(mark))
	m.phase = phaseIdle
}

// carryListen carries out what is due. It returns true if a channel has to be
// listened to first.
func (m *Machine) carryListen(out *Effects) bool {
	l := m.listen
	if l == nil || len(l.due) == 0 {
		return false
	}
	l.changes = l.changes[:0]
	for _, op := range l.due {
		_, has := l.channels[op.Channel]
		switch {
		case op.On && !has:
			l.channels[op.Channel] = struct{}{}
			l.change(op.Channel, true)
			l.waits = true
		case !op.On && op.Channel == "":
			for name := range l.channels {
				l.change(name, false)
			}
			clear(l.channels)
		case !op.On && has:
			delete(l.channels, op.Channel)
			l.change(op.Channel, false)
		}
	}
	l.due = l.due[:0]
	if len(l.changes) > 0 {
		l.unhear()
		out.add(Listen)
	}
	return l.waits
}

// unhear drops what was notified on channels that the client has left: a
// server does not look at them before it is idle either.
func (l *listening) unhear() {
	kept := l.heard[:0]
	for b := l.heard; len(b) > 0; {
		_, total, ok := wire.Header(b)
		if !ok || total > len(b) || total < wire.HeaderLen+4 {
			break
		}
		name, _, _ := wire.CString(b[wire.HeaderLen+4 : total])
		if _, has := l.channels[string(name)]; has {
			kept = append(kept, b[:total]...)
		}
		b = b[total:]
	}
	l.heard = kept
}

func (l *listening) change(name string, on bool) {
	l.changes = append(l.changes, Subscription{name, on})
}

// awaitHeard makes ReadyForQuery wait for the shared listener.
func (m *Machine) awaitHeard(out *Effects) {
	m.phase = phaseHear
	out.add(AwaitHeard)
}

// holdReady carries out what the cycle that ends now has committed, and
// reports whether its ReadyForQuery waits for the shared listener. What was
// acknowledged to anybody before a cycle began comes before the end of that
// cycle, and so does what the cycle itself has notified.
func (m *Machine) holdReady(status byte, out *Effects) bool {
	if m.listen == nil {
		return false
	}
	wait := m.carryListen(out)
	if status != 'I' || len(m.listen.channels) == 0 {
		return wait
	}
	if !m.c.hearing || m.c.class.access != sqlclass.AccessRead {
		out.add(Hear)
	}
	return true
}

// startListening does what a client that listens needs at the beginning of a
// cycle. It returns true if the cycle is over.
func (m *Machine) startListening(out *Effects) bool {
	cl := &m.c.class
	if cl.tx == sqlclass.TxPrepare && len(m.listen.pending) > 0 && m.tx != 'E' {
		// The server does not know of it, but would refuse as well.
		if m.be != nil && m.pin != "" {
			m.c.unprepared = true // it is to go on, and is told
			return false
		}
		if m.be != nil {
			out.add(Destroy)
			m.be = nil
		}
		m.endTransaction(true)
		m.reject(&wire.Report{Code: sqlstate.FeatureNotSupported,
			Message: "cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY"}, out)
		return true
	}
	if m.tx == 'I' && cl.access == sqlclass.AccessRead && len(m.listen.channels) > 0 {
		m.c.hearing = true
		out.add(Hear)
	}
	return false
}
