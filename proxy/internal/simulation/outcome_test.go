package simulation

import (
	"testing"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/router"
)

// TestLoneCommitIsResolved: nobody else has the primary asked for anything. Its
// record is flushed and replicated, and its answer is lost with the primary.
func TestLoneCommitIsResolved(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	for s := range uint64(40) {
		p := plan{seed: s + 1, clients: 1, shares: 1, wait: ms(15), staleness: ms(20), budget: 2, events: []event{
			{op: opStall, who: 0, d: ms(50), at: ms(103)}, {op: opBegin, at: ms(107)}, {op: opWrite, id: 0, at: ms(109)}, {op: opCommit, at: ms(111)},
			{op: opKill, who: 0, at: ms(116)}, {op: opPromote, who: 1, at: ms(130)},
		}}
		res := play(t, &p, false)
		if res.failure != "" {
			t.Fatalf("seed %d: %s", p.seed, report(&p, res))
		}
		if c := res.cover.commits; c[router.OutcomeCommitted] != 1 || c[router.OutcomeUnknown] != 0 {
			t.Errorf("seed %d: COMMITs without an answer: %v", p.seed, c)
		}
	}
}

// inquire asks what became of a COMMIT.
func (l *loop) inquire(c *peer) {
	c.seq++
	c.inquiry = l.w.r.Inquire(c.m.Commit(), c.seq, c)
	c.wait = waitOutcome
	l.w.tracef("proxy", "asks for %s what became of transaction %d, which was at %s in era %d", c.app.name, c.m.Commit().XID, c.m.Commit().Position, c.m.Commit().Era)
	l.arm(c, l.now().Add(primaryWait))
}

// inquired goes on with the verdict.
func (l *loop) inquired(c *peer) {
	v, ok := c.inquiry.Verdict()
	if !ok {
		v.Reason = "nobody has said what became of it"
		l.w.r.Withdraw(c.inquiry)
	}
	c.inquiry = nil
	l.resolved(c, v)
}

// inquiryDue gives up waiting for the verdict.
func (l *loop) inquiryDue(c *peer) {
	q := c.inquiry
	l.withdraw(c)
	c.wait = waitNothing
	c.seq++
	v, ok := q.Verdict()
	if !ok {
		v = router.Verdict{Reason: "There was no primary in time that could be asked."}
	}
	l.resolved(c, v)
}

func (l *loop) withdraw(c *peer) {
	l.w.r.Withdraw(c.inquiry)
	c.inquiry = nil
}

func (l *loop) resolved(c *peer, v router.Verdict) {
	l.w.checkVerdict(c, &v)
	c.app.verdict = v
	l.step(c, client.Event{Kind: client.Resolved, Verdict: v})
	l.settled(c)
}

// checkVerdict compares a verdict with what the server that was asked had.
func (w *world) checkVerdict(c *peer, v *router.Verdict) {
	a := c.app
	there := a.txWrites.and(w.asked.logged)
	switch v.Outcome {
	case router.OutcomeUnknown:
		w.tracef("proxy", "does not know what became of the COMMIT of %s: %s", a.name, v.Reason)
	case router.OutcomeCommitted:
		w.tracef("proxy", "has heard from %s that the COMMIT of %s took effect", w.asked.s.name, a.name)
		if there != a.txWrites {
			w.failf("%s is told that it has committed %s, of which %s, which was asked, has %s", a.name, a.txWrites, w.asked.s.name, there)
		}
	case router.OutcomeAborted:
		w.tracef("proxy", "has heard from %s that the COMMIT of %s took no effect", w.asked.s.name, a.name)
		if !there.empty() {
			w.failf("%s is told that it has not committed %s, of which %s, which was asked, has %s", a.name, a.txWrites, w.asked.s.name, there)
		}
	}
}
