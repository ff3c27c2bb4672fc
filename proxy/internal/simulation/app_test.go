package simulation

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// write is one write that a client wants.
type write struct {
	by      string
	on      *server // where it ran last
	ran     int     // how often it ran
	refused bool    // the client was told that it did not happen
}

// share is what the clients of one session have in common.
type share struct {
	session *router.Session
	acked   set
}

// app is one client of the application: it sends one statement at a time, and
// remembers what it was promised.
type app struct {
	w     *world
	i     int
	name  string
	lives int
	peer  *peer
	share *share
	queue []stmt
	cur   *stmt
	in    []byte

	tx        byte
	txLevel   router.Level
	txWrites  set
	txMust    demand // what the snapshot of a REPEATABLE READ must show
	txSnap    bool
	repeats   bool
	readOnly  bool
	acked     set
	seen      set
	unproven  set // of seen: the primary was read although nobody had told whether it shows it
	connected set

	// last is what the last acknowledged commit wrote, as far as nobody has said
	// yet that it is lost; lastEra the era of the connection where it ran.
	last     set
	hasLast  bool
	lastEra  uint64
	lastTurn int
	verdict  router.Verdict
	final    int // statements of the end that have succeeded
}

// stmt is one statement that is on its way.
type stmt struct {
	kind   op
	level  router.Level
	hinted bool
	text   string
	id     int // of a write or a token
	last   bool

	sent   time.Duration
	must   demand
	answer *answer
	tag    string
	code   string
	told   string
	route  string
}

// demand is what a read has to show.
type demand struct {
	own    set // acknowledged to the client or to its session
	others set // acknowledged to anyone: when the client came, or before the read
	seen   set // seen by this client before
}

// enter makes the client a new client of the proxy.
func (a *app) enter() {
	w := a.w
	if a.peer != nil {
		w.loop.gone(a.peer)
	}
	a.peer = &peer{w: w, l: w.loop, app: a}
	a.lives++
	a.name = fmt.Sprintf("c%d", a.i+1)
	if a.lives > 1 {
		a.name = fmt.Sprintf("c%d'%d", a.i+1, a.lives)
	}
	a.cur, a.in, a.tx = nil, nil, 'I'
	a.acked, a.seen, a.unproven, a.last, a.hasLast, a.txWrites, a.repeats, a.readOnly, a.txSnap = set{}, set{}, set{}, set{}, false, set{}, false, false, false
	a.connected = w.acked.without(w.exempt)
	p := client.Policy{Wait: w.plan.wait, MaxStaleness: w.plan.staleness, Scope: w.plan.scope, OnTimeout: w.plan.onTimeout,
		LostWritesFail: w.plan.lostFail, UntilWrite: w.plan.untilWrite}
	a.peer.m.Init(w.loop.env, w.db, a.share.session, w.loop.env.Settings.Empty(), p)
	if w.plan.untilWrite {
		a.peer.m.Reported(client.DefaultIsolation, "read committed")
	}
	w.tracef(a.name, "connects, and is to see %s", a.connected)
	a.next()
}

// closed says that the proxy has ended the connection.
func (a *app) closed() {
	a.w.tracef(a.name, "is disconnected")
	a.w.cover.disconnects++
	a.w.after(100*time.Microsecond, func() {
		if a.peer.closed {
			a.enter()
		}
	})
}

// want queues a statement.
func (a *app) want(s stmt) {
	a.queue = append(a.queue, s)
	a.next()
}

// next sends the next statement.
func (a *app) next() {
	if a.cur != nil || len(a.queue) == 0 || a.peer.closed {
		return
	}
	s := a.queue[0]
	a.queue = a.queue[1:]
	if begins := s.kind == opBegin || s.kind == opBeginRead || s.kind == opBeginRepeatable; begins && a.tx != 'I' {
		a.next() // the transactions of two events have met
		return
	}
	w := a.w
	if s.kind == opGive || s.kind == opTake {
		if a.tx != 'I' || s.kind == opTake && w.tokens[s.id].text == "" {
			a.next()
			return
		}
		if s.kind == opTake {
			s.text += "'" + w.tokens[s.id].text + "'"
		}
	}
	a.cur = &s
	s.sent = w.now
	s.must = a.must(a.levelOf(&s))
	if a.repeats && a.txSnap {
		s.must = a.txMust
	}
	if s.kind == opRead && a.repeats && !a.txSnap {
		a.txMust, a.txSnap = s.must, true
	}
	text := s.text
	if s.kind == opRead {
		text = "select v from t"
	}
	if s.hinted {
		text = "/* pgroute: " + s.level.String() + " */ " + text
	}
	switch s.kind {
	case opBegin, opBeginRead, opBeginRepeatable:
		if a.tx == 'I' {
			a.txLevel = s.level
			a.repeats = s.kind == opBeginRepeatable
			a.readOnly = s.kind != opBegin
			a.txSnap = false
		}
	}
	w.tracef(a.name, "says %s", text)
	w.loop.clientSays(a.peer, wire.AppendQuery(nil, text))
}

