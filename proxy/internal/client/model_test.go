package client_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/settings"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// What the model's clients say. ID stands for something that no other text
// has. The first lists are complete requests, the last are parts of a group.
var (
	modelQueries = []string{
		"select 'ID'", "select 'ID'", "select 'shared'", "insert into t values ('ID')", "begin", "begin", "begin read only", "commit", "commit", "rollback",
		"commit and chain", "savepoint s", "rollback to s", "set work_mem = '1MB'", "set work_mem = '2MB'", "set local work_mem = '3MB'", "set app.x = 'ID'",
		"set local app.x = 'ID'", "set role r1", "set timezone = 'ID'", "reset timezone", "reset role", "reset all", "show work_mem", "discard all",
		"deallocate s", "deallocate all", "create temp table tmp (v text)", "select v from tmp", "listen ch", "copy t from stdin", "select 1 / 0", "",
		"select 'ID'; select 'ID'", "select 'ID'; insert into t values ('ID')", "begin; select 'ID'", "insert into t values ('ID'); select 1 / 0", "nonsense",
	}
	modelParsed = []string{
		"select 'ID'", "select 'shared'", "select 'shared, too'", "insert into t values ('ID')", "begin", "begin read only", "begin isolation level repeatable read, read only", "commit", "rollback", "set work_mem = '5MB'", "reset work_mem",
		"select v from tmp", "select 1 / 0", "show app.x", "savepoint s", "rollback to s", "set app.x = 'ID'",
	}
	modelShared = []string{"select 'shared'", "select 'shared, too'", "select 'shared by all'"}
	modelParts  = []string{"P", "P", "P", "P(s)", "P(u)", "B", "B", "B", "B(,s)", "B(,u)", "B(,s)", "E", "E", "E", "D(P,)", "D(S,)", "D(S,s)", "C(S,s)", "C(S,u)", "C(S,)", "H", "S", "S", "S", "S"}
)

// model is some clients that share servers, each beside a server of its own that
// is told the same: what the clients are told must be the same, too.
type model struct {
	*stage
	take    func() byte
	clients []*modelClient
	servers map[*backend.State]*modelServer
	ids     int
	journal map[string]int // INSERTs, by text, as often as a server ran it
	told    []string       // everything that happened
}

type modelServer struct {
	*pgmodel
	lessee *modelClient
}

type modelClient struct {
	w *model
	*actor
	name                 string
	direct               *pgmodel
	open                 bool // it has not sent its Sync
	want                 []string
	heard                []byte
	troubled, gone, over bool
	expected             map[string]int // INSERTs, as often as they must run
	unnamed              int            // unnamed statements parsed in this group
	floor                *uint64        // the session's ticket before a write was acknowledged
}

func (m *model) note(format string, args ...any) {
	m.told = append(m.told, fmt.Sprintf(format, args...))
}

func (m *model) wrong(format string, args ...any) {
	m.Helper()
	m.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(m.told[max(0, len(m.told)-400):], "\n"))
}

// enter adds a client whose startup packet sets something, or nothing.
func (m *model) enter() *modelClient {
	m.ids++
	c := &modelClient{w: m, name: fmt.Sprintf("c%d", m.ids), expected: map[string]int{}}
	startup := map[string]string{}
	var base []string
	if v := m.take() % 3; v > 0 {
		startup["timezone"] = fmt.Sprintf("Z%d", v)
		base = []string{"timezone", startup["timezone"]}
	}
	c.actor = m.stage.enter(c.name, base...)
	c.prefer = []string{"a", "b"}[m.take()%2]
	c.direct = newPGModel(false, startup)
	c.direct.wrote = func(text string) { c.expected[text]++ }
	c.watch = watch{c.says, c.asks, c.releases}
	m.clients = append(m.clients, c)
	m.note("%s enters with %v", c.name, startup)
	return c
}

