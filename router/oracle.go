package router

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgroute/pgroute/lsn"
)

// oracle tells positions of the primary that cover everything acknowledged
// before they were asked for.
//
// A ticket is the number of a position query that has not been sent yet. One
// query is in flight at a time; whoever takes a ticket meanwhile is served by
// the next. So the cost to the primary is one call per round trip, whatever
// the load.
type oracle struct {
	r       *Router
	ring    ring
	samples samples

	// sent is the number of the last query. It is incremented right before a
	// query is sent, which is what makes sent+1 a ticket.
	sent atomic.Uint64
	// wanted is the highest ticket taken, urgent the highest that somebody
	// waits for.
	wanted, urgent atomic.Uint64
	// sleep says what the goroutine is sleeping through, if anything.
	sleep   atomic.Uint32
	wake    chan struct{}
	waiters waitList
	// answeredIn is the era of the last answer.
	answeredIn atomic.Uint64
	// review is a ticket whose answer says which nodes count, 0: none.
	review atomic.Uint64

	// The fields below belong to the goroutine.
	era   uint64 // of the last answer
	asked time.Time
	// awaited is the era's, every the distance between two queries while that was
	// not seen flushed: it grows with the time that this takes.
	awaited uint64
	every   time.Duration

	mu     sync.Mutex // guards the field below
	cancel func(*era) // ends the connection if it is for another era
}

// States of oracle.sleep.
const (
	oracleBusy  = iota // it will look at wanted before it sleeps
	oracleIdle         // a ticket wakes it
	oraclePaced        // only somebody who waits wakes it
)

// idleQuery is how long the oracle's connection is left without a query, so
// that a dead one is found before somebody waits for it.
const idleQuery = 5 * time.Second

var errEraChanged = errors.New("the primary has changed")

// ticket returns a generation whose query has not been sent yet, and sees to
// it that it will be.
func (o *oracle) ticket() uint64 {
	gen := o.sent.Load() + 1
	if o.wanted.Load() < gen {
		raise(&o.wanted, gen)
		// The goroutine says that it sleeps first and looks at wanted then.
		if o.sleep.Load() == oracleIdle {
			o.rouse()
		}
	}
	return gen
}

// urge tells that somebody waits for gen.
func (o *oracle) urge(gen uint64) {
	raise(&o.urgent, gen)
	raise(&o.wanted, gen)
	if o.sleep.Load() != oracleBusy {
		o.rouse()
	}
}

// watch makes the primary of e be asked until it was seen to have flushed l, and
// once in any case.
func (o *oracle) watch(e *era, l lsn.LSN) {
	watched := e.unflushed()
	raise(&e.awaited, uint64(l))
	o.ticket()
	if !watched && o.sleep.Load() == oraclePaced {
		o.rouse()
	}
}

// answered reports whether the primary of e has answered gen, or what was asked
// later.
func (o *oracle) answered(e *era, gen uint64) bool {
	return o.answeredIn.Load() == e.n && o.ring.last.Load() >= gen
}

func (o *oracle) rouse() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// interrupt makes the goroutine leave a primary that is not that of e.
func (o *oracle) interrupt(e *era) {
	o.mu.Lock()
	cancel := o.cancel
	o.mu.Unlock()
	if cancel != nil {
		cancel(e)
	}
}

// run asks the primary of the current era until ctx is done.
func (o *oracle) run(ctx context.Context) {
	retry := backoff{}
	for ctx.Err() == nil {
		t := o.r.topo.Load()
		if t.era.n == 0 {
			select {
			case <-t.changed:
			case <-ctx.Done():
			}
			continue
		}
		answered := o.ring.last.Load()
		err := o.serve(ctx, t.era)
		if ctx.Err() != nil || o.r.topo.Load().era != t.era {
			retry = backoff{}
			continue
		}
		o.r.log.Debug("position connection ended", "node", t.era.node.Name, "error", err)
		// Let the monitor find out whether the primary is still the same.
		t.era.node.KickIdentify()
		if o.ring.last.Load() != answered {
			retry = backoff{}
		}
		retry.wait(ctx, t.changed)
	}
}

