package client

import (
	"bytes"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// controlLimit bounds the messages of a backend that we look into. A longer
// one is forwarded as it comes.
const controlLimit = 64 << 10

// maxRedo bounds how often one read is run again.
const maxRedo = 3

// backendBytes relays what the leased backend sent.
func (m *Machine) backendBytes(data []byte, out *Effects) {
	be := m.be
	if be == nil {
		out.BackendConsumed = len(data)
		return
	}
	i, from := 0, 0
	if be.Remain > 0 {
		i = min(be.Remain, len(data))
		be.Remain -= i
		if be.DropRemain {
			from = i
		}
	}
	if m.phase == phasePin {
		m.checked(data, from, i, out)
		return
	}
	if m.phase == phaseRun && m.c.held && !m.c.prefix && !m.c.redo {
		if !m.decide(data[i:], out) {
			return // not enough to know yet
		}
	}
	for m.be == be && i < len(data) {
		typ, total, ok := wire.Header(data[i:])
		if !ok {
			break
		}
		if total < wire.HeaderLen || total > 1<<30 {
			m.brokenBackend(data[from:i], out)
			out.BackendConsumed = len(data)
			return
		}
		if m.c.capture != sayNothing && (typ == 'V' || typ == 'Z' || typ == 'E') && total <= controlLimit {
			if i+total > len(data) {
				break
			}
			out.toClient(data[from:i])
			i += total
			m.captured(data[i-total:i], out)
			from = i
			continue
		}
		drop := m.c.redo || m.c.prefix || m.phase == phaseAlign || m.c.spoiled
		whole := i+total <= len(data)
		if typ == 'D' || typ == 'd' || typ == 'V' || !whole && total > controlLimit {
			if m.dueMade() && !drop {
				mark := len(out.arena)
				out.arena = m.made(out.arena, false)
				out.toClient(data[from:i])
				out.toClient(out.built(mark))
				from = i
			}
			n := min(total, len(data)-i)
			be.Remain, be.DropRemain = total-n, drop
			if drop {
				out.toClient(data[from:i])
				from = i + n
			}
			i += n
			continue
		}
		if !whole {
			break
		}
		frame := data[i : i+total]
		if typ == 'Z' && total == wire.HeaderLen+1 {
			if m.phase == phaseRun && m.c.stream > 0 && !drop {
				// A COPY has failed in the middle of a message. The backend has
				// to get the rest of it, or it would take it from somebody else.
				m.c.readyHeld = true
				break
			}
			i += total
			if m.c.spoiled {
				out.toClient(data[from : i-total])
				from = i - total
			}
			if drop && !m.c.spoiled {
				out.toClient(data[from : i-total])
				from = i
				m.droppedReady(frame[wire.HeaderLen], out)
				if m.phase == phaseAlign {
					break // what follows answers what was not sent yet
				}
			} else {
				from = m.ready(data, from, i, out)
				if m.phase == phasePin {
					break // so it is with the question that was just sent
				}
			}
			if m.phase == phaseRun && m.c.held && !m.c.prefix && m.be == be {
				// The BEGIN went through; what follows is the read's answer.
				if !m.decide(data[i:], out) {
					break
				}
			}
			continue
		}
		mark := len(out.arena)
		keep := m.control(typ, frame, drop, out)
		if len(out.arena) > mark {
			out.toClient(data[from:i])
			out.toClient(out.built(mark))
			from = i
		}
		if !keep {
			out.toClient(data[from:i])
			from = i + total
		}
		i += total
	}
	if from < i {
		out.toClient(data[from:i])
	}
	out.BackendConsumed = i
}

// ready handles the ReadyForQuery that ends at data[i] and returns from where
// the rest is still to be forwarded.
func (m *Machine) ready(data []byte, from, i int, out *Effects) int {
	const size = wire.HeaderLen + 1
	status := data[i-1]
	if m.home != nil && status != 'I' && m.phase == phaseRun {
		// A single read has begun a transaction: nobody knows what that server does.
		m.brokenBackend(data[from:i-size], out)
		return i
	}
	mark := len(out.arena)
	out.arena = m.made(out.arena, m.c.failed)
	if m.c.notice != nil {
		out.arena = wire.AppendReport(out.arena, m.c.notice)
		m.c.notice = nil
	}
	made := len(out.arena) > mark
	hold := m.settle(status)
	switch {
	case hold:
		out.toClient(data[from : i-size])
		out.toClient(out.built(mark))
		m.awaitReport(status, out)
	case m.c.apart:
		out.arena = wire.AppendReady(out.arena, m.tx)
		out.toClient(data[from : i-size])
		out.toClient(out.built(mark))
	case m.phase == phaseIdle && m.holdReady(status, out):
		out.toClient(data[from : i-size])
		out.toClient(out.built(mark))
		m.awaitHeard(out)
	case made:
		out.toClient(data[from : i-size])
		out.toClient(out.built(mark))
		out.toClient(data[i-size : i])
	default:
		out.toClient(data[from:i])
	}
	m.unlease(out)
	return i
}

// control handles a message of the backend other than rows and ReadyForQuery.
// It returns whether the message goes to the client as it is; what must go
// there before or instead of it is appended to the arena.
func (m *Machine) control(typ byte, frame []byte, drop bool, out *Effects) (keep bool) {
	body := frame[wire.HeaderLen:]
	switch typ {
	case 'S':
		if m.dueMade() && !drop {
			out.arena = m.made(out.arena, false)
		}
		return m.parameter(body) && !drop
	case 'N':
		if m.dueMade() && !drop {
			out.arena = m.made(out.arena, false)
		}
		return !m.c.redo && m.phase != phaseAlign
	case 'A':
		if m.doubly(body) {
			return false
		}
		m.chain.Notified()
		return true
	case 'E':
		return m.errorResponse(frame, body, drop, out)
	}
	if m.phase == phaseAlign || m.c.prefix {
		if m.c.result.asked != nil && (typ == 'T' || typ == 'n') {
			m.c.result.answer = m.resultType(typ, body)
		}
		return false
	}
	m.c.answered = true
	if m.c.notice != nil && !drop && typ != '1' && typ != '2' && typ != 't' {
		out.arena = wire.AppendReport(out.arena, m.c.notice)
		m.c.notice = nil
	}
	switch typ {
	case 'C':
		m.c.rollback = bytes.HasPrefix(body, []byte("ROLLBACK"))
		m.c.rows = m.c.rows || !m.c.onRead && m.be.Primary && changesRows(body, m.c.class.copyIn)
		if !drop && len(body) > 0 && (body[0] == 'D' || body[0] == 'P') {
			m.completed(body)
		}
	case 'G':
		m.c.copyIn = !drop
	}
	if m.c.simple {
		return !drop
	}
	out.arena = m.made(out.arena, drop)
	if (typ == 'T' || typ == 'n') && !drop {
		m.noteResult(typ, body)
	}
	hidden := m.reply(typ, drop)
	return !hidden && !drop
}

// parameter follows a ParameterStatus and reports whether the client should
// see it. A client always believes that it talks to a primary.
func (m *Machine) parameter(body []byte) bool {
	name, rest, ok := wire.CString(body)
	if !ok {
		return false
	}
	value, _, _ := wire.CString(rest)
	switch string(name) {
	case "in_hot_standby":
		if string(value) == "off" && !m.be.Primary {
			// It was promoted: whatever is asked of it from now on is asked
			// of another history.
			m.be.Node.KickReplay()
		}
		return false
	case "default_transaction_read_only":
		return m.be.Primary
	case "standard_conforming_strings":
		m.scsOff = string(value) == "off"
	}
	return true
}

// errorResponse handles an ErrorResponse.
func (m *Machine) errorResponse(frame, body []byte, drop bool, out *Effects) (keep bool) {
	fatal := string(wire.Field(body, 'V')) == "FATAL" || string(wire.Field(body, 'V')) == "PANIC"
	if m.phase == phaseAlign {
		m.c.alignErr = reportOf(body)
		if m.c.sql.aligning || m.c.result.asked != nil {
			m.c.alignErr.Position = string(wire.Field(body, 'P')) // in the client's text
		}
		return false
	}
	if m.c.prefix {
		m.c.alignErr = reportOf(body)
		return false
	}
	if fatal && !drop && m.phase == phaseRun {
		// The connection ends, the client's need not: BackendGone tells it. This
		// is no answer to what was sent.
		m.c.alignErr = reportOf(body)
		return false
	}
	if stalePlan(body) {
		// The text was prepared here before its tables changed, perhaps for
		// somebody else: whoever prepares it anew must not meet the old plan.
		m.be.Tainted = true
	}
	if m.c.queried && m.c.planAt < len(m.c.plan) {
		// It is about a message before the Query, which the server skips now
		// as everything else up to Sync.
		m.c.open = true
	}
	out.arena = m.made(out.arena, drop)
	about := m.failing()
	if stalePlan(body) && about != nil && about.stmt != nil {
		// As long as the backend is this client's, nobody cleans it.
		m.be.Outdate(about.stmt.id)
	}
	m.abandon()
	if drop {
		return false
	}
	if m.phase != phaseRun { // unsolicited: the backend will close
		m.c.alignErr = reportOf(body)
		return false
	}
	m.c.failed = true
	m.c.refused = m.unread(body)
	if m.c.copyIn {
		m.c.copyIn = false
		m.c.tail = !m.c.simple
	}
	if about != nil && about.stmt != nil {
		if about.op == opBind && string(wire.Field(body, 'R')) == "PortalSetResultFormat" {
			out.arena = appendStalePlan(out.arena)
			return false
		}
		if p := m.patched(frame, about); p != nil {
			out.arena = append(out.arena, p...)
			return false
		}
	}
	return true
}

// appendStalePlan appends the error that a prepared statement's result has
// changed its type. A client that binds more formats than there are columns
// counted the columns when it prepared the statement. The server that has
// prepared it since for us cannot know that and speaks of a violation of the
// protocol; one that had prepared it then would have said this, which drivers
// know to cure by preparing it anew.
func appendStalePlan(b []byte) []byte { return wire.AppendReport(b, stalePlanReport()) }

// patched returns the error with the backend's statement name replaced by the
// client's, nil if the error is not about a name.
func (m *Machine) patched(frame []byte, about *planned) []byte {
	code := string(wire.Field(frame[wire.HeaderLen:], 'C'))
	if code != sqlstate.InvalidStatementName && code != sqlstate.DuplicatePreparedStatement {
		return nil
	}
	name := about.name
	if name == "" {
		name, _ = m.names.nameOf(about.stmt)
	}
	b := bytes.ReplaceAll(frame, []byte(`"`+string(about.stmt.name)+`"`), []byte(`"`+name+`"`))
	wire.Lengthen(b, len(b)-len(frame))
	return b
}

// reportOf copies an ErrorResponse as an error of ours.
func reportOf(body []byte) *wire.Report {
	return &wire.Report{
		Severity: "ERROR", Code: string(wire.Field(body, 'C')), Message: string(wire.Field(body, 'M')),
		Detail: string(wire.Field(body, 'D')), Hint: string(wire.Field(body, 'H')),
	}
}

// decide looks ahead in the answer to a read that may be run again: it is, if
// the answer begins with an error that allows it and nothing was forwarded
// (I5). It returns false if more of the answer is needed to know.
func (m *Machine) decide(data []byte, out *Effects) bool {
	for i := 0; ; {
		typ, total, ok := wire.Header(data[i:])
		if ok && total < wire.HeaderLen {
			return true // backendBytes deals with it
		}
		if !ok || i+total > len(data) {
			known := ok && bytes.IndexByte([]byte("SNA123tTnE"), typ) < 0
			if !known && len(data) < controlLimit {
				return false
			}
			m.begun(out)
			return true
		}
		switch typ {
		case 'S', 'N', 'A', '1', '2', '3', 't', 'T', 'n':
			i += total
			continue
		case 'E':
			if m.mayRedo(data[i+wire.HeaderLen : i+total]) {
				m.c.redo = true
				return true
			}
		}
		m.begun(out)
		return true
	}
}

// begun says that the answer goes to the client: the request is not needed
// any more.
func (m *Machine) begun(out *Effects) {
	m.c.held = false
	m.take(out)
}

// mayRedo judges an error that a server gave instead of an answer.
func (m *Machine) mayRedo(body []byte) bool {
	if m.c.redone >= maxRedo {
		return false
	}
	code := string(wire.Field(body, 'C'))
	kind := redoKind(code, wire.Field(body, 'M'))
	switch {
	case m.be.Primary:
		if code != sqlstate.AdminShutdown && code != sqlstate.CrashShutdown {
			kind = redoNever // what else it says is its answer
		}
	case stalePlan(body):
		kind = redoElsewhere
	}
	switch kind {
	case redoElsewhere:
		m.c.toPrimary = false
	case redoPrimary:
		m.c.toPrimary = true
	case redoMisjudged:
		if m.begin != nil || m.c.class.tx == beginReadOnly {
			return false // the client itself said READ ONLY
		}
		m.c.toPrimary = true
		m.misjudged()
	default:
		return false
	}
	m.env.Stats.Redone(code)
	return true
}

// stalePlan reports whether an error says that a prepared statement's result
// has changed its type.
func stalePlan(body []byte) bool {
	return string(wire.Field(body, 'R')) == "RevalidateCachedQuery"
}

type redoClass uint8

const (
	redoNever     redoClass = iota
	redoElsewhere           // another replica may do better
	redoPrimary             // not replayed yet: the primary knows
	redoMisjudged           // not a read after all
)

// redoKind sorts the SQLSTATEs of invariant I5.
func redoKind(code string, message []byte) redoClass {
	switch code {
	case sqlstate.SerializationFailure, sqlstate.DeadlockDetected, sqlstate.AdminShutdown, sqlstate.CrashShutdown,
		sqlstate.CannotConnectNow, sqlstate.DatabaseDropped, sqlstate.TooManyConnections, sqlstate.UndefinedFile:
		return redoElsewhere
	case sqlstate.UndefinedTable, sqlstate.UndefinedColumn, sqlstate.UndefinedFunction, sqlstate.InvalidSchemaName,
		sqlstate.UndefinedObject:
		return redoPrimary
	case sqlstate.ReadOnlySQLTransaction, sqlstate.FeatureNotSupported, sqlstate.ObjectNotInPrerequisiteState:
		return redoMisjudged
	case sqlstate.InternalError:
		if bytes.Contains(message, []byte("during recovery")) {
			return redoMisjudged
		}
	}
	return redoNever
}

// droppedReady handles the ReadyForQuery of an answer that the client does not
// see.
func (m *Machine) droppedReady(status byte, out *Effects) {
	m.be.Tx = status
	switch {
	case m.phase == phaseAlign:
		m.aligned(out)
	case m.c.prefix:
		m.c.prefix = false
		if m.c.alignErr != nil && !mutantUnguardedAlign() {
			r := m.c.alignErr
			m.c.alignErr = nil
			if m.pin != "" {
				return // the answer to the request itself follows, and the client needs its backend
			}
			m.abandon()
			out.add(Destroy)
			m.be = nil
			m.reject(r, out)
		}
	case m.c.redo:
		m.again(out)
	}
}

// again gives the backend up and routes the read once more.
func (m *Machine) again(out *Effects) {
	m.c.redo = false
	if m.be != nil {
		node := m.be.Node
		if m.be.Tx == 'I' && !m.be.Tainted {
			out.add(Release)
		} else {
			out.add(Destroy)
		}
		m.be = nil
		m.exclude(node)
	}
	m.rerun(out)
}

// rerun routes the request once more.
func (m *Machine) rerun(out *Effects) {
	m.doneBudget()
	m.c.redone++
	if m.c.unnamedAt != unnamedKept {
		// The group begins with the unnamed statement that there was before it.
		m.unnamed, m.older = m.older, m.unnamed
		m.c.unnamedAt = unnamedKept
	}
	if m.c.toPrimary {
		m.c.policy.Level = router.LevelPrimary
	}
	m.route(out)
}

// brokenBackend gives up a backend that does not speak the protocol.
func (m *Machine) brokenBackend(rest []byte, out *Effects) {
	out.toClient(rest)
	out.add(Destroy)
	m.saw(m.be)
	m.be = nil
	m.lost(&wire.Report{Severity: "ERROR", Code: sqlstate.ProtocolViolation,
		Message: "the server sent bytes that are not the protocol"}, out)
}

// misjudged remembers that the text that was classified as a read is none: it
// runs again as a write.
func (m *Machine) misjudged() {
	e := m.env
	m.c.onRead = false
	m.c.class.access, m.c.class.harmless = sqlclass.AccessWrite, false
	if m.c.more {
		return // nobody knows which of them it was
	}
	if m.c.stmt != nil {
		m.c.stmt.class.access, m.c.stmt.class.harmless = sqlclass.AccessWrite, false
	}
	if m.c.hash == 0 {
		return
	}
	if len(e.misses) >= maxMisses {
		clear(e.misses)
	}
	e.misses[m.c.hash] = struct{}{}
}
