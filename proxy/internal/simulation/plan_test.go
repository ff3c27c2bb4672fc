package simulation

import (
	"fmt"
	"strings"
	"time"

	"github.com/pgroute/pgroute/router"
)

// op is what an event does.
type op int

const (
	opRead op = iota
	opWrite
	opBegin
	opBeginRead
	opBeginRepeatable
	opCommit
	opRollback
	opGive    // the client asks for a token
	opTake    // the client takes one
	opEnter   // the client leaves and comes again
	opCancel  // the client cancels what it waits for
	opOutside // somebody writes without the proxy
	opCutConn // the connection that serves the client breaks
	opCutProbes
	opKill
	opStart
	opPromote
	opFollow // a standby or a deposed primary follows the primary
	opName   // the manager names the primary
	opFreeze
	opThaw
	opCut
	opMend
	opPause
	opResume
	opLag
	opStall
	opSlow
	opClock
	opSilence
	opVoice
	ops
)

var opNames = [ops]string{"read", "write", "begin", "begin read only", "begin repeatable read, read only", "commit", "rollback", "give a token", "take a token", "reconnect",
	"cancel", "outside write", "cut the connection of", "cut the monitors of", "kill", "start", "promote", "follow", "name", "freeze", "thaw",
	"partition", "mend", "pause replay of", "resume replay of", "delay replay of", "stall commits of", "slow probes of", "set the clock of", "silence the source", "let the source speak"}

func (o op) String() string { return opNames[o] }

// event is one event of a schedule. It is data, and means something by itself:
// any of them may be left out.
type event struct {
	at     time.Duration
	op     op
	who    int // a client or a server, as op has it
	level  router.Level
	hinted bool
	flag   bool // asynchronous; a zombie; what was sent still runs
	fit    bool // the record ends with its page; with its postmaster
	id     int  // of a write or a token
	d      time.Duration
	n      int
}

// plan is a schedule: a configuration and events, all made of one seed.
type plan struct {
	seed       uint64
	named      bool // the source names the primary
	clients    int
	shares     int
	scope      router.Scope
	wait       time.Duration
	staleness  time.Duration
	onTimeout  router.OnTimeout
	budget     int
	lostFail   bool
	untilWrite bool
	mailDelay  bool
	events     []event
}

// newPlan makes a schedule of a seed.
func newPlan(seed uint64) *plan {
	d := roll(seed, 99)
	p := &plan{seed: seed, named: d.one(2), clients: 2 + d.n(3), shares: 1 + d.n(2), wait: time.Duration(10+d.n(15)) * time.Millisecond,
		staleness: time.Duration(5+d.n(40)) * time.Millisecond, budget: 1 + d.n(3), lostFail: d.one(4), untilWrite: d.one(4), mailDelay: d.one(2)}
	if d.one(4) {
		p.scope = router.ScopeConnection
	}
	if d.one(6) {
		p.onTimeout = router.OnTimeoutError
	}
	b := builder{dice: &d, plan: p}
	n := 40 + d.n(80)
	asyncs := d.n(4)
	for len(p.events) < n && b.writes < maxWrites-farewells-20 {
		b.at += time.Duration(d.n(3_000_000))
		if d.one(25) {
			b.at += time.Duration(d.n(80)) * time.Millisecond
		}
		switch k := d.n(100); {
		case k < 36:
			b.read()
		case k < 62:
			b.write(asyncs)
		case k < 72:
			b.transaction(asyncs)
		case k < 75:
			b.add(event{op: opOutside, id: b.id(), flag: d.one(4)})
		case k < 78:
			b.add(event{op: opEnter, who: d.n(p.clients)})
		case k < 79:
			b.add(event{op: opCancel, who: d.n(p.clients)})
		default:
			b.fault()
		}
	}
	p.disorder()
	sortEvents(p.events)
	return p
}

