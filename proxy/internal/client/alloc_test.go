package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/settings"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// still is a cluster of a primary and a replica in which nothing ever happens.
type still struct{ replica bool }

const stillAt = lsn.LSN(0x1000000)

func (still) Connect(_ context.Context, addr router.Addr) (router.Probe, error) {
	return still{replica: addr.Port == 2}, nil
}

func (s still) Identify(context.Context) (router.Status, error) {
	st := router.Status{SystemID: 1, InRecovery: s.replica, Timeline: 1, BeginKnown: true, Incarnation: 1,
		PostmasterStart: 1, BlockSize: 8192, Version: 150000, At: time.Now()}
	if s.replica {
		st.Replay = stillAt
	} else {
		st.Insert, st.Flush = stillAt, stillAt
	}
	return st, nil
}

func (still) Replay(context.Context) (router.Reading, error) {
	return router.Reading{Replay: stillAt, InRecovery: true}, nil
}

func (still) Insert(context.Context) (insert, flush lsn.LSN, err error) { return stillAt, stillAt, nil }
func (still) Nudge(context.Context) error                               { return nil }
func (still) Close() error                                              { return nil }

// plain is a database whose catalogue holds nothing special.
type plain struct{ cat *sqlclass.Catalogue }

func (p plain) Catalogue() (*sqlclass.Catalogue, uint64, bool) { return p.cat, 1, true }
func (plain) Changed()                                         {}
func (plain) Changes() uint64                                  { return 1 }

type nothing struct{}

func (nothing) Wake(uint64, error) {}

// rig drives a machine as a loop does, without sockets.
type rig struct {
	t       testing.TB
	env     client.Env
	m       client.Machine
	out     client.Effects
	nodes   map[router.Role]*backend.State
	toward  []byte // what went to a backend in the last cycle
	back    []byte // what went to the client
	lent    *backend.State
	role    router.Role // of the last lease
	waiting nothing
}

