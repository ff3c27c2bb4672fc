package client_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/proxy/internal/client"
)

// What a fuzzed client and a fuzzed server say, apart from raw bytes.
var (
	requests = []string{
		"Q(select 1)", "Q(insert into t values (1))", "Q(begin)", "Q(begin read only)", "Q(commit)", "Q(rollback)", "Q(commit and chain)",
		"Q(begin isolation level repeatable read, read only)", "Q(savepoint a)", "Q(rollback to a)", "Q(set work_mem = '1MB')", "Q(reset all)",
		"Q(discard all)", "Q(deallocate all)", "Q(deallocate s)", "Q(set role x)", "Q(create temp table x (a int))", "Q(copy t from stdin)", "Q()", "Q(;)",
		"Q(select 1; begin)", "Q(xx*200)", "Q(show pgroute.wait)", "Q(set pgroute.wait = 1)", "Q(set local pgroute.consistency = strong)", "Q(show pgroute.token)",
		"Q(set pgroute.report_token = on)", "Q(set pgroute.token = 'x')", "Q(set pgroute.consistency = primary)", "Q(/* pgroute: nonsense */ select 1)",
		"Q(listen c)", "Q(unlisten c)", "Q(unlisten *)", "Q(listen c; listen d)", "Q(listen c; select 1)", "Q(select pg_listening_channels())",
		"Q(select 1 from pg_listening_channels())", "P(,listen c)", "P(s,unlisten c)", "Q(release a)", "Q(prepare transaction 'x')",
		"P(,select 1)", "P(s,select 1)", "P(u,select 2)", "P(s,insert into t values (1))", "P(,begin read only)", "P(,commit)", "P(,set work_mem = '1MB')",
		"P(,copy t from stdin)", "P(,discard all)", "P(,deallocate all)", "P(,deallocate s)", "P(,xx*200)", "P(s,xx*200)", "P(,show pgroute.token)", "P(u,rollback)",
		"Q(set pgroute.transaction_reads = 'until-write')", "Q(begin isolation level read committed)", "Q(select now())", "P(,begin isolation level read committed) B(,) E",
		"P(,savepoint a) B(,) E S", "P(,rollback to a) B(,) E S", "Q(release a)", "EMAX",
		"B(,)", "B(,s)", "B(,u)", "B(p,s)", "B(,nope)", "E", "E(p)", "D(S,)", "D(S,s)", "D(P,)", "C(S,)", "C(S,s)", "C(P,p)", "H", "S", "S", "S",
		"Q(prepare x as select 1)", "Q(execute x)", "Q(deallocate x)", "Q(prepare x as insert into t values (1))", "Q(prepare s as select '\\')", "Q(execute x; execute y)",
		"P(,prepare x as select 1)", "P(u,execute x)", "B(,x)", "D(S,x)", "C(S,x)", "P(x,select 1)", "B(,pgroute_1)", "Q(set standard_conforming_strings = off)",
		"Q(select pg_advisory_lock(1))", "Q(select pg_try_advisory_lock(1))", "Q(select pg_advisory_unlock(1))", "Q(listen c)", "Q(unlisten c)", "Q(drop table x)",
		"Q(declare h cursor with hold for select 1)", "Q(close h)", "Q(discard temp)", "Q(select pg_backend_pid())", "Q(select lastval())", "Q(select currval('s'))",
		"Q(frobnicate)", "P(,select pg_advisory_lock(1))", "P(s,create temp table x (a int))", "P(,select lastval())",
		"d(1)", "d(xx*200)", "c", "f(no)", "F(x)", "X",
	}
	replies = []string{
		"Z(I)", "Z(I)", "Z(T)", "Z(E)", "C(SELECT 1)", "C(INSERT 0 1)", "C(SET)", "C(BEGIN)", "C(COMMIT)", "C(ROLLBACK)", "C(DEALLOCATE ALL)", "C(DISCARD ALL)",
		"1", "2", "3", "t", "T", "n", "s", "I", "D(x)", "D(x*500)", "H", "d", "c", "G", "E(42P01)", "E(40001)", "E(25006)", "E(22012)", "E(26000,\"pgroute_1\")", "FATAL(57P01)",
		"N(01000)", "N(01000,x*70000)", "S(TimeZone,UTC)", "S(in_hot_standby,off)", "S(standard_conforming_strings,off)", "S(client_encoding,SJIS)", "A(ch)", "K", "W",
		"C(PREPARE)", "C(DEALLOCATE)", "C(PREPARE) Z(I)", "3 Z(I)", "E(42P01) Z(I)",
		"ROW(t)", "ROW(f)", "ROW(f,t)", "ROW(t,f,f)", "T ROW(f) C(SELECT 1) Z(I)", "T ROW(f) C(SELECT 1) Z(I)", "T ROW(f,f) C(SELECT 1) Z(I)", "T ROW(t) C(SELECT 1) Z(I)",
		"SYNTAX", "WITHIN", "SYNTAX Z(I)",
		"C(SELECT 1) Z(I)", "T D(x) C(SELECT 1) Z(I)", "1 2 D(x) C(SELECT 1) Z(I)", "C(BEGIN) Z(T)", "1 Z(I)", "3 1 Z(I)",
	}
)

