package router

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pgroute/pgroute/lsn"
)

// parker leaves a question with a replica that holds its answer back until it
// has replayed the lowest position that somebody waits for, so that nobody has
// to ask again and again. It uses a connection of its own, which is opened when
// somebody waits and closed when nobody did for long: a server answers in
// order, and the monitor's other questions must not stand behind this one.
//
// What it reads counts for the monitor's connection, because both lead to the
// same life of the server: the monitor identified it on its connection (life),
// and this one identified itself as the same. A reading that comes after the
// monitor's connection has ended is dropped.
type parker struct {
	n *Node
	r *Router
	// life is the monitor's connection that readings count for, a Node.conn, 0
	// when there is none.
	life atomic.Uint64
	// ready is true while a question can be left, target what the last one is
	// about, 0 if it is answered and there was no more to ask.
	ready  atomic.Bool
	target atomic.Uint64
	wake   chan struct{}
}

const (
	// parkLongest bounds how long the server holds an answer back.
	parkLongest = time.Second
	// parkIdle is how long the connection is kept when nobody waits.
	parkIdle = time.Minute
	// parkRetry is the pause after a connection that came to nothing. The
	// monitor asks as if there was no parker meanwhile.
	parkRetry = 5 * time.Second
)

var (
	errOtherLife = errors.New("the server is not in the life that its monitor knows")
	errCannot    = errors.New("the connection cannot be left a question")
)

func newParker(n *Node, r *Router) *parker { return &parker{n: n, r: r, wake: make(chan struct{}, 1)} }

// follow tells which connection of the monitor readings count for from now on.
func (p *parker) follow(conn uint64) { p.life.Store(conn) }

// takes reports whether the answer to a question that was left, or is left
// now, tells when lowest is reached. Called by the monitor, after somebody has
// registered for lowest.
func (p *parker) takes(lowest uint64) bool {
	if lowest == 0 {
		return false
	}
	if !p.ready.Load() {
		p.rouse()
		return false
	}
	target := p.target.Load()
	if target == 0 {
		if !p.target.CompareAndSwap(0, lowest) {
			return false // it is choosing just now; the next look will tell
		}
		p.rouse()
		return true
	}
	return target <= lowest
}

func (p *parker) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// next chooses what to ask: the lowest position that somebody waits for, 0 if
// nobody does. Whoever registers afterwards sees the choice, and whoever has
// registered before is seen.
func (p *parker) next() uint64 {
	for {
		lowest := p.n.waiters.lowest.Load()
		p.target.Store(lowest)
		if p.n.waiters.lowest.Load() == lowest {
			return lowest
		}
	}
}

// run serves until ctx is done.
func (p *parker) run(ctx context.Context) {
	for {
		select {
		case <-p.wake:
		case <-ctx.Done():
			return
		}
		life := p.life.Load()
		if life == 0 || p.n.waiters.empty() {
			continue
		}
		err := p.serve(ctx, life)
		p.ready.Store(false)
		p.target.Store(0)
		p.n.wakeMonitor() // somebody may have counted on the answer
		if err != nil && ctx.Err() == nil {
			p.r.log.Debug("waiting at the replica ended", "node", p.n.Name, "error", err)
			p.n.KickIdentify()
			sleep(ctx, parkRetry, nil)
		}
	}
}

// serve leaves one question after the other on one connection, until it breaks,
// the monitor has another one, or nobody has waited for long.
func (p *parker) serve(ctx context.Context, life uint64) error {
	limit := newGuard(ctx, p.r.cfg.ProbeTimeout)
	defer limit.end()
	probe, err := p.r.cfg.Prober.Connect(limit.ctx, p.n.Addr)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", p.n.Name, err)
	}
	defer probe.Close()
	st, err := probe.Identify(limit.ctx)
	limit.disarm()
	if err != nil {
		return fmt.Errorf("identify %s: %w", p.n.Name, err)
	}
	if !st.InRecovery || st.SystemID != p.n.SystemID() || st.Incarnation != p.n.Incarnation() {
		return errOtherLife
	}
	question, ok := probe.(Parker)
	if !ok {
		return errCannot
	}
	p.ready.Store(true)
	for p.life.Load() == life {
		target := p.next()
		if target == 0 {
			if !p.idle(ctx) {
				continue
			}
			return nil
		}
		p.r.stats.parked.Add(1)
		limit.arm()
		reading, err := question.Park(limit.ctx, lsn.LSN(target), min(parkLongest, p.r.cfg.ProbeTimeout/2))
		limit.disarm()
		switch {
		case err != nil:
			return fmt.Errorf("wait until %s has replayed %s: %w", p.n.Name, lsn.LSN(target), err)
		case !reading.InRecovery:
			return fmt.Errorf("wait until %s has replayed %s: %w", p.n.Name, lsn.LSN(target), errPromoted)
		case p.n.advance(life, reading.Replay):
			p.n.waiters.wake(uint64(reading.Replay))
		}
	}
	return nil
}

// idle sleeps until there is something to do, and reports whether there was
// nothing for so long that the connection may go.
func (p *parker) idle(ctx context.Context) bool {
	timer := time.NewTimer(parkIdle)
	defer timer.Stop()
	select {
	case <-p.wake:
		return false
	case <-timer.C:
		return true
	case <-ctx.Done():
		return true
	}
}

// advance raises the watermark to l if that was read in the life of the server
// that the monitor's connection conn leads to, and conn is still the monitor's.
func (n *Node) advance(conn uint64, l lsn.LSN) bool {
	n.learning.Lock()
	defer n.learning.Unlock()
	if n.conn.Load() != conn {
		return false
	}
	if uint64(l) > n.watermark.Load() {
		n.watermark.Store(uint64(l))
	}
	n.pace.reading(l, lsn.LSN(n.r.topo.Load().era.flush.Load()), time.Now())
	return true
}

// forgetPace starts to measure anew, on another connection.
func (n *Node) forgetPace() {
	n.learning.Lock()
	defer n.learning.Unlock()
	n.pace.forget()
}
