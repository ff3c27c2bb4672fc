package router

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pgroute/pgroute/lsn"
)

// Commit is a COMMIT whose answer may be lost: what has to be known of it before
// it is sent, so that it can be found out afterwards what became of it.
type Commit struct {
	// Era is that of the primary to which it is sent.
	Era uint64
	// XID is the transaction's number, 0 if it has none.
	XID uint64
	// Position is the primary's insert position between the last statement of
	// the transaction and its COMMIT, as the server says it: whatever the
	// transaction wrote lies before it, the record of its end behind it.
	Position lsn.LSN
}

// Outcome is what became of a transaction.
type Outcome uint8

const (
	// OutcomeUnknown: it was committed or not, and nobody can say which.
	OutcomeUnknown Outcome = iota
	// OutcomeCommitted: it was committed, and is part of the history of the
	// primary that was asked.
	OutcomeCommitted
	// OutcomeAborted: nothing of it is there, nor will it ever be.
	OutcomeAborted
	// OutcomeNotAsked: as OutcomeUnknown; its number was not known, so nobody
	// was asked.
	OutcomeNotAsked

	// NumOutcomes is how many there are.
	NumOutcomes = iota
)

// String returns unknown, committed, aborted or not_asked.
func (o Outcome) String() string {
	return nameOf([]string{"unknown", "committed", "aborted", "not_asked"}, int(o))
}

// Verdict answers an Inquiry.
type Verdict struct {
	Outcome Outcome
	// Era is that of the primary that said so.
	Era uint64
	// Reason says in words why the outcome is not known.
	Reason string
}

// XactState is what a primary says of a transaction's number.
type XactState uint8

// The states, as pg_xact_status names them. XactForgotten is its NULL: the
// transaction is too old.
const (
	XactForgotten XactState = iota
	XactInProgress
	XactCommitted
	XactAborted
)

// An OutcomeProbe is a Probe that can be asked what became of transactions. The
// outcome of a COMMIT is unknown if the router's probes are none.
type OutcomeProbe interface {
	Probe
	// Outcomes asks a primary, and returns a state for each number. One that it
	// has not given to anybody yet is in progress.
	Outcomes(ctx context.Context, xids []uint64) ([]XactState, error)
}

// Inquiry is a question for the outcome of a COMMIT, made by Router.Inquire.
type Inquiry struct {
	commit Commit
	seq    uint64
	w      Waiter

	mu       sync.Mutex // guards the fields below
	verdict  Verdict
	answered bool
}

// Verdict returns the answer, and false as long as there is none.
func (q *Inquiry) Verdict() (Verdict, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.verdict, q.answered
}

// answer sets the verdict and wakes who waits for it.
func (q *Inquiry) answer(v Verdict) {
	q.mu.Lock()
	q.verdict, q.answered = v, true
	q.mu.Unlock()
	q.w.Wake(q.seq, nil)
}

// inquirer asks the primary for the outcome of COMMITs: those that wait
// together are asked for together, on a connection of its own.
type inquirer struct {
	r    *Router
	wake chan struct{}

	mu   sync.Mutex // guards the field below
	open []*Inquiry
}

const (
	// inquiryPace is how long a transaction that has not ended is left alone.
	inquiryPace = 20 * time.Millisecond
	// inquiryIdle is how long the connection is kept for the next question.
	inquiryIdle = time.Second
	// maxInquiry is how many are asked for at once.
	maxInquiry = 256
)

var errCannotAsk = errors.New("the server cannot be asked for the outcome of a transaction")

// Inquire asks for the outcome of c, whose connection has ended: the primary, or
// the one that comes next. w is woken with seq once the answer is there, at most
// once. That may never be: whoever gives up calls Withdraw.
func (r *Router) Inquire(c Commit, seq uint64, w Waiter) *Inquiry {
	q := &Inquiry{commit: c, seq: seq, w: w}
	o := &r.inquirer
	o.mu.Lock()
	o.open = append(o.open, q)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return q
}

// Withdraw gives an inquiry up.
func (r *Router) Withdraw(q *Inquiry) { r.inquirer.remove(q) }

// Resolve is Inquire and waiting for the answer until ctx ends.
func (r *Router) Resolve(ctx context.Context, c Commit) Verdict {
	w := make(inquiryWaiter, 1)
	q := r.Inquire(c, 0, w)
	select {
	case <-w:
	case <-ctx.Done():
		r.Withdraw(q)
	}
	if v, ok := q.Verdict(); ok {
		return v
	}
	return Verdict{Reason: "nobody could be asked in time: " + context.Cause(ctx).Error()}
}

type inquiryWaiter chan struct{}

func (w inquiryWaiter) Wake(uint64, error) { w <- struct{}{} }

func (o *inquirer) remove(q *Inquiry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := slices.Index(o.open, q); i >= 0 {
		o.open = slices.Delete(o.open, i, i+1)
	}
}

// some returns inquiries without an answer, maxInquiry at most.
func (o *inquirer) some() []*Inquiry {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.open[:min(len(o.open), maxInquiry)])
}