// disorder adds what has dice of its own: clocks that are set, and tokens that are
// taken long after they were given.
func (p *plan) disorder() {
	d := roll(p.seed, 98)
	var span time.Duration
	for i := range p.events {
		span = max(span, p.events[i].at)
	}
	some := func(from time.Duration) time.Duration { return from + time.Duration(d.n(int(span-from)+1)) }
	for range d.n(4) {
		p.events = append(p.events, event{op: opClock, who: d.n(servers+1) - 1, at: some(0), d: d.step()})
	}
	for id := range d.n(maxTokens + 1) {
		give := some(0)
		p.events = append(p.events, event{op: opGive, who: d.n(p.clients), id: id, at: give},
			event{op: opTake, who: d.n(p.clients), id: id, at: some(give)}, event{op: opRead, who: d.n(p.clients), at: some(give)})
	}
}

// maxTokens is how many tokens a schedule has at most.
const maxTokens = 4

// builder makes events.
type builder struct {
	dice   *dice
	plan   *plan
	at     time.Duration
	writes int
	faulty time.Duration // until when the last great fault lasts
	split  bool
}

func (b *builder) add(e event) {
	if e.at == 0 {
		e.at = b.at
	}
	e.at += time.Duration(b.dice.n(1000))
	b.plan.events = append(b.plan.events, e)
}

func (b *builder) id() int {
	b.writes++
	return b.writes - 1
}

func (b *builder) level() (router.Level, bool) {
	switch b.dice.n(12) {
	case 0:
		return router.LevelStrong, true
	case 1:
		return router.LevelEventual, true
	case 2:
		return router.LevelBounded, true
	case 3:
		return router.LevelPrimary, true
	}
	return router.LevelSession, false
}

func (b *builder) read() {
	e := event{op: opRead, who: b.dice.n(b.plan.clients)}
	e.level, e.hinted = b.level()
	b.add(e)
}

func (b *builder) write(asyncs int) {
	b.add(event{op: opWrite, who: b.dice.n(b.plan.clients), id: b.id(), flag: b.dice.n(4) < asyncs, fit: b.dice.one(6)})
}

// transaction adds a transaction whose statements are spread over some time.
func (b *builder) transaction(asyncs int) {
	d := b.dice
	who, at := d.n(b.plan.clients), b.at
	begin := []op{opBegin, opBeginRead, opBeginRepeatable}[d.n(3)]
	step := func() time.Duration {
		at += time.Duration(d.n(4_000_000))
		return at
	}
	e := event{op: begin, who: who, at: step()}
	e.level, e.hinted = b.level()
	if e.level == router.LevelBounded || begin == opBegin {
		e.level, e.hinted = router.LevelSession, false
	}
	b.add(e)
	for range 1 + d.n(3) {
		if begin == opBegin && !d.one(3) {
			b.add(event{op: opWrite, who: who, at: step(), id: b.id(), flag: d.n(4) < asyncs})
		} else {
			b.add(event{op: opRead, who: who, at: step()})
		}
	}
	end := opCommit
	if d.one(5) {
		end = opRollback
	}
	b.add(event{op: end, who: who, at: step()})
}

// fault adds a fault, and mostly what ends it.
func (b *builder) fault() {
	d := b.dice
	s := d.n(servers)
	span := time.Duration(1_000_000 + d.n(60_000_000))
	long := time.Duration(50_000_000 + d.n(400_000_000))
	switch d.n(21) {
	case 0, 1:
		b.add(event{op: opPause, who: s})
		b.add(event{op: opResume, who: s, at: b.at + span})
	case 2, 3:
		b.add(event{op: opLag, who: s, d: time.Duration(d.n(40)) * time.Millisecond})
		b.add(event{op: opLag, who: s, at: b.at + span})
	case 4, 5:
		b.add(event{op: opStall, who: s, d: time.Duration(d.n(20)) * time.Millisecond})
		b.add(event{op: opStall, who: s, at: b.at + span})
	case 6:
		b.add(event{op: opSlow, who: s, d: time.Duration(d.n(30)) * time.Millisecond})
		b.add(event{op: opSlow, who: s, at: b.at + span})
	case 7, 8:
		b.add(event{op: opCutConn, who: d.n(b.plan.clients), flag: d.one(2)})
	case 9:
		b.add(event{op: opCutProbes, who: s})
	case 10:
		b.add(event{op: opFreeze, who: s})
		b.add(event{op: opThaw, who: s, at: b.at + long/2})
	case 11:
		b.add(event{op: opCut, who: s})
		b.add(event{op: opMend, who: s, at: b.at + long/2})
	case 12:
		b.add(event{op: opSilence})
		b.add(event{op: opVoice, at: b.at + long})
	case 13:
		b.add(event{op: opKill, who: s})
		b.add(event{op: opStart, who: s, at: b.at + span, n: d.n(6), flag: d.one(6), fit: d.one(2)})
	case 14:
		b.schism(s)
	case 15, 16:
		b.ambiguity(s)
	case 17, 18:
		b.hidden(s)
	default:
		b.failover(s)
	}
}

