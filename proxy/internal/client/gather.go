package client

import (
	"bytes"
	"fmt"
	"hash/maphash"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// gather looks at the client's input between two cycles and starts a cycle
// once its request is complete, or is known to be too long to be gathered.
func (m *Machine) gather(data []byte, out *Effects) {
	if m.skip > 0 {
		n := min(m.skip, len(data))
		m.skip -= n
		out.Consumed += n
		data = data[n:]
	}
	for {
		typ, total, ok := wire.Header(data)
		if !ok {
			return
		}
		if !m.vet(typ, total, out) {
			return
		}
		if m.toSync && typ != 'X' {
			n := min(total, len(data))
			m.skip = total - n
			out.Consumed += n
			data = data[n:]
			if typ == 'S' {
				m.toSync = false
				if len(data) > 0 && m.begins() {
					m.orphaned(out) // as orphans, now that the group's end is known
				}
				mark := len(out.arena)
				out.arena = wire.AppendReady(out.arena, m.tx)
				out.toClient(out.built(mark))
				m.rest(out)
				return
			}
			continue
		}
		switch typ {
		case 'Q':
			m.query(data, total, out)
			return
		case 'P', 'B', 'D', 'E', 'C', 'H', 'S':
			m.group(data, out)
			return
		case 'F':
			m.function(data, total, out)
			return
		case 'X':
			out.Consumed = len(data)
			m.close(out)
			return
		default: // d, c, f: late copy messages, which the server ignores too
			n := min(total, len(data))
			m.skip = total - n
			out.Consumed += n
			data = data[n:]
		}
	}
}

// vet checks a header from the client (postgres.c, SocketBackend).
func (m *Machine) vet(typ byte, total int, out *Effects) bool {
	limit := wire.FrontendLimit(typ)
	switch {
	case limit == 0:
		m.violation(fmt.Sprintf("invalid frontend message type %d", typ), out)
		return false
	case total < wire.HeaderLen || total > limit:
		m.violation("invalid message length", out)
		return false
	}
	return true
}

// query starts the cycle of a Query.
func (m *Machine) query(data []byte, total int, out *Effects) {
	m.newCycle(true)
	m.unnamed.id = 0 // a Query destroys the unnamed statement
	if total > len(data) {
		if total <= m.env.GatherLimit {
			return // wait for the rest
		}
		m.tooLong(data, total, out)
		return
	}
	sql := data[wire.HeaderLen:total]
	if len(sql) == 0 || bytes.IndexByte(sql, 0) != len(sql)-1 {
		m.violation("invalid string in message", out)
		return
	}
	sql = sql[:len(sql)-1]
	m.c.len = total
	m.c.class = m.resolved(m.classify(sql))
	m.hint(&m.env.result.Hint)
	res := &m.env.result
	if m.c.class.binds&sqlclass.BindsLocal != 0 {
		m.localQuery(sql, out) // it leaves a portal alone
		return
	}
	m.noPortal = m.tx != 'I' && m.be != nil
	if (m.ahead.on || m.c.policy.UntilWrite) && m.aheadQuery(sql, out) {
		return
	}
	if m.txFailed {
		m.inFailed(out)
		return
	}
	if m.c.class.setting != sqlclass.SettingNone {
		m.noteSetting(res)
	}
	if m.c.class.dealloc && m.deallocate(out) {
		return
	}
	if m.c.class.binds&sqlclass.BindsPrepare != 0 {
		if m.notePrepare(sql); m.c.sql.clash {
			m.duplicate(out)
			return
		}
	}
	if m.c.class.binds&sqlclass.BindsListen != 0 && m.listenQuery(sql, out) {
		return
	}
	if m.listens() && m.channelsQuery(sql, out) {
		return
	}
	if m.c.class.tx >= sqlclass.TxSavepoint {
		m.noteSavepoint()
	}
	m.noteForget(m.c.class)
	if m.deferBegin(sql, out) {
		return
	}
	if m.begin != nil && m.endDeferred(out) {
		return
	}
	m.startCycle(data, out)
}

// tooLong starts the cycle of a request that is not gathered: it is a write,
// and what it does to the session is not known.
func (m *Machine) tooLong(data []byte, total int, out *Effects) {
	if m.txFailed {
		m.inFailedLong(data, total, out)
		return
	}
	m.c.class = class{
		access: sqlclass.AccessWrite, reason: sqlclass.ReasonTooLong, copyIn: true, mixed: true,
		binds: sqlclass.BindsTaint | sqlclass.BindsPin | sqlclass.BindsDDL, pinReason: "statement too long to be examined",
	}
	m.c.len = min(total, len(data))
	m.c.stream = total - m.c.len
	m.startCycle(data, out)
}

// function starts the cycle of a FunctionCall. What it calls is an OID that
// nobody has looked at: a write, and unless it is for large objects it may be
// set_config or an advisory lock.
func (m *Machine) function(data []byte, total int, out *Effects) {
	m.newCycle(true)
	if m.txFailed {
		m.inFailedLong(data, total, out)
		return
	}
	m.c.class = class{access: sqlclass.AccessWrite, reason: sqlclass.ReasonUnknownFunction}
	if !callsLargeObject(data) {
		m.c.class.binds, m.c.class.pinReason = sqlclass.BindsTaint|sqlclass.BindsPin, "function call by its OID"
	}
	m.c.len = min(total, len(data))
	m.c.stream = total - m.c.len
	m.startCycle(data, out)
}

// classify classifies sql; env.result holds the details until the next call.
func (m *Machine) classify(sql []byte) class {
	cat, _, _ := m.db.Catalogue()
	r := &m.env.result
	sqlclass.Classify(sql, cat, m.options(), r)
	if r.Access == sqlclass.AccessRead && r.Tx == sqlclass.TxNone {
		m.c.hash = maphash.Bytes(m.env.seed, sql)
		if len(m.env.misses) > 0 {
			if _, missed := m.env.misses[m.c.hash]; missed {
				r.Access, r.Harmless = sqlclass.AccessWrite, false
			}
		}
	}
	return summary(r)
}

// options is how the session's settings let a text be read.
func (m *Machine) options() sqlclass.Options {
	return sqlclass.Options{
		StandardConformingStrings: !m.scsOff,
		SearchPathDefault:         !m.want.Has("search_path"),
		UnsafeEncoding:            m.unsafeEncoding,
	}
}

// newCycle forgets the last cycle.
func (m *Machine) newCycle(simple bool) {
	m.cycles++
	m.c = cycle{
		simple: simple, policy: m.policy, plan: m.c.plan[:0], renamed: m.c.renamed[:0],
		changes: m.c.changes[:0],
	}
	if cap(m.c.plan) > maxPlanKept {
		m.c.plan, m.c.renamed = nil, nil
	}
	m.req.Exclude, m.req.Only = 0, nil
	if m.beginHinted && (m.begin != nil || m.txReplica || m.ahead.on) {
		m.c.policy, m.c.hinted = m.beginPolicy, true
	}
}

// summary keeps of r what does not point into the text.
func summary(r *sqlclass.Result) class {
	access := r.Access
	if r.Statements == 1 && !r.Mixed && r.Tx != sqlclass.TxNone && r.Tx < sqlclass.TxPrepare {
		access = sqlclass.AccessRead // transaction control by itself is neither
	}
	return class{
		access: access, tx: r.Tx, iso: r.Isolation, readOnly: r.ReadOnly, mixed: r.Mixed,
		time: r.TransactionTime, harmless: r.Harmless, copyIn: r.CopyIn, cursor: r.Cursor, empty: r.Statements == 0, setting: r.Setting.Kind,
		dealloc: r.Binds&sqlclass.BindsDeallocate != 0, deallocAll: r.DeallocateAll, binds: r.Binds, reason: r.Reason, pinReason: r.PinReason,
		pins: r.Pins, several: r.Statements > 1, sequence: namesSequence(r),
	}
}

// hint takes what a statement's comment asks for.
func (m *Machine) hint(h *sqlclass.Hint) {
	if !h.Given() {
		return
	}
	p := &m.c.policy
	bad := h.Bad
	if h.Level != "" && p.Set("consistency", h.Level) == nil {
		m.c.hinted = true
	}
	if h.OnTimeout != "" {
		p.Set("on_timeout", h.OnTimeout)
	}
	if h.Wait != nil && p.Set("wait", string(h.Wait)) != nil {
		bad = h.Wait
	}
	if h.MaxStaleness != nil && p.Set("max_staleness", string(h.MaxStaleness)) != nil {
		bad = h.MaxStaleness
	}
	if len(bad) > 0 {
		m.c.notice = &wire.Report{
			Severity: "WARNING", Code: sqlstate.Warning,
			Message: fmt.Sprintf("pgroute: unknown hint %q is ignored", bad),
			Hint:    "Write consistency=LEVEL or one of eventual, bounded, session, strong, primary.",
		}
	}
}

// startCycle routes the cycle, or goes on where the client already is.
func (m *Machine) startCycle(data []byte, out *Effects) {
	if m.listen != nil && m.startListening(out) || m.tellFate(out) {
		return
	}
	if m.be != nil {
		if m.txReplica && m.onReplica(data, out) {
			return
		}
		if !m.readsAway() {
			m.continueOn(data, out)
			return
		}
		m.park(out)
	}
	if m.ahead.on {
		m.startAhead(out)
		return
	}
	m.c.onRead = m.asRead()
	m.c.held = true
	m.route(out)
}

// asRead reports whether the cycle may be routed as a read.
func (m *Machine) asRead() bool {
	cl := &m.c.class
	if cl.access != sqlclass.AccessRead || cl.mixed || m.c.open || m.c.stream > 0 {
		return false
	}
	if cl.binds&^(sqlclass.BindsSetting|sqlclass.BindsExecute) != 0 || m.pin != "" && m.pins&^sqlclass.PinsApart != 0 {
		return false
	}
	if _, _, fresh := m.db.Catalogue(); !fresh {
		return false
	}
	if m.begin != nil { // the first statement of a deferred transaction
		return cl.tx == sqlclass.TxNone
	}
	if cl.tx != sqlclass.TxNone && (cl.tx != sqlclass.TxBeginReadOnly || cl.iso == sqlclass.Serializable || m.roPrimary) {
		return false
	}
	if v, ok := m.want.Value("default_transaction_isolation"); ok && !plainIsolation(v) {
		return false
	}
	return true
}

// plainIsolation reports whether a value of default_transaction_isolation is
// one that a standby takes: SERIALIZABLE is refused there (0A000).
func plainIsolation(v string) bool {
	return !bytes.Contains(bytes.ToLower([]byte(v)), []byte("serializable"))
}

// route asks for a place to run.
func (m *Machine) route(out *Effects) {
	m.phase = phaseRoute
	if m.c.onRead {
		q := &m.req
		p := &m.c.policy
		q.Level, q.Wait, q.OnTimeout, q.MaxStaleness = p.Level, p.Wait, p.OnTimeout, p.MaxStaleness
		q.Only = nil
		if p.Shadow {
			q.Level = router.LevelPrimary
		}
		if m.txReplica && m.be != nil {
			q.Only = m.be.Node
		}
		if mutantCheckInside() && m.begin != nil && m.txRR {
			q.Level = router.LevelEventual
		}
	}
	m.c.looked = m.c.looked || m.be == nil && !m.c.onRead && m.mustLook()
	if m.c.looked {
		m.routeLook()
	}
	out.add(Route)
}

// continueOn runs the cycle on the backend that the client holds.
func (m *Machine) continueOn(data []byte, out *Effects) {
	m.c.held = false
	m.c.onRead = false
	if m.ahead.judge {
		m.judgeAhead()
	}
	if m.be.Primary && m.needsLeader() {
		if t := m.env.Router.Topology(); !t.Leads(m.env.Now) || m.be.Former(t.Era()) {
			m.route(out) // it waits for a primary, which must be this one
			return
		}
	}
	if m.mustLook() {
		m.awaitLook(out)
		return
	}
	m.last = lastRoute{node: m.be.Node, role: router.RolePrimary, reason: m.heldReason()}
	if m.txReplica {
		m.last.role = router.RoleReplica
	}
	m.align(data, out)
}

// needsLeader reports whether the cycle must not run on a primary of which it
// is not proven that it leads (I6).
func (m *Machine) needsLeader() bool {
	cl := &m.c.class
	switch {
	case cl.access == sqlclass.AccessWrite && !cl.harmless, cl.mixed:
		return true
	case cl.tx == sqlclass.TxCommit, cl.tx == sqlclass.TxCommitChain:
		return m.txWrote && m.be.Tx == 'T'
	case cl.tx != sqlclass.TxNone:
		return false
	}
	switch m.c.policy.Level {
	case router.LevelStrong, router.LevelBounded, router.LevelPrimary:
		return cl.access == sqlclass.AccessRead
	}
	return false
}

// routed goes on with a decision.
func (m *Machine) routed(ev *Event, out *Effects) {
	m.c.decision = ev.Decision
	m.c.budgeted = true
	m.c.retreats = false
	m.last = lastRoute{node: ev.Decision.Node, role: ev.Decision.Role, reason: ev.Decision.Reason, waited: ev.Decision.Waited}
	if m.c.hinted && m.c.onRead && ev.Decision.Reason == router.ReasonLevel {
		m.last.reason = router.ReasonHint
	}
	if m.c.redone > 0 {
		m.last.reason = router.ReasonRedo
	}
	switch {
	case m.c.looked && m.be == nil:
		m.last.reason = router.ReasonWrite
	case m.c.looked:
		m.last.reason = m.heldReason()
	}
	if ev.Decision.Stale {
		m.c.notice = &wire.Report{Severity: "WARNING", Code: sqlstate.FloorNotReached,
			Message: "pgroute: no replica has replayed the session's floor yet; this answer may be stale",
			Hint:    "pgroute.on_timeout is stale."}
		if ev.Decision.Role == router.RolePrimary {
			m.c.notice.Message = "pgroute: the primary does not show yet what was read on a replica; this answer may be stale"
		}
	}
	if m.home != nil && ev.Decision.Role == router.RolePrimary && !m.comeHome(out) {
		return
	}
	if m.be != nil { // a statement of a transaction that already runs there, or of a pinned client
		// The loop may not have heard yet that the primary has changed (I6).
		if ev.Decision.Node != m.be.Node || ev.Decision.Role == router.RolePrimary && m.be.Former(m.env.Router.Topology().Era()) {
			out.add(Destroy)
			m.be = nil
			m.lost(&wire.Report{Severity: "ERROR", Code: sqlstate.ConnectionFailure,
				Message: "the server of this session is not the primary any more"}, out)
			return
		}
		if m.mustLook() { // it has waited for a leader only
			m.awaitLook(out)
			return
		}
		m.align(ev.Data, out)
		return
	}
	m.phase = phaseLease
	out.add(Lease)
}

// leased goes on with a backend.
func (m *Machine) leased(ev *Event, out *Effects) {
	if m.phase != phaseLease {
		return
	}
	if m.tellFate(out) { // the primary has changed while the request waited
		out.add(Release)
		return
	}
	m.be = ev.Backend
	m.align(ev.Data, out)
}

// leaseFailed tries elsewhere or tells the client.
func (m *Machine) leaseFailed(ev *Event, out *Effects) {
	m.doneBudget()
	if ev.Again && (m.c.onRead || m.c.looked) && m.c.redone < maxRedo {
		m.doneBudget()
		m.c.redone++
		m.route(out)
		return
	}
	if !ev.Elsewhere && !ev.Again || !m.elsewhere(m.c.decision.Node, m.c.decision.Role, out) {
		m.reject(ev.Report, out)
	}
}

// elsewhere routes a read again, away from a replica that did not serve: to
// another one, in the end to the primary. It returns false if there is nowhere
// left to go.
func (m *Machine) elsewhere(n *router.Node, role router.Role, out *Effects) bool {
	if !m.c.onRead || role == router.RolePrimary {
		return false
	}
	m.exclude(n)
	m.doneBudget()
	m.c.redone++
	if m.c.redone > maxRedo {
		m.c.policy.Level = router.LevelPrimary
	}
	m.route(out)
	return true
}

// endsInError reports whether a statement ends its transaction also if it fails.
func endsInError(cl *class) bool {
	return !cl.mixed && (cl.tx == sqlclass.TxCommit || cl.tx == sqlclass.TxCommitChain || cl.tx == sqlclass.TxPrepare)
}

// reject ends the cycle with an error of our own before anything ran.
func (m *Machine) reject(r *wire.Report, out *Effects) {
	m.doneBudget()
	if r.Severity == "" {
		r.Severity = "ERROR"
	}
	ends := m.tx != 'I' && endsInError(&m.c.class) && !m.c.idle
	if ends && m.be != nil && m.pin != "" {
		m.fatal(r, out) // the transaction has to end, and what it is pinned to with it
		return
	}
	orphans := m.orphans(out)
	m.take(out)
	if m.c.stream > 0 {
		// The rest of a message that nobody will read: drop it as it comes.
		m.skip, m.c.stream = m.c.stream, 0
	}
	mark := len(out.arena)
	out.arena = wire.AppendReport(out.arena, r)
	status := byte('I')
	if orphans {
		status = 'E'
		m.orphaned(out)
	} else if m.txReplica || m.begin != nil || m.tx != 'I' && m.be == nil {
		status = 'E'
		m.failTransaction(out)
	} else if m.be != nil {
		status = m.be.Tx
		// An error of the server's own would have failed the transaction too:
		// whoever goes on as if there was none must not commit it.
		switch {
		case status == 'T' && m.pin == "" || ends:
			status = 'E'
			m.failTransaction(out)
		case status == 'T':
			status = 'E' // see rest
		}
	}
	if ends {
		status = 'I'
		m.endTransaction(true)
	}
	if m.c.open {
		// The client will send Sync later; until then everything is dropped.
		out.toClient(out.built(mark))
		m.c.open = false
		m.tx = status
		m.dropToSync()
	} else {
		out.arena = wire.AppendReady(out.arena, status)
		out.toClient(out.built(mark))
		m.tx = status
	}
	m.rest(out)
}