// levelOf is the level of a statement: what its comment says, or else that of
// its transaction.
func (a *app) levelOf(s *stmt) router.Level {
	if a.tx != 'I' && !s.hinted {
		return a.txLevel
	}
	return s.level
}

// must is what a read of a level that is sent now has to show.
func (a *app) must(level router.Level) demand {
	w := a.w
	switch level {
	case router.LevelEventual:
		return demand{}
	case router.LevelBounded:
		return demand{others: w.ackedBefore(w.now - w.plan.staleness - time.Millisecond).without(w.exempt)}
	}
	d := demand{own: a.acked, others: a.connected, seen: a.seen}
	if w.plan.scope == router.ScopeApplication {
		d.own.join(a.share.acked)
	}
	if level == router.LevelStrong || level == router.LevelPrimary {
		d.others.join(w.acked.without(w.exempt))
	}
	return d
}

// hear takes what the proxy tells the client.
func (a *app) hear(data []byte) {
	a.in = append(a.in, data...)
	for {
		typ, total, ok := wire.Header(a.in)
		if !ok || total > len(a.in) {
			return
		}
		body := a.in[wire.HeaderLen:total]
		a.in = a.in[total:]
		s := a.cur
		if s == nil {
			if typ != 'S' && typ != 'N' {
				a.w.failf("%s hears %c, and has not asked", a.name, typ)
				return
			}
			continue
		}
		switch typ {
		case 'D':
			a.row(s, body)
		case 'C':
			tag, _, _ := wire.CString(body)
			s.tag = string(tag)
		case 'N', 'E':
			code := string(wire.Field(body, 'C'))
			if code == sqlstate.WriteLost || code == sqlstate.WriteMayBeLost {
				a.told(s, code)
			}
			if typ == 'E' {
				s.code = code
				s.route = string(wire.Field(body, 'M'))
			}
		case 'Z':
			a.finish(s, body[0])
		}
	}
}

func (a *app) row(s *stmt, body []byte) {
	if s.kind == opGive {
		a.given(s, string(body[6:]))
		return
	}
	n, err := strconv.Atoi(string(body[6:]))
	if err != nil || s.kind != opRead || s.answer != nil {
		a.w.failf("%s gets a row that it did not ask for", a.name)
		return
	}
	s.answer = &a.w.answers[n]
}

// finish takes the end of the statement.
func (a *app) finish(s *stmt, status byte) {
	w := a.w
	was := a.tx
	a.cur, a.tx = nil, status
	defer func() { a.verdict = router.Verdict{} }()
	took := w.now - s.sent
	w.cover.statements++
	if took > w.longest {
		w.longest = took
	}
	if took > w.bound() {
		w.failf("%s waited for %s", a.name, took)
	}
	switch {
	case s.code != "":
		w.tracef(a.name, "hears %s: %s", s.code, s.route)
		w.cover.errors[s.code]++
	case s.answer != nil:
		w.tracef(a.name, "reads %s from %s", s.answer.visible, s.answer.s.name)
	default:
		w.tracef(a.name, "hears %s", s.tag)
	}
	switch s.kind {
	case opRead:
		a.finishRead(s, status)
	case opWrite:
		a.finishWrite(s, was)
	case opTake:
		a.taken(s)
	}
	if was != 'I' && status == 'I' || s.kind == opCommit || s.kind == opRollback {
		a.endTransaction(s)
	}
	if status != 'I' && was == 'I' && s.code != "" {
		w.failf("%s: a statement that failed began a transaction", a.name)
	}
	if s.last && s.code == "" {
		a.final++
	}
	w.after(time.Duration(10_000+w.dice.n(50_000)), a.next)
}