// ambiguity adds a transaction whose connection, or whose primary, ends about
// when it commits.
func (b *builder) ambiguity(s int) {
	d := b.dice
	who := d.n(b.plan.clients)
	at := b.at
	for i, o := range []op{opBegin, opWrite, opRead, opCommit} {
		e := event{op: o, who: who, at: at + time.Duration(i)*3*time.Millisecond}
		if o == opWrite {
			e.id, e.flag = b.id(), d.one(2)
		}
		b.add(e)
	}
	at += 9*time.Millisecond + time.Duration(d.n(1_200_000))
	switch k := d.n(6); {
	case k < 2:
		b.add(event{op: opCutConn, who: who, at: at, flag: !d.one(4)})
	case k == 2 || b.at < b.faulty:
		b.add(event{op: opKill, who: primaryNow, at: at})
		for o := range servers {
			b.add(event{op: opStart, who: o, at: at + time.Duration(d.n(10_000_000)), fit: d.one(2)})
		}
		for range 1 + d.n(4) {
			b.add(event{op: opOutside, id: b.id(), at: at + time.Duration(d.n(20_000_000))})
		}
	default:
		b.at = at
		b.failover(s)
	}
}

// hidden adds a commit that the primary shows late, and a client that reads on
// replicas and then on the primary; mostly something happens to a server
// meanwhile.
func (b *builder) hidden(s int) {
	d := b.dice
	who, at := d.n(b.plan.clients), b.at
	late := time.Duration(4_000_000 + d.n(40_000_000))
	b.add(event{op: opStall, who: primaryNow, at: at, d: late})
	for range 1 + d.n(2) {
		b.add(event{op: opWrite, who: d.n(b.plan.clients), at: at + 1000, id: b.id()})
	}
	step := func() time.Duration {
		at += time.Duration(500_000 + d.n(3_000_000))
		return at
	}
	for range 1 + d.n(3) {
		e := event{op: opRead, who: who, at: step()}
		e.level, e.hinted = b.level()
		b.add(e)
	}
	troubles := [...]struct{ begin, end op }{{opCutProbes, opCutProbes}, {opKill, opStart}, {opFreeze, opThaw}, {opCut, opMend}, {opPause, opResume}, {opSlow, opSlow}}
	if k := d.n(len(troubles) + 1); k < len(troubles) {
		b.add(event{op: troubles[k].begin, who: s, at: step(), d: time.Duration(d.n(10_000_000))})
		b.add(event{op: troubles[k].end, who: s, at: at + time.Duration(d.n(30_000_000)), n: d.n(4), fit: d.one(2)})
	}
	for range 1 + d.n(2) {
		if d.one(2) {
			b.add(event{op: opRead, who: who, at: step(), level: router.LevelPrimary, hinted: true})
			continue
		}
		b.add(event{op: opBegin, who: who, at: step()})
		b.add(event{op: opWrite, who: who, at: step(), id: b.id()})
		b.add(event{op: opRead, who: who, at: step()})
		b.add(event{op: opCommit, who: who, at: step()})
	}
	b.add(event{op: opStall, who: primaryNow, at: at + late/2})
}

