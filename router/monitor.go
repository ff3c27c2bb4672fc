package router

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgroute/pgroute/lsn"
)

// Distances between two readings of the replay position while somebody waits
// for it: they grow while nothing comes of them.
const (
	pollLeast = 200 * time.Microsecond
	pollMost  = 2 * time.Millisecond
	// napMost is from where on timers are exact enough.
	napMost = time.Millisecond
	// pollParked is the distance while the server itself tells when the position
	// is there: that the rate of its replay stays known, and that who waits does
	// not depend on one connection.
	pollParked = 25 * time.Millisecond
)

// monitor watches one node over one connection at a time. What it learns it
// stores in the node, whose positions nobody else writes.
type monitor struct {
	n *Node
	r *Router

	limit *guard
	probe Probe
	st    Status
	// identified is when the server last identified itself; polled when a
	// reading was last asked for, every the distance to the next.
	identified, polled time.Time
	every              time.Duration
	// met is when it first did so on this connection.
	met time.Time
	// last is the last position that was read on this connection.
	last   lsn.LSN
	parker *parker
}

var (
	errPromoted = errors.New("the server is not in recovery any more")
	errBackward = errors.New("the replay position went backwards on one connection")
)

// run watches until ctx is done.
func (m *monitor) run(ctx context.Context) {
	retry := backoff{}
	for ctx.Err() == nil {
		began := time.Now()
		up, err := m.converse(ctx)
		m.r.trace(m.n, err)
		if !up {
			m.r.failed(m.n, err)
			retry.wait(ctx, nil)
			continue
		}
		m.r.lost(m.n)
		// That a connection broke says little about the server: try again, at
		// once unless that happens all the time.
		if time.Since(began) < backoffMost {
			retry.wait(ctx, nil)
		} else {
			retry = backoff{}
		}
	}
	m.r.failed(m.n, context.Cause(ctx))
}

// converse makes a connection and uses it until it breaks. up is false if the
// server did not even identify itself.
func (m *monitor) converse(ctx context.Context) (up bool, err error) {
	began := time.Now()
	m.limit = newGuard(ctx, m.r.cfg.ProbeTimeout)
	defer m.limit.end()
	m.probe, err = m.r.cfg.Prober.Connect(m.limit.ctx, m.n.Addr)
	if err != nil {
		return false, fmt.Errorf("connect to %s: %w", m.n.Name, err)
	}
	defer m.probe.Close()
	m.last = 0
	defer m.parker.follow(0)
	m.n.forgetPace()
	if _, able := m.probe.(Witness); able {
		m.r.sights.able.Store(true)
	}
	if err := m.identify(); err != nil {
		return false, err
	}
	m.met = m.identified
	m.n.health.met(began)
	m.r.trace(m.n, nil)
	for {
		if err := m.rest(); err != nil {
			return true, err
		}
		if l := m.n.looks.ask.Load(); l != nil {
			if err := m.look(l); err != nil {
				return true, err
			}
			continue
		}
		if m.n.identifyNow.Load() || time.Since(m.identified) >= m.r.cfg.HealthInterval {
			err = m.identify()
		} else {
			err = m.poll()
		}
		if err != nil {
			return true, err
		}
	}
}

// rest sleeps until there is something to ask.
func (m *monitor) rest() error {
	for {
		if m.limit.ctx.Err() != nil {
			return context.Cause(m.limit.ctx)
		}
		interval := m.r.healthInterval(m.n, m.met)
		pause := time.Until(m.identified.Add(interval))
		if m.n.identifyNow.Load() {
			pause = time.Until(m.identified.Add(pollMost)) // however often it is asked for
		}
		if m.st.InRecovery && m.wanted() {
			pause = min(pause, time.Until(m.polled.Add(m.distance())))
		}
		if m.n.looks.ask.Load() != nil {
			return nil
		}
		if pause <= 0 {
			if time.Since(m.identified) >= interval {
				m.n.identifyNow.Store(true)
			}
			return nil
		}
		kicked := m.n.waiters.len()
		if napper, ok := m.probe.(Napper); ok && pause < napMost {
			napper.Nap(pause) // nobody wakes it, and it is over at once
		} else {
			sleep(m.limit.ctx, pause, m.n.kick)
		}
		if m.n.waiters.len() > kicked || m.n.probeNow.Load() {
			m.every = pollLeast // somebody new waits
		}
	}
}

// wanted reports whether somebody wants a reading.
func (m *monitor) wanted() bool {
	return m.n.probeNow.Load() || !m.n.waiters.empty() || !m.n.readings.empty()
}

// distance is how long after the last reading the next one is due, for those
// who wait now.
func (m *monitor) distance() time.Duration {
	if m.st.Parks && !m.n.probeNow.Load() && m.n.readings.empty() && m.parker.takes(m.n.waiters.lowest.Load()) {
		return max(m.every, pollParked)
	}
	return m.every
}

// identify asks for everything.
func (m *monitor) identify() error {
	m.n.identifyNow.Store(false)
	m.n.probeNow.Store(false)
	seq := m.n.asked.Add(1)
	round := m.r.rounds.Load()
	m.limit.arm()
	st, err := m.probe.Identify(m.limit.ctx)
	m.limit.disarm()
	if err != nil {
		return fmt.Errorf("identify %s: %w", m.n.Name, err)
	}
	if st.At.IsZero() {
		st.At = time.Now()
	}
	m.identified, m.st = time.Now(), st
	m.n.looks.unmute(m.identified)
	m.r.identified(m.n, &st)
	m.r.hear(m.n, round)
	if e := m.r.topo.Load().era; e.is(m.n, &st) {
		raise(&e.confirmed, seq)
	}
	if !st.InRecovery {
		m.parker.follow(0)
		return nil
	}
	if st.Parks {
		m.parker.follow(m.n.conn.Load())
	}
	return m.learn(seq, st.Replay)
}

// poll asks for the replay position only.
func (m *monitor) poll() error {
	m.n.probeNow.Store(false)
	m.polled = time.Now()
	seq := m.n.asked.Add(1)
	m.r.stats.readings.Add(1)
	m.limit.arm()
	reading, err := m.probe.Replay(m.limit.ctx)
	m.limit.disarm()
	if err != nil {
		return fmt.Errorf("ask %s how far it has replayed: %w", m.n.Name, err)
	}
	if !reading.InRecovery {
		// Nothing that was read on this connection counts any more.
		return fmt.Errorf("ask %s how far it has replayed: %w", m.n.Name, errPromoted)
	}
	// Most readings come too early for someone: take more time each time.
	m.every = min(max(m.every+m.every/4, pollLeast), pollMost)
	return m.learn(seq, reading.Replay)
}

// learn takes in a reading that was asked for with the number seq.
func (m *monitor) learn(seq uint64, l lsn.LSN) error {
	n := m.n
	switch {
	case l == 0:
		return nil // NULL is not a position
	case l < m.last:
		return fmt.Errorf("%s is at %s after %s: %w", n.Name, l, m.last, errBackward)
	case l > m.last:
		m.last, m.every = l, pollLeast
	}
	// In this order: see Node.Covers.
	n.advance(n.conn.Load(), l)
	n.answered.Store(seq)
	n.waiters.wake(uint64(l))
	n.readings.wake(seq)
	return nil
}
