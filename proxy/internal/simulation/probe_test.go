package simulation

import (
	"context"
	"errors"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

var (
	errDown   = errors.New("connection refused")
	errKilled = errors.New("connection reset")
)

// probe is one monitor connection: its calls take time, hang while the server
// cannot be reached, and fail once the server has ended the connection.
type probe struct {
	w    *world
	s    *server
	dice dice
	life uint64 // 0 until it is connected
	cuts uint64
}

func (w *world) Connect(ctx context.Context, addr router.Addr) (router.Probe, error) {
	s := w.servers[addr.Port]
	w.mu.Lock()
	s.dials++
	p := &probe{w: w, s: s, dice: roll(w.seed, 2, uint64(s.i), s.dials), cuts: s.probeCuts}
	w.mu.Unlock()
	if err := p.trip(ctx, func() { p.life = s.life }); err != nil {
		return nil, err
	}
	return p, nil
}

// trip is one round trip; f runs on the server.
func (p *probe) trip(ctx context.Context, f func()) error {
	if err := pause(ctx, p.leg()); err != nil {
		return err
	}
	for arrived := false; ; {
		changed, err := p.reach(&arrived, f)
		if err != nil {
			return err
		}
		if changed == nil {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		// Not all at once.
		if err := pause(ctx, time.Duration(1000+p.dice.n(500_000))); err != nil {
			return err
		}
	}
	return pause(ctx, p.leg())
}

// reach tries to get to the server and back. It returns a channel to wait for
// if that cannot be.
func (p *probe) reach(arrived *bool, f func()) (<-chan struct{}, error) {
	w, s := p.w, p.s
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mix(uint64(time.Since(w.epoch)), uint64(s.i))
	w.cover.probes++
	switch {
	case s.cut:
		return s.changed, nil
	case s.probeCuts != p.cuts, p.life != 0 && s.life != p.life:
		return nil, errKilled
	case !s.up:
		return nil, errDown
	case s.frozen:
		return s.changed, nil
	}
	if !*arrived {
		*arrived = true
		f()
	}
	return nil, nil
}

func (p *probe) leg() time.Duration {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.s.slow/2 + time.Duration(30_000+p.dice.n(120_000))
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *probe) Identify(ctx context.Context) (st router.Status, err error) {
	s := p.s
	err = p.trip(ctx, func() {
		st = router.Status{SystemID: systemID, InRecovery: s.standby, Incarnation: s.incarnation, PostmasterStart: s.postmaster,
			BlockSize: pageSize, Version: 150000}
		if s.standby {
			st.Replay, st.ReplayPaused = s.reported, s.paused
			if s.streams() {
				st.Timeline = s.upstream.timeline
			}
			return
		}
		st.Timeline, st.Begin, st.BeginKnown, st.History, st.Recovered = s.timeline, s.begin, true, s.past, s.recovered
		st.NextXID = s.xacts.latest + 1
		st.Insert, st.Flush = s.insert(), s.endOf(s.flushed)
	})
	st.At = time.Now()
	return st, err
}

func (p *probe) Replay(ctx context.Context) (r router.Reading, err error) {
	err = p.trip(ctx, func() { r = router.Reading{Replay: p.s.reported, InRecovery: p.s.standby} })
	return r, err
}

func (p *probe) Insert(ctx context.Context) (insert, flush lsn.LSN, err error) {
	err = p.trip(ctx, func() { insert, flush = p.s.insert(), p.s.endOf(p.s.flushed) })
	return insert, flush, err
}

func (p *probe) Nudge(ctx context.Context) error {
	return p.trip(ctx, func() {
		if !p.s.standby {
			p.s.flush()
		}
	})
}

func (p *probe) Close() error { return nil }

// Watch is the source: a list of the servers, or a manager that names the
// primary and renews its word.
func (w *world) Watch(ctx context.Context, publish func(router.Candidates)) error {
	for {
		w.mu.Lock()
		c := router.Candidates{Nodes: w.candidates, Confirmed: time.Now()}
		if w.plan.named {
			c.NamesPrimary, c.ValidFor, c.Primary, c.SystemID = true, sourceValid, w.named, systemID
		}
		silent := w.silent
		changed := w.sourceChanged
		w.mu.Unlock()
		if !silent {
			publish(c)
		}
		pause := sourceRenews
		if !w.plan.named {
			pause = time.Hour // a list does not change
		}
		timer := time.NewTimer(pause + time.Duration(w.sourceDice.n(1_000_000)))
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

const (
	sourceValid  = 300 * time.Millisecond
	sourceRenews = 100 * time.Millisecond
)
