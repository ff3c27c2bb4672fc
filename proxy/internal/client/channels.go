package client

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

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
	cl.pins |= sqlclass.PinListen
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
