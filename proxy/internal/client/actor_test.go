package client_test

import (
	"context"
	"fmt"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/settings"
	"github.com/pgroute/pgroute/router"
)

// actor is one client and what surrounds it.
type actor struct {
	*stage
	m       client.Machine
	session *router.Session
	out     client.Effects
	in      []byte // sent by the client, not consumed
	back    []byte // sent by the backend, not consumed
	be      *backend.State
	home    *backend.State // parked
	parked  []byte         // what it has sent meanwhile
	pending client.Op      // what was asked for and not answered
	waits   bool
	said    bool // that it waits for a route
	closed  bool
	// homeless: what was parked is gone.
	homeless bool
	// unparked: what the backend has sent while it was parked is to be handled.
	unparked bool
	hold     map[string]bool // requests that the scenario answers itself
	heard    []heard         // what happened, not told yet
	ready    int             // ReadyForQuery that the client has seen
	single   int             // single bytes that it was fed
	// channels are those of the shared listener that the client has.
	channels map[string]bool
	wrote    uint64 // the session's ticket when it saw the last
	watch    watch
	asked    bool   // it has asked what became of a COMMIT
	prefer   string // the replica that reads go to first, a if empty
}

// watch is told what the machine says. Its functions may be nil.
type watch struct {
	client   func(data []byte)
	backend  func(be *backend.State, data []byte)
	released func(be *backend.State)
}

// heard is an output: data for somebody, or a word.
type heard struct {
	who  string
	data []byte
}

func (s *stage) enter(name string, base ...string) *actor {
	a := &actor{stage: s, session: router.NewSession(), hold: map[string]bool{}, channels: map[string]bool{}}
	set := s.env.Settings.Empty()
	for i := 0; i+1 < len(base); i += 2 {
		set = s.env.Settings.With(set, base[i], settings.Startup(base[i+1]))
	}
	a.m.Init(s.env, s.db, a.session, set, client.Policy{Wait: 100 * time.Millisecond, MaxStaleness: time.Second})
	s.actor[name] = a
	return a
}

func (a *actor) note(who string, data []byte) {
	if n := len(a.heard); n > 0 && data != nil && a.heard[n-1].who == who {
		a.heard[n-1].data = append(a.heard[n-1].data, data...)
		return
	}
	a.heard = append(a.heard, heard{who, append([]byte(nil), data...)})
}

// step is one Step with all that must hold about it.
func (a *actor) step(ev client.Event) {
	a.Helper()
	inLen, backLen := len(a.in), len(a.back)
	a.out.Reset()
	a.m.Step(&ev, &a.out)
	out := &a.out
	if out.Consumed < 0 || out.Consumed > inLen || out.BackendConsumed < 0 || out.BackendConsumed > backLen {
		a.Fatalf("consumed %d of %d and %d of %d", out.Consumed, inLen, out.BackendConsumed, backLen)
	}
	if ev.Kind != client.BackendBytes && out.BackendConsumed > 0 {
		a.Fatalf("consumed what was not given")
	}
	a.in, a.back = a.in[out.Consumed:], a.back[out.BackendConsumed:]
	for _, e := range out.List {
		if a.closed {
			a.Fatalf("an effect after the end: %v", e.Op)
		}
		if a.waits && (e.Op == client.ToBackend || e.Op >= client.Ticket && e.Op < client.Close || e.Op == client.AwaitHeard || e.Op == client.Route || e.Op == client.Lease) {
			a.Fatalf("an effect before the answer to %v: %v", a.pending, out.List)
		}
		switch e.Op {
		case client.ToClient:
			a.note("client", e.Data)
			if a.watch.client != nil {
				a.watch.client(e.Data)
			}
		case client.ToBackend:
			if a.be == nil {
				a.Fatalf("bytes for a backend that is not leased: %q", e.Data)
			}
			a.note(a.be.Node.Name, e.Data)
			if a.watch.backend != nil {
				a.watch.backend(a.be, e.Data)
			}
		case client.Release:
			if a.be == nil {
				a.Fatalf("released what is not leased")
			}
			if a.be.Tx != 'I' || a.be.Tainted || a.be.Pinned || a.be.Settings == nil { // I4
				a.Fatalf("released in the state %c, tainted %v, pinned %v", a.be.Tx, a.be.Tainted, a.be.Pinned)
			}
			if a.home == nil && !a.homeless && a.m.Pin() != "" {
				a.Fatalf("released while the client is pinned: %s", a.m.Pin())
			}
			a.note("release", nil)
			if a.watch.released != nil {
				a.watch.released(a.be)
			}
			a.idle[a.be.Node.Name] = append(a.idle[a.be.Node.Name], a.be)
			a.be, a.back = nil, nil
		case client.Destroy:
			if a.be == nil {
				a.Fatalf("destroyed what is not leased")
			}
			a.note("destroy", nil)
			a.be, a.back = nil, nil
		case client.Park:
			if a.be == nil || a.home != nil || !a.be.Primary || a.be.Tx != 'I' || !a.be.Pinned || a.be.Tainted || len(a.back) > 0 && a.be.Remain > 0 {
				a.Fatalf("parked %v while %v is parked", a.be, a.home)
			}
			a.home, a.parked = a.be, a.back
			a.be, a.back = nil, nil
		case client.Unpark:
			if a.be != nil || a.home == nil {
				a.Fatalf("unparked %v while %v is leased", a.home, a.be)
			}
			a.be, a.back = a.home, a.parked
			a.home, a.parked = nil, nil
			a.unparked = true
		case client.Close:
			a.note("close", nil)
			a.closed, a.waits = true, false
		case client.Hear:
			a.note("hear", nil)
		case client.Listen:
			word := "listen"
			for _, s := range a.m.Subscriptions() {
				if s.On == a.channels[s.Channel] {
					a.Fatalf("%q is %v twice", s.Channel, s.On)
				}
				a.channels[s.Channel] = s.On
				if s.On {
					word += " +" + s.Channel
				} else {
					word += " -" + s.Channel
				}
			}
			a.note(word, nil)
		default:
			a.pending, a.waits, a.said = e.Op, true, false
		}
	}
	if a.m.Lent() != a.be {
		a.Fatalf("the machine holds %v, it has leased %v", a.m.Lent(), a.be)
	}
	if a.m.Idle() && a.home != nil {
		a.Fatalf("it is idle, and its backend is parked")
	}
	if a.unparked && !a.closed {
		a.unparked = false
		if len(a.back) > 0 {
			a.step(client.Event{Kind: client.BackendBytes, Data: a.back, Input: len(a.in)})
		}
	}
}