// schism adds the promotion of a server beside a primary that lives on, and of
// which a source that is silent does not say that it was deposed; and writes for
// when nobody may believe in it any more.
func (b *builder) schism(s int) {
	d := b.dice
	if b.at < b.faulty || !b.plan.named || b.split {
		return
	}
	b.split = true
	late := b.at + fencedAfter + time.Duration(d.n(50_000_000))
	b.add(event{op: opSilence})
	b.add(event{op: opPromote, who: s, at: b.at + 1000})
	b.add(event{op: opName, at: b.at + 2000})
	for range 3 {
		late += time.Duration(d.n(10_000_000))
		b.add(event{op: opWrite, who: d.n(b.plan.clients), id: b.id(), at: late})
	}
	for o := range servers {
		b.add(event{op: opFollow, who: o, at: late + time.Duration(d.n(40_000_000))})
	}
	b.add(event{op: opVoice, at: late + time.Duration(d.n(40_000_000))})
}

// failover adds the promotion of a server, and what a manager does with it: in
// any order, or nothing.
func (b *builder) failover(s int) {
	d := b.dice
	if b.at < b.faulty {
		return
	}
	b.faulty = b.at + 100*time.Millisecond
	old := event{op: [...]op{opKill, opKill, opFreeze, opCut, opEnter}[d.n(5)], who: primaryNow, at: b.at}
	if old.op != opEnter {
		b.add(old)
	}
	at := b.at + time.Duration(d.n(20_000_000))
	b.add(event{op: opPromote, who: s, at: at})
	b.add(event{op: opName, at: at + time.Duration(d.n(30_000_000))})
	for o := range servers {
		b.add(event{op: opMend, who: o, at: at + time.Duration(d.n(200_000_000))})
		b.add(event{op: opFollow, who: o, at: at + time.Duration(d.n(100_000_000)), n: d.n(4)})
	}
}

// primaryNow stands for whichever server is the primary.
const primaryNow = -1

func sortEvents(list []event) {
	// Insertion: the list is nearly sorted, and equal times keep their order.
	for i := range list {
		for k := i; k > 0 && list[k].at < list[k-1].at; k-- {
			list[k], list[k-1] = list[k-1], list[k]
		}
	}
}

// statement is what a client says because of the event.
func (e *event) statement() stmt {
	s := stmt{kind: e.op, level: e.level, hinted: e.hinted, id: e.id}
	switch e.op {
	case opWrite:
		s.text = fmt.Sprintf("insert into t values (%d)", e.id)
		if e.flag {
			s.text += " -- async"
		}
		if e.fit {
			s.text += " -- fit"
		}
	case opBegin:
		s.text = "begin"
	case opBeginRead:
		s.text = "begin read only"
	case opBeginRepeatable:
		s.text = "begin isolation level repeatable read, read only"
	case opCommit:
		s.text = "commit"
	case opRollback:
		s.text = "rollback"
	case opGive:
		s.text, s.level = "show pgroute.token", router.LevelStrong
	case opTake:
		s.text = "set pgroute.token = "
	}
	return s
}

func (e *event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", e.op)
	switch {
	case e.op <= opCancel || e.op == opCutConn:
		fmt.Fprintf(&b, " c%d", e.who+1)
	case e.op == opOutside || e.op == opName || e.op == opSilence || e.op == opVoice:
	case e.who == primaryNow:
		b.WriteString(" the primary")
	default:
		fmt.Fprintf(&b, " s%d", e.who+1)
	}
	if e.op == opWrite || e.op == opOutside {
		fmt.Fprintf(&b, " w%d", e.id)
	}
	if e.hinted {
		fmt.Fprintf(&b, " %s", e.level)
	}
	if e.op == opGive || e.op == opTake {
		fmt.Fprintf(&b, " (the %d.)", e.id+1)
	}
	if e.d != 0 {
		fmt.Fprintf(&b, " by %s", e.d)
	}
	return b.String()
}

func (p *plan) String() string {
	source := "a list of servers"
	if p.named {
		source = "a source that names the primary"
	}
	return fmt.Sprintf("%s, %d clients in %d sessions, scope %s, wait %s, on timeout %s, budget %d, lost writes are errors: %v, reads until the first write elsewhere: %v",
		source, p.clients, p.shares, p.scope, p.wait, p.onTimeout, p.budget, p.lostFail, p.untilWrite)
}