// server is what stands behind a backend.
func (m *model) server(be *backend.State) *modelServer {
	s := m.servers[be]
	if s == nil {
		s = &modelServer{pgmodel: newPGModel(!be.Primary, nil)}
		s.ran = func(text string) {
			if _, id, ok := strings.Cut(text, "'c"); ok && !strings.HasPrefix("c"+id, s.lessee.name+".") {
				m.wrong("a text of another client is run for %s: %s", s.lessee.name, text)
			}
		}
		s.wrote = func(text string) { m.journal[text]++ }
		s.committed = func() { s.lessee.mayReturn() }
		m.servers[be] = s
	}
	return s
}

// mayReturn notes the ticket that the floor of a write that has just happened
// must be above (I1).
func (c *modelClient) mayReturn() {
	now := c.session.Ticket()
	if now != 0 { // let the next one be another
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := c.r.WaitTicket(ctx, now); err != nil {
			c.Fatal(err)
		}
	}
	c.floor = &now
}

// asks takes what the machine sends to a backend.
func (c *modelClient) asks(be *backend.State, data []byte) {
	s := c.w.server(be)
	s.lessee = c
	c.w.note("  %s asks %s: %s", c.name, be.Node.Name, tell(data, false))
	s.input(data)
}

// says takes what the machine tells the client, and compares it.
func (c *modelClient) says(data []byte) {
	c.heard = append(c.heard, data...)
	for !c.over {
		typ, total, ok := wire.Header(c.heard)
		if !ok || total > len(c.heard) {
			return
		}
		frame := c.heard[:total]
		c.heard = c.heard[total:]
		if typ == 'S' || typ == 'N' {
			continue
		}
		got := heardAs(frame)
		c.w.note("  %s hears %s", c.name, got)
		if c.floor != nil && strings.HasPrefix(got, "Z") {
			if c.session.Ticket() <= *c.floor {
				c.w.wrong("%s hears of its write before it has a ticket", c.name)
			}
			c.floor = nil
		}
		c.expect(got)
	}
}

// heardAs is a message without what may differ.
func heardAs(frame []byte) string {
	said := tell(frame, true)
	if frame[0] == 'E' {
		said, _, _ = strings.Cut(said, ",")
		said = strings.TrimSuffix(said, ")") + ")"
	}
	return said
}

func (c *modelClient) expect(got string) {
	for out := c.direct.out; len(out) > 0; out = c.direct.out {
		_, total, _ := wire.Header(out)
		c.want = append(c.want, heardAs(out[:total]))
		c.direct.out = out[total:]
	}
	// In a failed transaction that it has failed may be said of what is wrong
	// by itself, too: the statement had to be prepared first.
	// A portal that has run cannot run again; where its transaction has moved on
	// to another server it is not there.
	moved := len(c.want) > 0 && got == "E(34000)" && c.want[0] == "E(55000)"
	if len(c.want) > 0 && (c.want[0] == got || got == "E(25P02)" && strings.HasPrefix(c.want[0], "E(") || moved) {
		c.want = c.want[1:]
		return
	}
	// What a pooler may say and a server does not: that a server is gone, and
	// that a read-only transaction has to be run again.
	lost := (c.gone || c.troubled) && (strings.HasPrefix(got, "E(") || strings.HasPrefix(got, "FATAL(") || got == "Z(E)")
	// Of several unnamed statements in one group that fails only the last is
	// remembered.
	// In a transaction that has failed before any server knew of it, all that is
	// not its end gets one and the same error.
	// Nor can a statement be described there that this server has not prepared.
	described := c.direct.tx == 'E' && len(c.want) > 0 && c.want[0] == "t"
	if lost || got == "E(40001)" || (c.be == nil || described) && got == "E(25P02)" || c.unnamed > 1 && got == "E(26000)" {
		c.over = true
		return
	}
	c.w.wrong("%s hears %s; a server of its own would say %v", c.name, got, c.want)
}