func (a *app) finishRead(s *stmt, status byte) {
	if s.code != "" {
		return
	}
	if s.answer == nil {
		a.w.failf("%s reads, and gets no answer", a.name)
		return
	}
	a.w.judge(a, s)
	a.seen.join(s.answer.visible)
}

// finishWrite learns what became of a write outside of transactions.
func (a *app) finishWrite(s *stmt, was byte) {
	x := &a.w.writes[s.id]
	switch {
	case s.code == "" && was == 'I' && a.tx == 'I':
		if s.tag != "INSERT 0 1" {
			a.w.failf("%s writes w%d and hears %q", a.name, s.id, s.tag)
		}
		var w set
		w.add(s.id)
		a.acknowledged(w)
	case s.code == "":
		a.txWrites.add(s.id)
	case s.code == sqlstate.ConnectionFailure, s.code == sqlstate.TransactionResolutionUnknown:
		// It may have happened.
	case s.code == sqlstate.QueryCanceled && x.ran > 0:
		a.w.failf("%s: w%d was cancelled, and ran", a.name, s.id)
	default:
		x.refused = true
	}
}

// endTransaction learns what became of the writes of a transaction.
func (a *app) endTransaction(s *stmt) {
	switch {
	case s.kind == opCommit && s.code == "" && s.tag == "COMMIT":
		if !a.txWrites.empty() {
			a.acknowledged(a.txWrites)
		}
	case s.kind == opCommit && (s.code == sqlstate.TransactionResolutionUnknown || s.code == sqlstate.ConnectionFailure):
	default:
		a.txWrites.each(func(id int) { a.w.writes[id].refused = true })
	}
	a.txWrites = set{}
	a.repeats, a.readOnly, a.txSnap = false, false, false
}

// acknowledged notes that the client knows that its writes are committed.
func (a *app) acknowledged(writes set) {
	w := a.w
	era, on := w.r.Topology().Era(), w.legit
	if s := a.peer.lease; s != nil {
		era, on = s.Era, s.conn.s
	} else if a.verdict.Outcome == router.OutcomeCommitted {
		era, on = a.verdict.Era, w.asked.s
	}
	if era != a.lastEra && on == w.legit {
		a.untold()
	}
	a.acked.join(writes)
	a.share.acked.join(writes)
	a.last, a.hasLast, a.lastEra, a.lastTurn = writes, true, era, w.turnovers
	w.acknowledge(writes)
	writes.each(func(id int) {
		if w.writes[id].ran == 0 {
			w.failf("%s: w%d is acknowledged, and never ran", a.name, id)
		}
	})
}

// lost reports whether the client's last acknowledged write is lost.
func (a *app) lost() bool {
	return a.hasLast && !a.last.without(a.w.legit.logged).empty()
}

// untold complains if the client should have been told by now.
func (a *app) untold() {
	w := a.w
	if !a.lost() {
		return
	}
	if uint64(w.turnovers-a.lastTurn) > w.r.Topology().Era()-a.lastEra {
		// A life of the primary came and went, and no monitor has seen it: what it
		// wrote lies where the lost write was, and nobody can tell.
		w.cover.unseen++
		return
	}
	if a.lost() {
		a.w.failf("%s was never told that %s is lost", a.name, a.last.without(a.w.legit.logged))
	}
}

// told takes the news that the last acknowledged write is lost, or may be.
func (a *app) told(s *stmt, code string) {
	w := a.w
	w.tracef(a.name, "is told %s", code)
	switch {
	case s.told != "":
		w.failf("%s is told twice with one statement: %s, %s", a.name, s.told, code)
	case !a.hasLast:
		w.failf("%s is told %s, and has nothing to lose", a.name, code)
	case code == sqlstate.WriteLost && !a.lost():
		w.failf("%s is told that %s is lost, and it is there", a.name, a.last)
	}
	s.told = code
	if code == sqlstate.WriteLost {
		w.cover.lostTold++
	} else if a.lost() {
		w.cover.maybeLost++
	} else {
		w.cover.maybeKept++
	}
	a.last, a.hasLast = set{}, false
}

// String is for the report of a client that does not come to an end.
func (a *app) String() string {
	if a.cur == nil {
		return a.name + " is idle"
	}
	return fmt.Sprintf("%s waits since %s for %s", a.name, stamp(a.cur.sent), strings.TrimSpace(a.cur.kind.String()+" "+a.cur.text))
}