func newRig(t testing.TB, level router.Level) *rig {
	t.Helper()
	src, err := router.Static("127.0.0.1:1", "127.0.0.1:2")
	if err != nil {
		t.Fatal(err)
	}
	r, err := router.New(router.Config{Source: src, Prober: still{}, HealthInterval: time.Hour, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	limit, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if err := r.WaitTopology(limit, func(t *router.Topology) bool { return t.Primary != nil && t.Replicas() == 1 }); err != nil {
		t.Fatal(err)
	}
	g := &rig{t: t, nodes: make(map[router.Role]*backend.State)}
	g.env = client.Env{Router: r, Settings: settings.NewInterner(16), Statements: client.NewStatements(16),
		GatherLimit: 64 << 10, Stats: new(client.Stats), Now: time.Now()}
	g.env.Init()
	topo := r.Topology()
	for _, n := range topo.Nodes {
		role := router.RoleReplica
		if n == topo.Primary {
			role = router.RolePrimary
		}
		g.nodes[role] = &backend.State{Node: n, Primary: n == topo.Primary, Era: topo.Era(), Own: stillAt,
			Settings: g.env.Settings.Empty(), Tx: 'I'}
	}
	g.m.Init(&g.env, plain{}, router.NewSession(), g.env.Settings.Empty(), client.Policy{Level: level, Wait: time.Second})
	// The replica's first reading comes after it counts as one.
	var c router.Chain
	c.Init(r, nil, false)
	d, err := r.Pick(limit, &router.Request{Level: router.LevelStrong, Wait: patience, OnTimeout: router.OnTimeoutError}, &c)
	if err != nil {
		t.Fatal(err)
	}
	d.Done()
	return g
}

var errStuck = errors.New("the cycle did not end")

// cycle runs one request; reply is what a backend answers to it.
func (g *rig) cycle(request, reply []byte) error {
	g.toward, g.back = g.toward[:0], g.back[:0]
	in := request
	ev := client.Event{Kind: client.ClientBytes, Data: in}
	for range 16 {
		g.out.Reset()
		g.m.Step(&ev, &g.out)
		next := client.Event{}
		have := false
		for i := range g.out.List {
			switch e := &g.out.List[i]; e.Op {
			case client.ToClient:
				g.back = append(g.back, e.Data...)
			case client.ToBackend:
				g.toward = append(g.toward, e.Data...)
				next, have = client.Event{Kind: client.BackendBytes, Data: reply}, true
			case client.Route:
				next, have = client.Event{Kind: client.Routed}, true
				if g.m.Writes() {
					n, epoch, _ := g.env.Router.Primary()
					next.Decision = router.Decision{Node: n, Role: router.RolePrimary, Reason: router.ReasonWrite, Epoch: epoch}
				} else {
					q := g.m.Request()
					g.env.Router.Begin(q, g.m.Chain(), g.env.Now)
					d, done := g.env.Router.Decide(q, g.m.Chain(), g.env.Now, g.waiting)
					for end := time.Now().Add(patience); !done; {
						if time.Now().After(end) {
							return errors.New("the read waits in vain")
						}
						g.env.Router.Cancel(q) // the position after what pinned the client is still asked for
						runtime.Gosched()
						d, done = g.env.Router.Decide(q, g.m.Chain(), g.env.Now, g.waiting)
					}
					next.Decision = d
				}
			case client.Lease:
				g.role = g.m.Decision().Role
				g.lent = g.nodes[g.role]
				next, have = client.Event{Kind: client.Leased, Backend: g.lent}, true
			case client.Release:
				g.lent = nil
			case client.Destroy, client.Close:
				return errors.New("the cycle went wrong")
			}
		}
		in = in[g.out.Consumed:]
		if next.Kind != client.BackendBytes {
			next.Data = in
		}
		if !have {
			if g.m.Idle() && len(in) == 0 {
				return nil
			}
			if g.m.Idle() && g.out.Consumed > 0 { // there is more in what was sent
				ev = client.Event{Kind: client.ClientBytes, Data: in}
				continue
			}
			return errStuck
		}
		ev = next
	}
	return errStuck
}

// The messages of a select of one row.
var (
	simpleSelect  = wire.AppendQuery(nil, "SELECT now(), 12345;")
	simpleReply   = reply("T", "D", "C", "Z")
	unnamedSelect = group(parse("", "SELECT now(), 12345"), bind(""), execute())
	unnamedReply  = reply("1", "2", "D", "C", "Z")
	namedParse    = group(parse("s", "SELECT now(), $1"))
	namedSelect   = group(bind("s"), execute())
	namedReply    = reply("2", "D", "C", "Z")
)

func reply(types ...string) (b []byte) {
	for _, t := range types {
		switch t {
		case "T":
			b = wire.AppendTextColumns(b, 0, "abs")
		case "D":
			b = wire.AppendTextRow(b, "12345")
		case "C":
			b = wire.AppendCommandComplete(b, "SELECT 1")
		case "Z":
			b = wire.AppendReady(b, 'I')
		default:
			b = wire.AppendEmpty(b, t[0])
		}
	}
	return b
}

func group(messages ...[]byte) []byte { return wire.AppendSync(bytes.Join(messages, nil)) }
func parse(name, sql string) []byte {
	return wire.AppendParse(nil, []byte(name), append([]byte(sql), 0, 0, 0))
}
func bind(name string) []byte { return wire.AppendBind(nil, nil, []byte(name), make([]byte, 6)) }
func execute() []byte         { return []byte{'E', 0, 0, 0, 9, 0, 0, 0, 0, 0} }

// In steady state a cycle allocates nothing, classification and routing and
// counting included.
func TestCycleAllocatesNothing(t *testing.T) {
	for _, level := range []router.Level{router.LevelPrimary, router.LevelSession} {
		for name, c := range map[string]struct{ before, beforeReply, request, reply []byte }{
			"simple":   {nil, nil, simpleSelect, simpleReply},
			"unnamed":  {nil, nil, unnamedSelect, unnamedReply},
			"pinned":   {wire.AppendQuery(nil, "declare h cursor with hold for select 1"), reply("C", "Z"), simpleSelect, simpleReply},
			"prepared": {namedParse, reply("1", "Z"), namedSelect, namedReply},
		} {
			t.Run(level.String()+"/"+name, func(t *testing.T) {
				g := newRig(t, level)
				if c.before != nil {
					if err := g.cycle(c.before, c.beforeReply); err != nil {
						t.Fatal(err)
					}
				}
				for range 10 {
					if err := g.cycle(c.request, c.reply); err != nil {
						t.Fatal(err)
					}
				}
				if want := router.RoleReplica; level == router.LevelSession && g.role != want {
					t.Errorf("the read ran on a %v, want a %v", g.role, want)
				}
				if !bytes.Equal(g.back, c.reply) {
					t.Errorf("the client got %q, want %q", g.back, c.reply)
				}
				var err error
				if n := testing.AllocsPerRun(1000, func() { err = errors.Join(err, g.cycle(c.request, c.reply)) }); n != 0 || err != nil {
					t.Errorf("%v allocations a cycle, want none (%v)", n, err)
				}
			})
		}
	}
}

func BenchmarkCycle(b *testing.B) {
	for _, level := range []router.Level{router.LevelPrimary, router.LevelSession} {
		b.Run(level.String(), func(b *testing.B) {
			g := newRig(b, level)
			if err := g.cycle(namedParse, reply("1", "Z")); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := g.cycle(namedSelect, namedReply); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