// releases judges the state of a server that the next client gets (I4).
func (c *modelClient) releases(be *backend.State) {
	s := c.w.server(be)
	bad := ""
	switch {
	case s.tx != 'I' || s.begun != nil || s.copyIn || s.skip:
		bad = "in the middle of something"
	case len(s.in) > 0:
		bad = "with a part of a message"
	case len(s.out) > 0 || len(c.back) > 0:
		bad = "with something to say"
	case len(s.now.temp) > 0 || len(s.now.listen) > 0:
		bad = fmt.Sprintf("with %v and %v", s.now.temp, s.now.listen)
	}
	for _, name := range settingsOf {
		v, ok := be.Settings.Value(name)
		if v = settings.Plain(v); !ok {
			v = s.reset[name]
		}
		if s.now.cur[name] != v {
			bad = fmt.Sprintf("with %s %q, believed to be %q", name, s.now.cur[name], v)
		}
	}
	if bad != "" {
		c.w.wrong("%s gives a server back %s", c.name, bad)
	}
	c.w.note("  %s gives %s back", c.name, be.Node.Name)
	s.lessee = nil
}

// leave ends a client, as the loop does.
func (c *modelClient) leave() {
	c.w.note("%s leaves", c.name)
	if be := c.be; be != nil {
		if c.m.Idle() && be.Tx == 'I' && !be.Tainted && !be.Pinned && be.Settings != nil {
			c.releases(be)
			c.idle[be.Node.Name] = append(c.idle[be.Node.Name], be)
		} else {
			delete(c.w.servers, be)
		}
		c.be = nil
	}
	if c.home != nil {
		delete(c.w.servers, c.home)
	}
	c.m.Leave()
	delete(c.stage.actor, c.name)
	c.w.clients = slices.DeleteFunc(c.w.clients, func(o *modelClient) bool { return o == c })
}

// Clients that are over leave, between two steps of theirs.
func (m *model) sweep() {
	for _, c := range slices.Clone(m.clients) {
		if c.over || c.closed {
			c.leave()
		}
	}
}

func (m *model) text(c *modelClient, list []string) string {
	text := list[int(m.take())%len(list)]
	for strings.Contains(text, "ID") {
		m.ids++
		text = strings.Replace(text, "ID", fmt.Sprintf("%s.%d", c.name, m.ids), 1)
	}
	return text
}

// speak lets the client send something that its server could get now.
func (c *modelClient) speak() {
	var text string
	switch {
	case c.direct.copyIn:
		text = []string{"d(1)", "d(xx*300)", "c", "f(no)"}[c.w.take()%4]
	case !c.open && c.w.take()%2 == 0:
		text = "Q(" + c.w.text(c, modelQueries) + ")"
		if c.direct.block && (text == "Q(reset all)" || text == "Q(reset timezone)") {
			return // inside of a transaction it takes back to what the server has
		}
	default:
		text = modelParts[int(c.w.take())%len(modelParts)]
		switch {
		case text == "P" || text == "C(S,)":
			if c.unnamed++; c.unnamed > 1 && c.w.take()%4 != 0 {
				c.unnamed--
				return
			}
			if text == "C(S,)" {
				break
			}
			text = "P(," + c.w.text(c, modelParsed) + ")"
		case strings.HasPrefix(text, "P("):
			list := modelParsed
			if c.w.take()%2 == 0 {
				list = modelShared
			}
			text = text[:3] + "," + c.w.text(c, list) + ")"
		case text == "B":
			text = "B(,)"
		}
		if c.open = text != "S"; !c.open && c.unnamed == 1 {
			c.unnamed = 0
		}
	}
	c.w.note("%s: %s", c.name, text)
	b := frontend(text)
	c.direct.input(b)
	c.feed(b, false)
}

// listen delivers a piece of what the client's server has said.
func (c *modelClient) listen(n int) bool {
	if c.be == nil || c.waits && c.pending != client.Input {
		return false
	}
	s := c.w.server(c.be)
	if len(s.out) == 0 {
		return false
	}
	n = min(max(n, 1), len(s.out))
	piece := append([]byte(nil), s.out[:n]...)
	s.out = s.out[n:]
	c.back = append(c.back, piece...)
	c.step(client.Event{Kind: client.BackendBytes, Data: c.back, Input: len(c.in)})
	c.settle()
	return true
}