// serve answers tickets on one connection to the primary of e. It returns an
// error that says why the connection ended.
func (o *oracle) serve(ctx context.Context, e *era) error {
	limit := newGuard(ctx, o.r.cfg.ProbeTimeout)
	defer limit.end()
	o.mu.Lock()
	o.cancel = func(now *era) {
		if now != e {
			limit.cancel(errEraChanged)
		}
	}
	o.mu.Unlock()
	if o.r.topo.Load().era != e {
		return errEraChanged // interrupt may have come before cancel was set
	}
	probe, err := o.r.connectPrimary(limit, e)
	if err != nil {
		return err
	}
	defer probe.Close()
	for {
		if err := o.await(limit.ctx, e); err != nil {
			return err
		}
		gen := o.sent.Add(1)
		// Who wrote to the primary of a newer era has seen the newer topology
		// before taking a ticket: its query must not be sent here. It stays
		// unanswered and is answered by the next one.
		if o.r.topo.Load().era != e {
			return errEraChanged
		}
		if err := o.ask(limit, e, probe, gen); err != nil {
			return err
		}
	}
}

// ask sends one query and publishes its answer.
func (o *oracle) ask(limit *guard, e *era, probe Probe, gen uint64) error {
	o.r.stats.positionCalls.Add(1)
	o.asked = time.Now()
	o.every = min(o.every+o.every/4, idleQuery)
	seq := e.node.asked.Add(1)
	limit.arm()
	insert, flush, err := probe.Insert(limit.ctx)
	limit.disarm()
	if trace := o.r.cfg.Trace.Position; trace != nil {
		trace(time.Since(o.asked), err)
	}
	if err != nil {
		return fmt.Errorf("ask %s for its position: %w", e.node.Name, err)
	}
	f := Floor{Era: e.n, LSN: e.normalize(insert), Unproven: o.era != 0 && o.era != e.n, insert: e.normalize(insert)}
	if o.r.cfg.Position == PositionFlush || mutantFlushAlways() {
		f.LSN = flush
	}
	if f.insert == 0 {
		return fmt.Errorf("ask %s for its position: it has none", e.node.Name)
	}
	e.saw(insert, flush)
	raise(&e.confirmed, seq)
	// All answers of earlier eras were published before this query was sent,
	// so none of them can lie beyond the start.
	e.start.CompareAndSwap(0, uint64(f.insert))
	o.era = e.n
	o.samples.put(o.asked, f)
	o.ring.put(gen, f)
	o.waiters.wake(gen)
	o.answeredIn.Store(e.n)
	if want := o.review.Load(); want != 0 && want <= gen && o.review.CompareAndSwap(want, 0) {
		o.r.review()
	}
	return nil
}

// await returns when the next query is due.
func (o *oracle) await(ctx context.Context, e *era) error {
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if e.start.Load() == 0 {
			return nil
		}
		// No query is in flight. What was sent and is not answered has died
		// with its connection.
		answered := o.ring.last.Load()
		state, pause := uint32(oracleIdle), time.Until(o.asked.Add(idleQuery))
		if a := e.awaited.Load(); a != o.awaited {
			o.awaited, o.every = a, max(o.r.cfg.TicketPace/2, pollLeast)
		}
		if o.wanted.Load() > answered {
			state, pause = oraclePaced, time.Until(o.asked.Add(o.r.cfg.TicketPace))
		}
		if e.unflushed() {
			pause = min(pause, time.Until(o.asked.Add(o.every)))
		}
		if o.urgent.Load() > answered || pause <= 0 {
			if pace := time.Until(o.asked.Add(o.r.cfg.PositionPace)); pace > 0 {
				sleep(ctx, pace, nil) // tickets that are taken meanwhile are answered, too
				continue
			}
			return nil
		}
		o.sleep.Store(state)
		// Whoever wants something says so first and looks at sleep then.
		if o.urgent.Load() <= answered && (state == oraclePaced || o.wanted.Load() <= answered) && e.awaited.Load() == o.awaited {
			sleep(ctx, pause, o.wake)
		}
		o.sleep.Store(oracleBusy)
	}
}