// FuzzMachine lets a client and its servers say anything, in any pieces and at
// any time, and checks after each step what must hold (see actor.step).
func FuzzMachine(f *testing.F) {
	// Seeds: the requests and replies of the scenarios, in order.
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var seed []byte
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			switch {
			case strings.HasPrefix(line, "== ") && seed != nil:
				f.Add(seed)
				seed = nil
			case strings.HasPrefix(line, "client: "):
				seed = append(seed, raw(0, frontend(line[8:]))...)
			case strings.HasPrefix(line, "server: "):
				seed = append(seed, raw(1, answers(line[8:]))...)
			case line == "gone":
				seed = append(seed, 4)
			case strings.HasPrefix(line, "parked: "):
				seed = append(seed, 13, 0)
			case line == "home-gone":
				seed = append(seed, 12)
			case line == "cancel":
				seed = append(seed, 5)
			}
		}
		f.Add(seed)
	}
	f.Fuzz(fuzzMachine)
}

// raw is the operation that says b.
func raw(op byte, b []byte) []byte {
	b = b[:min(len(b), 255)]
	return append([]byte{op, byte(len(b))}, b...)
}

func fuzzMachine(t *testing.T, data []byte) {
	s := newStage(t)
	fuzzRun(s, data)
	if s.env.Statements.Held() != 0 {
		t.Error("a statement is held by nobody")
	}
}

func fuzzRun(s *stage, data []byte) {
	s.env.GatherLimit = 256
	a := s.enter("1", "work_mem", "2MB")
	take := func() byte {
		if len(data) == 0 {
			return 0
		}
		b := data[0]
		data = data[1:]
		return b
	}
	for len(data) > 0 && !a.closed {
		switch op := take(); op % 15 {
		case 0, 1: // raw bytes of the client, of the server
			n := min(int(take()), len(data))
			a.feed(data[:n], op%15 == 1)
			data = data[n:]
		case 2:
			a.feed(frontend(requests[int(take())%len(requests)]), false)
		case 3:
			a.feed(answers(replies[int(take())%len(replies)]), true)
		case 4:
			if a.be != nil {
				a.be, a.back, a.waits = nil, nil, false
				a.step(client.Event{Kind: client.BackendGone})
				a.settle()
			}
		case 5:
			if a.m.Waiting() {
				a.waits = false
				a.step(client.Event{Kind: client.Cancel})
				a.settle()
			}
		case 6: // from now on somebody else answers
			what := []string{"route", "lease", "ticket", "heard"}[int(take())%4]
			if a.hold[what] = !a.hold[what]; !a.hold[what] {
				a.settle()
			}
		case 7: // a refusal
			if !a.waits || a.pending == client.Input {
				continue
			}
			ev := client.Event{Kind: client.RouteFailed, Report: report("57P03")}
			switch a.pending {
			case client.AwaitHeard:
				ev.Kind = client.Heard
			case client.Lease:
				ev.Kind, ev.Elsewhere = client.LeaseFailed, take()%2 == 0
			case client.Ticket:
				ev.Kind = client.TicketReady
			}
			ev.Data = a.in
			a.waits = false
			a.step(ev)
			a.settle()
		case 8: // an answer
			if !a.waits {
				continue
			}
			switch a.pending {
			case client.AwaitHeard:
				a.waits = false
				a.step(client.Event{Kind: client.Heard})
			case client.Route:
				a.routed(a.choose())
			case client.Lease:
				a.leased()
			case client.Ticket:
				a.ticket()
			}
			a.settle()
		case 14: // of the shared listener
			kind := []client.EventKind{client.Notified, client.Notified, client.Missed, client.Overheard}[int(take())%4]
			a.step(client.Event{Kind: kind, Data: answers("A(c)")})
			a.settle()
		case 9:
			if !a.waits {
				a.step(client.Event{Kind: client.Hesitates, Data: a.in})
				a.settle()
			}
			s.rnd = rand.New(rand.NewPCG(uint64(take()), 1))
			s.bytes = op/15%2 == 0
			s.db.stale = op/15%4 == 1
		case 10: // the right answer to what the client runs
			a.feed(answers("C(SELECT 1) Z(I)"), true)
		case 11: // and to what is asked of pins
			a.feed(answers("T ROW(f) C(SELECT 1) Z(I)"), true)
		case 12:
			if a.home != nil {
				a.home, a.homeless = nil, true
				a.step(client.Event{Kind: client.HomeGone, Data: a.parked})
				a.parked = nil
				a.settle()
			}
		case 13:
			if a.home != nil {
				a.parked = append(a.parked, answers(replies[int(take())%len(replies)])...)
			}
		}
		if len(a.heard) > 100 {
			a.heard = nil
		}
	}
	a.m.Leave()
	s.env.Stats.EachPin(func(kind int, _ uint64, now int64) {
		if now != 0 {
			s.Errorf("pin %d: %d clients have it, and all have left", kind, now)
		}
	})
}

// TestRandomConversations plays what FuzzMachine plays, with more sense: what
// a server says is mostly what it was asked for.
func TestRandomConversations(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		var data []byte
		for range 200 {
			switch rnd.IntN(12) {
			case 0, 1, 2, 3:
				data = append(data, 2, byte(rnd.IntN(len(requests))))
			case 4, 5, 6, 7, 8:
				data = append(data, 3, byte(rnd.IntN(len(replies))))
			case 9:
				data = append(data, 2, byte(len(requests)-9)) // a Sync
			default:
				data = append(data, byte(4+rnd.IntN(11)), byte(rnd.IntN(256)))
			}
		}
		if !t.Run("", func(t *testing.T) { fuzzMachine(t, data) }) {
			t.Fatalf("seed %d", seed)
		}
	}
}