// calmDown delivers everything.
func (m *model) calmDown() {
	for again := true; again; {
		again = false
		for _, c := range slices.Clone(m.clients) {
			for !c.over && !c.closed && c.listen(1<<20) {
				again = true
			}
		}
		m.sweep()
	}
}

// play plays what the bytes say.
func (m *model) play(data []byte) {
	m.take = func() byte {
		if len(data) == 0 {
			return 0
		}
		b := data[0]
		data = data[1:]
		return b
	}
	for len(data) > 0 {
		if len(m.clients) == 0 || len(m.clients) < 4 && m.take()%8 == 0 {
			m.enter()
		}
		c := m.clients[int(m.take())%len(m.clients)]
		switch op := m.take() % 32; {
		case op < 14:
			c.speak()
		case op < 26:
			c.listen(int(m.take()))
		case op == 26 && m.take()%2 == 0:
			if c.m.Begun(c.in) && !c.waits {
				m.note("%s hesitates", c.name)
				c.step(client.Event{Kind: client.Hesitates, Data: c.in})
				c.settle()
			}
		case op == 26:
			m.calmDown()
		case op == 27: // its server ends
			if c.be != nil {
				m.note("the server of %s is gone", c.name)
				c.gone = true
				delete(m.servers, c.be)
				c.actor.be, c.back, c.waits = nil, nil, false
				c.step(client.Event{Kind: client.BackendGone})
				c.settle()
			}
		case op == 28: // the replica that serves it lags behind
			if c.be != nil && !c.be.Primary {
				c.troubled = true
				c.w.server(c.be).trouble = []string{"42P01", "40001", "25006", "0A000"}[m.take()%4]
			}
		case op == 29:
			c.leave()
		case op == 30:
			m.stage.rnd = rand.New(rand.NewPCG(uint64(m.take()), 1))
			m.stage.bytes = m.take()%4 == 0
		case op == 31:
			m.db.stale = m.take()%2 == 0
		}
		m.sweep()
	}
	for _, c := range m.clients { // everybody ends what he has begun
		if c.direct.copyIn {
			c.direct.input(frontend("c"))
			c.feed(frontend("c"), false)
		}
		if c.open {
			c.direct.input(frontend("S"))
			c.feed(frontend("S"), false)
		}
	}
	m.calmDown()
	for _, c := range slices.Clone(m.clients) {
		c.expectNothing()
		c.leave()
	}
	if n := m.env.Statements.Held(); n != 0 {
		m.wrong("%d statements are held by nobody", n)
	}
}

// expectNothing demands that the client was told everything, and that what it
// wrote was run as often as it should be.
func (c *modelClient) expectNothing() {
	for out := c.direct.out; len(out) > 0; {
		_, total, _ := wire.Header(out)
		c.want = append(c.want, heardAs(out[:total]))
		out = out[total:]
	}
	if len(c.want) > 0 || len(c.heard) > 0 {
		c.w.wrong("%s waits for %v, and has a part of %d bytes", c.name, c.want, len(c.heard))
	}
	for text, n := range c.expected {
		if c.w.journal[text] != n && !c.gone && !c.troubled {
			c.w.wrong("%s: %s was run %d times, should be %d", c.name, text, c.w.journal[text], n)
		}
	}
}

func playModel(t testing.TB, data []byte) {
	m := &model{stage: newStage(t), servers: map[*backend.State]*modelServer{}, journal: map[string]int{}}
	m.env.GatherLimit = 4096
	m.play(data)
}

// FuzzModel lets clients share servers, and compares what each of them is told
// with what a server of its own would have said.
func FuzzModel(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(noise(seed, 400))
	}
	f.Fuzz(func(t *testing.T, data []byte) { playModel(t, data) })
}

func noise(seed uint64, n int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 11))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	return data
}

// TestModel plays what FuzzModel plays.
func TestModel(t *testing.T) {
	for seed := range uint64(200) {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { playModel(t, noise(seed, 600)) }) {
			return
		}
	}
}