// run asks whichever server is proven to be the primary until ctx is done.
func (o *inquirer) run(ctx context.Context) {
	retry := backoff{}
	for ctx.Err() == nil {
		if len(o.some()) == 0 {
			select {
			case <-o.wake:
			case <-ctx.Done():
			}
			continue
		}
		t := o.r.topo.Load()
		if t.Primary == nil || !t.Leads(time.Now()) {
			sleep(ctx, backoffMost, t.changed)
			continue
		}
		if err := o.serve(ctx, t.era); err != nil && ctx.Err() == nil {
			o.r.log.Debug("asking for the outcome of a COMMIT ended", "node", t.era.node.Name, "error", err)
			t.era.node.KickIdentify()
			retry.wait(ctx, t.changed)
			continue
		}
		retry = backoff{}
	}
}

// serve asks the primary of e until nobody wants to know anything.
func (o *inquirer) serve(ctx context.Context, e *era) error {
	limit := newGuard(ctx, o.r.cfg.ProbeTimeout)
	defer limit.end()
	probe, err := o.r.connectPrimary(limit, e)
	if err != nil {
		return err
	}
	defer probe.Close()
	asks, ok := probe.(OutcomeProbe)
	if !ok {
		for _, q := range o.some() {
			o.remove(q)
			q.answer(Verdict{Era: e.n, Reason: errCannotAsk.Error()})
		}
		return errCannotAsk
	}
	for {
		list := o.some()
		if len(list) == 0 {
			sleep(ctx, inquiryIdle, o.wake)
			if len(o.some()) == 0 {
				return nil
			}
			continue
		}
		pending, err := o.ask(limit, e, asks, list)
		if err != nil {
			return err
		}
		if pending {
			sleep(ctx, inquiryPace, nil)
		}
	}
}

// ask asks one question and answers whom it concerns. pending says that a
// transaction has not ended.
func (o *inquirer) ask(limit *guard, e *era, probe OutcomeProbe, list []*Inquiry) (pending bool, err error) {
	xids := make([]uint64, len(list))
	for i, q := range list {
		xids[i] = q.commit.XID
	}
	limit.arm()
	states, err := probe.Outcomes(limit.ctx, xids)
	limit.disarm()
	if err == nil && len(states) != len(xids) {
		err = fmt.Errorf("%d answers to %d questions", len(states), len(xids))
	}
	if err != nil {
		return false, fmt.Errorf("ask %s for the outcome of transactions: %w", e.node.Name, err)
	}
	// It has to have led all the time, or it speaks of a history that nobody
	// will know tomorrow.
	t := o.r.topo.Load()
	if t.era != e || t.Primary == nil || !t.Leads(time.Now()) {
		return false, errEraChanged
	}
	for i, q := range list {
		v, known := t.outcome(&q.commit, states[i])
		if !known {
			pending = true
			continue
		}
		o.remove(q)
		q.answer(v)
	}
	return pending, nil
}

// outcome judges what the primary of t's era says of c's number. It is false
// while the transaction has not ended.
//
// A server that takes over gives numbers out again that it has not heard of: the
// number counts only if the history that it goes on with contains the position
// that was asked for before the COMMIT, and with it what the transaction wrote
// under that number.
func (t *Topology) outcome(c *Commit, state XactState) (Verdict, bool) {
	v := Verdict{Era: t.era.n}
	ours, why := true, ""
	for n := c.Era + 1; n <= t.era.n && !mutantNoReuseGuard(); n++ {
		e := t.remembered(n)
		switch {
		case e == nil:
			ours, why = false, "the primary has changed too often since"
			continue
		case e.from.gone <= c.Position:
			// The record of the COMMIT lay behind that.
			v.Outcome = OutcomeAborted
			return v, true
		case !e.from.same() && e.nextXID != 0 && c.XID >= e.nextXID:
			// When the server took over it knew of the end of no transaction
			// with such a number, so it did not know of this COMMIT.
			v.Outcome = OutcomeAborted
			return v, true
		case e.from.kept < c.Position:
			ours, why = false, "it is not known how much of its history the primary has kept"
		}
	}
	switch {
	case !ours:
		v.Reason = why
	case state == XactInProgress:
		return v, false
	case state == XactCommitted:
		v.Outcome = OutcomeCommitted
	case state == XactAborted:
		v.Outcome = OutcomeAborted
	default:
		v.Reason = "the server does not remember the transaction"
	}
	return v, true
}

// remembered returns the era with a number, nil if it is not known any more.
func (t *Topology) remembered(n uint64) *era {
	for _, e := range t.eras {
		if e.n == n {
			return e
		}
	}
	return nil
}

// Resolved notes what became of a COMMIT whose answer was lost, before the
// client is told. If it was committed, Acknowledged speaks of it from now on.
func (c *Chain) Resolved(k *Commit, v *Verdict) {
	c.r.stats.commits[v.Outcome].Add(1)
	if v.Outcome == OutcomeCommitted {
		c.sent = bracket{era: v.Era, low: k.Position}
	}
}
