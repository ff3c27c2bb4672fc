package client

import (
	"bytes"
	"hash/maphash"
	"strconv"
	"strings"

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

// savepoint is where the transaction's pending stood.
type savepoint struct {
	name uint64 // hash
	at   int
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
		if !op.On {
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
		l.pending = append(l.pending, ops...)
	}
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

// heard goes on with the ReadyForQuery that has waited.
func (m *Machine) heard(ev *Event, out *Effects) {
	l := m.listen
	mark := len(out.arena)
	switch r := ev.Report; {
	case r != nil && l.statement:
		// Nothing of the statement has happened.
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
	l.tail, l.waits, l.statement = l.tail[:0], false, false
	m.phase = phaseIdle
	out.arena = m.appendHeard(out.arena)
	out.arena = wire.AppendReady(out.arena, m.tx)
	out.toClient(out.built(mark))
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
	if len(l.heard) > 0 {
		// The client must find what it was told of.
		m.chain.Notified()
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

// settleListen follows, inside of transactions, what was said of channels.
func (m *Machine) settleListen(prev, status byte) {
	cl := &m.c.class
	if l := m.listen; l != nil && !m.c.failed && len(m.c.unlistens) > 0 {
		if status == 'I' && prev == 'I' {
			l.due = append(l.due, m.c.unlistens...)
		} else {
			l.pending = append(l.pending, m.c.unlistens...)
		}
	}
	if status == 'I' || m.c.failed {
		return
	}
	at := 0
	if m.listen != nil {
		at = len(m.listen.pending)
	}
	switch {
	case cl.mixed:
		m.savepointsLost = true
	case cl.tx == sqlclass.TxSavepoint:
		if len(m.savepoints) < maxSavepoints {
			m.savepoints = append(m.savepoints, savepoint{m.c.savepoint, at})
		} else {
			m.savepointsLost = true
		}
	case cl.tx == sqlclass.TxRelease, cl.tx == sqlclass.TxRollbackTo:
		i := len(m.savepoints) - 1
		for i >= 0 && m.savepoints[i].name != m.c.savepoint {
			i--
		}
		if i < 0 {
			m.savepointsLost = true
			return
		}
		if cl.tx == sqlclass.TxRelease {
			m.savepoints = m.savepoints[:i]
			return
		}
		if m.listen != nil {
			m.listen.pending = m.listen.pending[:min(at, m.savepoints[i].at)]
		}
		m.savepoints = m.savepoints[:i+1]
	case cl.tx == sqlclass.TxCommitChain, cl.tx == sqlclass.TxRollbackChain:
		m.endListen(cl.tx == sqlclass.TxRollbackChain || m.c.rollback)
	}
}

// noteSavepoint notes the name of the savepoint that the statement in
// env.result is about.
func (m *Machine) noteSavepoint() {
	m.c.savepoint = maphash.Bytes(m.env.seed, m.env.result.Name)
}

// endListen makes what the transaction has said due, or forgets it.
func (m *Machine) endListen(rolledBack bool) {
	if m.savepoints, m.savepointsLost = m.savepoints[:0], false; cap(m.savepoints) > 64 {
		m.savepoints = nil
	}
	l := m.listen
	if l == nil {
		return
	}
	if !rolledBack {
		l.due = append(l.due, l.pending...)
	}
	l.pending = l.pending[:0]
}

// unlistenAll takes all channels back, after DISCARD ALL.
func (m *Machine) unlistenAll() {
	if m.listen != nil {
		m.listen.due = append(m.listen.due, sqlclass.Listen{})
	}
}

// startListening does what a client that listens needs at the beginning of a
// cycle. It returns true if the cycle is over.
func (m *Machine) startListening(out *Effects) bool {
	cl := &m.c.class
	if cl.tx == sqlclass.TxPrepare && len(m.listen.pending) > 0 {
		// The server does not know of it, but would refuse as well.
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

// asksChannels reports whether a text may ask for the channels that the
// session listens to.
func asksChannels(sql []byte) bool {
	const name = "listening_channels"
	for i := 0; i+len(name) <= len(sql); i++ {
		if c := sql[i]; (c == 'l' || c == 'L') && bytes.EqualFold(sql[i:i+len(name)], []byte(name)) {
			return true
		}
	}
	return false
}

// channelsQuery answers a Query that asks for the client's channels, or sees
// to it that a backend can. It returns true if the cycle is over.
func (m *Machine) channelsQuery(sql []byte, out *Effects) bool {
	if !asksChannels(sql) {
		return false
	}
	if m.pin != "" || !sqlclass.AsksChannels(sql, m.scanOptions()) {
		return m.ownChannels(out)
	}
	if m.tx == 'E' {
		m.failedHere(out)
		return true
	}
	m.take(out)
	mark := len(out.arena)
	out.arena = wire.AppendTextColumns(out.arena, 0, "pg_listening_channels")
	for name := range m.listen.channels {
		out.arena = wire.AppendTextRow(out.arena, name)
	}
	out.arena = wire.AppendCommandComplete(out.arena, "SELECT "+strconv.Itoa(len(m.listen.channels)))
	out.arena = wire.AppendReady(out.arena, m.tx)
	out.toClient(out.built(mark))
	m.phase = phaseIdle
	return true
}

// ownChannels lets the cycle run on a backend that listens to the client's
// channels itself, and is the client's from then on. What is notified still
// comes over the shared listener.
func (m *Machine) ownChannels(out *Effects) bool {
	if m.tx == 'E' {
		return false
	}
	if m.tx != 'I' {
		m.reject(&wire.Report{Code: sqlstate.FeatureNotSupported,
			Message: "pgroute: pg_listening_channels() cannot be asked in this way in a transaction",
			Hint:    "Send SELECT pg_listening_channels() alone and as a simple query, or outside of a transaction."}, out)
		return true
	}
	cl := &m.c.class
	cl.access, cl.harmless = sqlclass.AccessWrite, false
	cl.binds |= sqlclass.BindsPin
	cl.pinReason = "LISTEN"
	m.c.ownChannels = true
	return false
}

// appendOwnListen appends the Query that makes a backend listen to the
// client's channels.
func (m *Machine) appendOwnListen(b []byte) []byte {
	b = append(b, 'Q', 0, 0, 0, 0)
	at := len(b) - wire.HeaderLen
	for name := range m.listen.channels {
		b = append(b, `LISTEN "`...)
		b = append(b, strings.ReplaceAll(name, `"`, `""`)...)
		b = append(b, `";`...)
	}
	b = append(b, 0)
	wire.Lengthen(b[at:], len(b)-at-1)
	return b
}
