package router

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// sights finds out whether the primary shows what clients saw on replicas. It
// works only while somebody who read on a replica waits to read on the
// primary: it takes the primary's snapshots on a connection of its own, and
// lets the monitors of the replicas send the looks.
type sights struct {
	r    *Router
	wake chan struct{}
	// able is true once a monitor's probe was a Witness.
	able atomic.Bool
	// alone are looks at the primary alone, for what was read on a replica
	// that can not be asked any more: one has passed when every transaction
	// that had begun when it was sent has ended, or was not committing at a
	// moment since then.
	alone looks
	// tally asks which of the running transactions are committing, and counts
	// which of them wait for a standby.
	tally tally

	mu     sync.Mutex // guards the field below
	cancel func(*era) // ends the connection if it is for another era
}

// What there is to do in one turn of sights.
const (
	sightsRest    = iota // nobody waits
	sightsAnswer         // a replica's answer is waited for
	sightsPending        // transactions are waited for
	sightsBegin          // a look is to begin
)

var errNoWitness = errors.New("the connection to the primary cannot tell what it hides")

// rouse makes the goroutine look what there is to do.
func (s *sights) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// interrupt makes the goroutine leave a primary that is not that of e.
func (s *sights) interrupt(e *era) {
	s.mu.Lock()
	cancel := s.cancel
	s.mu.Unlock()
	if cancel != nil {
		cancel(e)
	}
}

// run serves who waits until ctx is done.
func (s *sights) run(ctx context.Context) {
	retry := backoff{}
	for ctx.Err() == nil {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		t := s.r.topo.Load()
		if t.era.n == 0 || s.due(t) == sightsRest {
			continue
		}
		err := s.serve(ctx, t.era)
		if err != nil && ctx.Err() == nil && s.r.topo.Load().era == t.era {
			s.r.log.Debug("looking at the primary ended", "node", t.era.node.Name, "error", err)
			retry.wait(ctx, t.changed)
		} else {
			retry = backoff{}
		}
		s.rouse() // somebody may still wait
	}
}

// due says what there is to do.
func (s *sights) due(t *Topology) int {
	todo := sightsRest
	for _, n := range t.Nodes {
		if n.okEra.Load() == t.era.n {
			todo = max(todo, n.looks.due(n.conn.Load()))
		}
	}
	return max(todo, s.alone.due(0))
}

// due says what there is to do for one replica, whose monitor's connection is
// conn.
func (l *looks) due(conn uint64) int {
	if l.now != nil && l.now.conn != conn {
		l.drop()
	}
	switch {
	case l.waiters.empty():
		return sightsRest
	case l.now == nil:
		return sightsBegin
	case !l.now.done.Load():
		return sightsAnswer
	}
	return sightsPending
}

// serve works with the primary of e until the connection breaks, the era ends,
// or nobody has needed it for long.
func (s *sights) serve(ctx context.Context, e *era) error {
	limit := newGuard(ctx, s.r.cfg.ProbeTimeout)
	defer limit.end()
	s.mu.Lock()
	s.cancel = func(now *era) {
		if now != e {
			limit.cancel(errEraChanged)
		}
	}
	s.mu.Unlock()
	if s.r.topo.Load().era != e {
		return errEraChanged // interrupt may have come before cancel was set
	}
	s.tally.drop() // it may be another primary's, or old before this one answers
	probe, err := s.r.connectPrimary(limit, e)
	if err != nil {
		return err
	}
	defer probe.Close()
	w, able := probe.(Witness)
	if !able {
		return errNoWitness
	}
	s.forget()
	var next time.Time // when the primary is looked at again, if nobody is new
	every := pollLeast
	for {
		t := s.r.topo.Load()
		if t.era != e {
			return errEraChanged
		}
		if limit.ctx.Err() != nil {
			return context.Cause(limit.ctx)
		}
		s.settle(t)
		switch s.due(t) {
		case sightsRest:
			if s.idle(limit.ctx) {
				return nil
			}
			continue
		case sightsAnswer:
			sleep(limit.ctx, pollMost, s.wake)
			continue
		case sightsPending:
			if pause := time.Until(next); pause > 0 {
				sleep(limit.ctx, pause, s.wake)
				continue
			}
		case sightsBegin:
			every = pollLeast
		}
		if err := s.turn(limit, e, t, w); err != nil {
			return err
		}
		next = time.Now().Add(every)
		every = min(every+every/4, pollMost)
	}
}

// settle passes the looks that have found nothing.
func (s *sights) settle(t *Topology) {
	for _, n := range t.Nodes {
		l := &n.looks
		if now := l.now; now == nil || !now.done.Load() {
			continue
		}
		switch {
		case l.now.unable:
			at := time.Now()
			l.muted.Store(&at)
			l.mute.Store(l.now.conn) // second: unmute reads it first
			l.drop()
			l.waiters.wakeAll() // who waits has to ask others
		case len(l.now.early) == 0:
			l.pass(t.era)
		default:
			l.early.Store(int64(len(l.now.early)))
		}
	}
}

// turn takes one snapshot, tells those whose transactions it shows, and begins
// the looks that are wanted.
func (s *sights) turn(limit *guard, e *era, t *Topology, w Witness) error {
	a := &s.alone
	if !a.waiters.empty() && a.now == nil {
		a.now = &look{seq: a.sent.Add(1)}
	}
	s.tally.begin(a)
	limit.arm()
	snap, err := w.Snapshot(limit.ctx)
	limit.disarm()
	switch {
	case err != nil:
		return fmt.Errorf("ask %s what it shows: %w", e.node.Name, err)
	case s.r.topo.Load().era != e:
		return errEraChanged
	}
	if a.now != nil {
		passed, err := s.lookAlone(limit, w, &snap)
		switch {
		case err != nil:
			return err
		case passed:
			s.tally.drop()
			a.pass(e)
		}
	}
	for _, n := range t.Nodes {
		l := &n.looks
		if l.narrow(&snap) {
			l.pass(t.era)
		}
		if l.now == nil && !l.waiters.empty() && n.okEra.Load() == e.n {
			l.now = &look{at: snap, conn: n.conn.Load()}
			l.ask.Store(l.now)
			n.wakeMonitor()
		}
	}
	return nil
}

// lookAlone goes on with the look at the primary alone, and reports whether it has
// passed. It has if every transaction of its time has ended, or could be seen not
// to be committing: such a one had not committed yet when it was looked for, so
// nobody can have seen it anywhere before.
func (s *sights) lookAlone(limit *guard, w Witness, snap *Snapshot) (passed bool, err error) {
	a := &s.alone
	now := a.now
	if !now.done.Load() {
		now.at = *snap
		now.done.Store(true)
	}
	if snap.Xmin >= now.at.Next || now.counted && a.narrow(snap) {
		return true, nil
	}
	list, asked, err := s.tally.count(limit, w, snap.Next)
	if err != nil {
		return false, err
	}
	if asked {
		now.suspect(list)
	}
	if !now.counted {
		a.early.Store(1) // somebody may still run
		return false, nil
	}
	a.early.Store(int64(len(now.early)))
	return len(now.early) == 0, nil
}

// forget drops what was found out about another primary.
func (s *sights) forget() {
	s.alone.drop()
	for _, n := range s.r.topo.Load().Nodes {
		n.looks.drop()
	}
}

// idle sleeps until somebody waits, and reports whether nobody did for so long
// that the connection may go.
func (s *sights) idle(ctx context.Context) bool {
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	select {
	case <-s.wake:
		return false
	case <-timer.C:
		return true
	case <-ctx.Done():
		return true
	}
}
