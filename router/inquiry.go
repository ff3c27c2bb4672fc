package router

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

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

// postpone lets the inquiries that were not asked yet go before q.
func (o *inquirer) postpone(q *Inquiry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := slices.Index(o.open, q); i >= 0 && len(o.open) > maxInquiry {
		o.open = append(slices.Delete(o.open, i, i+1), q)
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
			o.postpone(q)
			continue
		}
		o.remove(q)
		q.answer(v)
	}
	return pending, nil
}