// settle answers what the machine asks for, as far as the scenario does not.
func (a *actor) settle() {
	a.Helper()
	// What is taken of the client's bytes is progress, however much there is.
	for idle, left := 0, len(a.in); idle < 1000; idle++ {
		if len(a.in) < left {
			idle, left = 0, len(a.in)
		}
		switch {
		case a.closed:
			return
		case !a.waits:
			if len(a.in) == 0 || !a.m.WantsInput() {
				return
			}
			before := len(a.in)
			a.step(client.Event{Kind: client.ClientBytes, Data: a.in})
			if len(a.in) == before && !a.waits && a.m.WantsInput() {
				return
			}
		case a.pending == client.Route:
			kind := "read"
			if a.m.Writes() {
				kind = "write"
			}
			if a.hold["route"] {
				if !a.said {
					a.note("route "+kind, nil)
				}
				a.said = true
				return
			}
			a.routed(a.choose())
		case a.pending == client.Lease:
			if a.hold["lease"] {
				a.note("lease "+a.m.Decision().Node.Name, nil)
				return
			}
			a.leased()
		case a.pending == client.Ticket:
			if a.hold["ticket"] {
				a.note("ticket", nil)
				return
			}
			a.ticket()
		case a.pending == client.AwaitHeard:
			if a.hold["heard"] {
				a.note("await", nil)
				return
			}
			a.waits = false
			a.step(client.Event{Kind: client.Heard})
		case a.pending == client.Inquire:
			if k := a.m.Commit(); !a.asked {
				a.asked = true
				text := fmt.Sprintf("inquire %d at %s", k.XID, k.Position)
				if k.Flushed != 0 {
					text += fmt.Sprintf(", flushed %s", k.Flushed)
				}
				a.note(text, nil)
			}
			return
		case a.pending == client.Input:
			a.waits = false
			a.step(client.Event{Kind: client.Aligned, Data: a.in})
		default:
			a.Fatalf("nobody knows what to do about %v", a.pending)
		}
	}
	a.Fatalf("it does not come to rest")
}

// choose is the router: reads to a, else to b, else to p.
func (a *actor) choose() string {
	q := a.m.Request()
	switch {
	case a.m.Writes() || q.Level == router.LevelPrimary:
		return "p"
	case q.Only != nil:
		return q.Only.Name
	}
	for _, name := range []string{a.prefer, "a", "b"} {
		if name == "" {
			continue
		}
		if !q.Exclude.Has(a.nodes[name]) {
			return name
		}
	}
	return "p"
}

func (a *actor) routed(name string) {
	a.Helper()
	n := a.nodes[name]
	d := router.Decision{Node: n, Role: n.Role(), Reason: router.ReasonCovered}
	if a.m.Writes() {
		d.Reason = router.ReasonWrite
	}
	a.waits = false
	a.step(client.Event{Kind: client.Routed, Data: a.in, Decision: d})
}

func (a *actor) leased() {
	a.Helper()
	a.waits = false
	a.be = a.backend(a.m.Decision().Node.Name)
	// The machine learns of it in this step.
	ev := client.Event{Kind: client.Leased, Data: a.in, Backend: a.be}
	a.step(ev)
}

func (a *actor) ticket() {
	a.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	f, err := a.r.WaitTicket(ctx, a.m.TicketGen())
	if err != nil {
		a.Fatal(err)
	}
	a.waits = false
	a.step(client.Event{Kind: client.TicketReady, Data: a.in, Floor: f})
}

// feed gives input to the machine, in the pieces that the stage wants.
func (a *actor) feed(b []byte, server bool) {
	a.Helper()
	for first := true; first || len(b) > 0; first = false {
		n := min(len(b), 64<<10) // as much as a loop reads
		switch {
		case a.bytes && a.single < 1<<18: // more takes too long
			n = min(1, n)
			a.single++
		case a.rnd != nil && n > 0:
			n = 1 + a.rnd.IntN(n)
		}
		piece := b[:n]
		b = b[n:]
		if server {
			if a.be == nil {
				return
			}
			a.back = append(a.back, piece...)
			a.step(client.Event{Kind: client.BackendBytes, Data: a.back, Input: len(a.in)})
		} else {
			a.in = append(a.in, piece...)
		}
		a.settle()
	}
}

// tells returns what was heard since the last call, a line each.
func (a *actor) tells() []string {
	var lines []string
	for _, h := range a.heard {
		switch h.who {
		case "client":
			lines = append(lines, "client "+tell(h.data, true))
		case "p", "a", "b":
			lines = append(lines, h.who+" "+tell(h.data, false))
		default:
			lines = append(lines, h.who)
		}
	}
	a.heard = nil
	return lines
}
