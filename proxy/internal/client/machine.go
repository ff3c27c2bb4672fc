// Package client is the state machine of one client: what arrives from the
// application and from the leased backend goes into Step, and what must be
// done comes out as effects. It does no I/O, knows no clock and never blocks,
// so that it can be tested, fuzzed and simulated without a socket.
//
// A cycle is what lies between a client's first message and ReadyForQuery:
//
//	gather → classify → route → lease → align → forward → relay → settle
//
// Route comes before Lease: whoever waits for a floor holds no backend.
package client

import (
	"hash/maphash"
	"time"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/settings"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// Env is what the machines of one event loop share.
type Env struct {
	Router     *router.Router
	Settings   *settings.Interner
	Statements *Statements
	// GatherLimit bounds what is gathered before a cycle is routed. A longer
	// request is a write.
	GatherLimit int
	Stats       *Stats
	// SharedListen: LISTEN is answered over the shared listener.
	SharedListen bool

	// Now is the time of the current turn of the loop.
	Now time.Time

	result  sqlclass.Result
	inner   sqlclass.Result // of what EXECUTE runs
	parses  uint64          // numbers unnamed statements
	clients uint64          // numbers clients
	asking  map[askers]struct{}
	own     uint64 // numbers meanings that nobody shares
	scanned []scanned
	misses  map[uint64]struct{} // texts that turned out not to be reads
	seed    maphash.Seed
}

// Init makes e ready.
func (e *Env) Init() {
	e.seed = maphash.MakeSeed()
	e.misses = make(map[uint64]struct{})
}

// maxMisses bounds the texts that are remembered not to be reads.
const maxMisses = 4096

// Database is what the machines of one database share, over all loops.
type Database interface {
	// Catalogue returns the catalogue, nil while nothing is known, and a
	// number that changes with it. fresh is false while a statement may have
	// changed it: then nothing is routed as a read. It is called for every
	// statement.
	Catalogue() (cat *sqlclass.Catalogue, gen uint64, fresh bool)
	// Changed says that a statement may have changed the catalogue, and with it
	// what a text means. Changes counts the calls, over all loops; it is called
	// for every Parse.
	Changed()
	Changes() uint64
}

// phase is where a machine stands in its cycle.
type phase uint8

const (
	phaseIdle    phase = iota
	phaseRoute         // waits for Routed
	phaseLease         // waits for Leased
	phaseAlign         // waits for the backend to take the client's settings
	phaseRun           // the backend works; its answer is relayed
	phaseTicket        // waits for a ticket
	phasePin           // the backend is asked whether what pins the client is still there, or its transaction is failed
	phaseHear          // waits for the shared listener
	phaseOutcome       // waits to hear what became of a COMMIT
	phaseClosed        // says nothing any more
)

// Machine is the state of one client. The zero value is not ready; see Init.
type Machine struct {
	env   *Env
	db    Database
	chain router.Chain
	req   router.Request
	be    *backend.State
	// session is that of chain. shadow is nil until it is needed.
	session *router.Session
	shadow  *shadow

	// base is what the client set at startup, want what it has set now.
	base, want *settings.Set
	// scsOff: standard_conforming_strings is off.
	scsOff bool
	// unsafeEncoding: bytes of client_encoding's characters may look like ASCII.
	unsafeEncoding, unsafeDefault bool
	// defaultIsolation is what DefaultIsolation was at the login.
	defaultIsolation string
	// encoding is client_encoding unless the client sets it, stored
	// server_encoding.
	encoding, stored encoding

	policy, start, saved Policy // now; at startup; at the begin of the transaction
	local                bool   // policy has SET LOCAL values until the transaction ends

	cycles      uint64 // how many have begun
	phase       phase
	tx          byte   // the transaction status the client was told: I, T, E
	txWrote     bool   // the explicit transaction ran something not proven read-only
	txRows      bool   // and something that surely changed rows
	txDDL       bool   // and something that may change the catalogue
	txNames     bool   // and something that changes what names stand for until it ends
	txFailed    bool   // the transaction failed here, not on a backend
	txReplica   bool   // an explicit transaction runs on a replica
	txRR        bool   // and it has taken its one snapshot, or will
	txUsed      bool   // and it has run a statement
	txFixed     bool   // and it has state that cannot move to another server
	roPrimary   bool   // read-only transactions go to the primary from now on
	begin       []byte // a BEGIN READ ONLY that no backend has seen yet
	beginSQL    []byte // the BEGIN of the transaction that runs on a replica
	ahead       ahead
	beginPolicy Policy
	beginHinted bool
	afterLocal  Policy
	txChanges   []change     // what SET did in the transaction
	txUncertain bool         // and ROLLBACK TO may have undone some of it
	forget      bool         // DISCARD ALL has just run
	sorry       *wire.Report // why the transaction failed, not told yet
	toSync      bool         // the client's messages are dropped up to its Sync
	noPortal    bool         // the backend still has an unnamed portal that the client has not
	hesitates   bool         // what there is of a group is all that there is for now
	committing
	pin string // why the client keeps its backend, empty if it does not
	pinning

	names   names
	sql     sqlStatements
	loose   bool // sql may be wrong, until DISCARD ALL: what could not be followed has run
	unnamed unnamed
	older   unnamed // what it was before this group, which may fail

	listen         *listening // nil until it listens over the shared listener
	savepoints     []savepoint
	savepointsLost bool

	c      cycle
	skip   int // bytes of a message from the client that are dropped
	input  int // bytes from the client that have arrived, where the event tells
	ticket waitingTicket
	last   lastRoute
}

// Policy is what a session may choose.
type Policy struct {
	Level        router.Level
	Scope        router.Scope
	Wait         time.Duration
	OnTimeout    router.OnTimeout
	MaxStaleness time.Duration
	ReportToken  bool
	// UntilWrite: the reads of a transaction before its first write run on
	// replicas, if nothing ties them to it.
	UntilWrite bool
	// Shadow: reads are judged and counted, and run on the primary.
	// LostWritesFail: that a write was lost is told by an error instead of a
	// WARNING. Only the configuration says so.
	Shadow, LostWritesFail bool
}

// rebase takes from the new base what p still has from the old one.
func (p *Policy) rebase(old, base *Policy) {
	p.Shadow, p.LostWritesFail = base.Shadow, base.LostWritesFail
	if p.Level == old.Level {
		p.Level = base.Level
	}
	if p.Scope == old.Scope {
		p.Scope = base.Scope
	}
	if p.Wait == old.Wait {
		p.Wait = base.Wait
	}
	if p.OnTimeout == old.OnTimeout {
		p.OnTimeout = base.OnTimeout
	}
	if p.MaxStaleness == old.MaxStaleness {
		p.MaxStaleness = base.MaxStaleness
	}
	if p.UntilWrite == old.UntilWrite {
		p.UntilWrite = base.UntilWrite
	}
}

// unnamed is the client's unnamed prepared statement.
type unnamed struct {
	id    uint64 // 0: there is none
	rest  []byte // as in Statement
	class class
}

// lastRoute is what SHOW pgroute.last_route tells.
type lastRoute struct {
	node   *router.Node
	role   router.Role
	reason router.Reason
	waited time.Duration
}

// cycle is the state of the cycle that runs.
type cycle struct {
	simple    bool
	class     class
	policy    Policy
	hinted    bool
	len       int  // length of the request at the front of the client's input
	held      bool // it is still there: it may be needed again
	open      bool // a group that has not been ended by its Sync yet
	copyIn    bool // the client sends copy data
	tail      bool // a copy in the extended protocol has ended, its Sync has not come
	stream    int  // bytes to come of a client message that is forwarded unseen
	onRead    bool // it runs as a read on a replica
	looked    bool // it goes on on the primary, once that shows what was read on a replica
	apart     bool // and outside of the transaction that the client is in, which no server knows
	portal    bool // a portal may outlive the group, or come from an earlier one
	first     bool // it is the beginning of a group: no ReadyForQuery
	redone    int
	redo      bool // the answer is dropped up to Z, then it is run elsewhere
	retreats  bool // it ran on a primary that went away
	retreated bool // it was sent to one, and that went away
	prefix    bool // the answer to a deferred BEGIN is swallowed
	failed    bool // an ErrorResponse was relayed
	readyHeld bool // ReadyForQuery waits for the end of a message that is on its way to the backend
	rollback  bool // the last tag said ROLLBACK
	rows      bool // a tag said that rows were changed
	aligning  bool
	alignErr  *wire.Report
	decision  router.Decision
	budgeted  bool
	plan      []planned
	planAt    int
	renamed   []int // the plan's entries that have a name
	unnamedAt unnamedState
	// unnamedWas is what the backend had before the group replaced it.
	unnamedWas    uint64
	ending, ended bool // a statement that ends a transaction was bound; was executed
	queried       bool // a Query or FunctionCall follows messages without Sync
	names         bool // it sets what names stand for
	toPrimary     bool
	unnamed       class      // of the group's last unnamed Parse
	more          bool       // more than one statement
	runs          bool       // a group that executes something, as far as it was gathered
	idle          bool       // a group that executes nothing: what it prepares takes no effect yet
	hash          uint64     // of the last text that was taken for a read
	stmt          *Statement // the last named statement that was bound
	changes       []change
	sql           sqlCycle
	result        resultCheck
	notice        *wire.Report
	answered      bool              // the backend has begun to answer the request
	refused       bool              // its parser refused the text: nothing of it ran
	kept          bool              // the alignment leaves the settings alone
	cleared       bool              // it takes away what others have left of sequences
	savepoint     uint64            // of its SAVEPOINT, RELEASE or ROLLBACK TO
	unlistens     []sqlclass.Listen // what a backend unlistens
	listen        bool              // it is a LISTEN or UNLISTEN that is answered here
	ownChannels   bool              // its backend has to listen to the client's channels first
	hearing       bool              // it has asked what was notified before it
	unprepared    bool              // its PREPARE TRANSACTION has to be refused by its backend
	behind        bool              // something was sent behind a DISCARD ALL or DEALLOCATE ALL
	capture       uint8             // what the next answer says to what was asked for the transaction
	spoiled       bool              // that has failed: its error is the answer
	commits       bool              // it is a COMMIT and nothing else
}

// Init makes m ready for a client that is logged in. base holds the settings
// of its startup packet.
func (m *Machine) Init(env *Env, db Database, s *router.Session, base *settings.Set, p Policy) {
	*m = Machine{env: env, db: db, session: s, base: base, want: base, policy: p, start: p, saved: p, tx: 'I'}
	env.clients++
	m.id = env.clients
	m.chain.Init(env.Router, s, true)
	m.chain.SetScope(p.Scope)
	m.settingsChanged()
}

// Rebase replaces the policy of the configuration, but for what the client has
// set itself.
func (m *Machine) Rebase(p Policy) {
	for _, now := range []*Policy{&m.policy, &m.saved, &m.afterLocal, &m.beginPolicy} {
		now.rebase(&m.start, &p)
	}
	m.start = p
	m.chain.SetScope(m.policy.Scope)
}

// Settings is what the client has set, for the choice of a backend.
func (m *Machine) Settings() *settings.Set { return m.want }

// Cycles is how many cycles have begun: while it and the phase are the same, so
// is what the client does.
func (m *Machine) Cycles() uint64 { return m.cycles }

// Idle reports whether the machine is between two cycles.
func (m *Machine) Idle() bool { return m.phase == phaseIdle }

// Waiting reports whether the machine waits for the router or for a lease.
func (m *Machine) Waiting() bool {
	return m.phase == phaseRoute || m.phase == phaseLease || m.phase == phaseTicket || m.phase == phaseHear || m.phase == phaseOutcome
}

// WantsInput reports whether ClientBytes can make progress now.
func (m *Machine) WantsInput() bool {
	switch m.phase {
	case phaseIdle:
		return true
	case phaseRun:
		return m.c.open || m.c.copyIn || m.c.stream > 0 || m.c.tail
	}
	return false
}

// Begun reports whether the input begins with a message of a group that is
// gathered, and whose end has not come. A server looks at each message when it
// comes: it says at once if one fails, and statement_timeout begins to run. Who
// waits for that without having asked for answers would wait for ever.
func (m *Machine) Begun(data []byte) bool {
	if m.phase != phaseIdle || m.skip > 0 || m.toSync {
		return false
	}
	typ, total, ok := wire.Header(data)
	return ok && wire.FrontendExtended(typ) && total >= wire.HeaderLen && total <= len(data)
}

// ReadyDue reports whether BackendBytes can go on with a ReadyForQuery that
// waited for the rest of a message from the client.
func (m *Machine) ReadyDue() bool {
	return m.phase == phaseRun && m.c.readyHeld && m.c.stream == 0
}

// Running reports whether the backend works for the client now, so that a
// cancel request has something to cancel.
func (m *Machine) Running() bool { return m.phase == phaseRun || m.phase == phaseAlign }

// Lent reports the backend that the machine holds, nil if it holds none.
func (m *Machine) Lent() *backend.State {
	if m.phase == phaseOutcome {
		return nil // it is gone
	}
	return m.be
}

// InTransaction reports whether the client is in a transaction block.
func (m *Machine) InTransaction() bool { return m.tx != 'I' }

// Request is the routing request of Route, and Chain what it is made for.
func (m *Machine) Request() *router.Request { return &m.req }

// Chain is the client's causal chain.
func (m *Machine) Chain() *router.Chain { return &m.chain }

// Writes reports whether Route asks for the primary as for a write.
func (m *Machine) Writes() bool { return !m.c.onRead && !m.c.looked }

// Retreats reports whether the request that is to be routed ran on a primary
// whose connection broke. The others to that server break, too, as a rule, but
// not all at one moment: whoever routes it at once may lose the next one.
func (m *Machine) Retreats() bool { return m.c.retreats }

// Decision is what Routed brought, for the loop's Lease.
func (m *Machine) Decision() *router.Decision { return &m.c.decision }

// Leave gives up what the machine holds outside of it when its client has
// gone. The loop ends the lease.
func (m *Machine) Leave() {
	m.doneBudget()
	m.abandonPlanRefs()
	m.names.each(m.env.Statements.release)
	m.unpin(m.pins)
	m.phase = phaseClosed
}

// Step takes one event and fills out with what must be done. It must not be
// called again before the effects were carried out.
func (m *Machine) Step(ev *Event, out *Effects) {
	switch ev.Kind {
	case BackendBytes:
		m.input = ev.Input
	case HomeGone, Notified:
		m.input = 0
	default:
		m.input = len(ev.Data)
	}
	switch ev.Kind {
	case ClientBytes:
		m.clientBytes(ev.Data, out)
	case BackendBytes:
		m.backendBytes(ev.Data, out)
	case BackendGone:
		m.backendGone(out)
	case Routed: // also again, when the dial for a lease failed
		if m.phase == phaseRoute || m.phase == phaseLease {
			m.doneBudget()
			m.routed(ev, out)
		}
	case RouteFailed:
		if m.phase == phaseRoute || m.phase == phaseLease {
			m.reject(ev.Report, out)
		}
	case Leased:
		m.leased(ev, out)
	case LeaseFailed:
		if m.phase == phaseLease {
			m.leaseFailed(ev, out)
		}
	case Aligned:
		if m.phase == phaseAlign && m.be != nil {
			m.align(ev.Data, out)
		}
	case TicketReady:
		if m.phase == phaseTicket {
			m.ticketReady(ev, out)
		}
	case Cancel:
		if m.Waiting() {
			m.canceled(out)
		}
	case Resolved:
		if m.phase == phaseOutcome {
			m.outcomeKnown(&ev.Verdict, out)
		}
	case HomeGone:
		m.homeIsGone(ev.Data)
	case Heard:
		if m.phase == phaseHear {
			m.heard(ev, out)
		}
	case Notified:
		m.notified(ev.Data)
	case Missed:
		if m.listen != nil && m.listen.told {
			m.listen.missed = true
		}
	case Overheard:
		if m.listen != nil {
			m.overheard()
		}
		return // it would only be one thing more that is not read
	case Hesitates:
		if m.Begun(ev.Data) {
			m.hesitates = true
			m.gather(ev.Data, out)
			m.hesitates = false
		}
	}
	if m.home != nil && m.phase == phaseIdle && m.be == nil {
		m.comeHome(out)
	}
	if m.listen != nil {
		m.tellHeard(out)
	}
}

// clientBytes handles what the client sent.
func (m *Machine) clientBytes(data []byte, out *Effects) {
	switch m.phase {
	case phaseIdle:
		m.gather(data, out)
	case phaseRun:
		if m.WantsInput() {
			m.more(data, out)
		}
	case phaseClosed:
		out.Consumed = len(data)
	}
}

// canceled answers a cancel request that found the cycle waiting here.
func (m *Machine) canceled(out *Effects) {
	r := &wire.Report{
		Severity: "ERROR", Code: sqlstate.QueryCanceled,
		Message: "canceling statement due to user request",
	}
	if m.phase == phaseTicket && m.ticket.report {
		// The statement is over; only the report of its token is given up.
		m.ticketReady(&Event{Report: r}, out)
		return
	}
	if m.phase == phaseHear {
		m.heard(&Event{Report: r}, out)
		return
	}
	if m.phase == phaseOutcome {
		m.outcomeKnown(&router.Verdict{Reason: "The question for it was canceled due to user request."}, out)
		return
	}
	m.reject(r, out)
}

// take consumes the request at the front of the client's input.
func (m *Machine) take(out *Effects) {
	out.Consumed += m.c.len
	m.c.len = 0
}

// fatal tells the client why its connection ends, and ends it.
func (m *Machine) fatal(r *wire.Report, out *Effects) {
	r.Severity = "FATAL"
	mark := len(out.arena)
	out.arena = wire.AppendReport(out.arena, r)
	out.toClient(out.built(mark))
	m.close(out)
}

// close ends the client. A backend that is still held is destroyed: nobody
// knows what state it would be in.
func (m *Machine) close(out *Effects) {
	m.closeHome(out)
	if m.be != nil && (m.phase != phaseIdle || m.tx != 'I' || m.pin != "") {
		out.add(Destroy)
		m.be = nil
	}
	m.doneBudget()
	m.phase = phaseClosed
	out.add(Close)
}

// doneBudget gives a slot of the fallback budget back.
func (m *Machine) doneBudget() {
	if m.c.budgeted {
		m.c.budgeted = false
		m.c.decision.Done()
	}
}

// violation is the FATAL for bytes that are not the protocol.
func (m *Machine) violation(msg string, out *Effects) {
	m.env.Stats.Violations.Add(1)
	m.fatal(&wire.Report{Code: sqlstate.ProtocolViolation, Message: msg}, out)
}
