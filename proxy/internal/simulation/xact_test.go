package simulation

import (
	"context"
	"errors"
	"slices"

	"github.com/pgroute/pgroute/router"
)

var (
	_ router.CommitWitness = (*probe)(nil)
	_ router.OutcomeProbe  = (*probe)(nil)
)

// firstXID is the number of the first transaction.
const firstXID = 1000

// xacts are the transactions of a primary, as its ProcArray has them.
type xacts struct {
	next    uint64   // the number that is given out next
	latest  uint64   // the highest of those that have ended
	running []uint64 // those that have not, in ascending order
}

// recall begins anew with what the WAL says: numbers of which nothing is left
// there are given out again.
func (s *server) recall() {
	s.xacts = xacts{next: firstXID}
	for _, r := range s.wal {
		s.xacts.next = max(s.xacts.next, r.xid+1)
	}
	s.xacts.latest = s.xacts.next - 1
}

// assign gives a transaction its number.
func (s *server) assign() uint64 {
	x := &s.xacts
	x.next++
	x.running = append(x.running, x.next-1)
	return x.next - 1
}

// ended lets a transaction end: what it has committed is shown from now on.
func (s *server) ended(xid uint64) {
	x := &s.xacts
	x.running = slices.DeleteFunc(x.running, func(y uint64) bool { return y == xid })
	x.latest = max(x.latest, xid)
}

// committed reports whether the first n records have the commit of xid.
func (s *server) committed(xid uint64, n int) bool {
	return slices.ContainsFunc(s.wal[:n], func(r *record) bool { return r.xid == xid && r.commit })
}

// state is pg_xact_status.
func (s *server) state(xid uint64) router.XactState {
	switch {
	case xid > s.xacts.latest, slices.Contains(s.xacts.running, xid):
		return router.XactInProgress
	case s.committed(xid, len(s.wal)):
		return router.XactCommitted
	}
	return router.XactAborted
}

// asked is what a server had when it was last asked for outcomes.
type asked struct {
	s      *server
	turn   int
	logged set
}

var errStandby = errors.New("it is in recovery")

func (p *probe) Snapshot(ctx context.Context) (snap router.Snapshot, err error) {
	var refused error
	err = p.trip(ctx, func() {
		if p.s.standby {
			refused = errStandby
			return
		}
		x := &p.s.xacts
		snap = router.Snapshot{Xmin: x.latest + 1, Xmax: x.latest + 1, Next: x.next}
		for _, xid := range x.running {
			if xid < snap.Xmax {
				snap.Running = append(snap.Running, xid)
				snap.Xmin = min(snap.Xmin, xid)
			}
		}
	})
	if err == nil {
		err = refused
	}
	return snap, err
}

// Committing implements router.CommitWitness: transactions whose record is written,
// and now and then one that only runs a statement.
func (p *probe) Committing(ctx context.Context, _ uint64) (list []router.PendingCommit, err error) {
	var refused error
	err = p.trip(ctx, func() {
		if p.s.standby {
			refused = errStandby
			return
		}
		for _, xid := range p.s.xacts.running {
			if p.s.committed(xid, len(p.s.wal)) || p.dice.n(4) == 0 {
				list = append(list, router.PendingCommit{XID: xid})
			}
		}
	})
	if err == nil {
		err = refused
	}
	return list, err
}

func (p *probe) Early(ctx context.Context, snap router.Snapshot) (early []uint64, err error) {
	err = p.trip(ctx, func() {
		s := p.s
		n := s.applied
		if !s.standby {
			n = len(s.wal)
		}
		for _, r := range s.wal[:n] {
			if r.commit && snap.Hides(r.xid) && (s.standby || s.state(r.xid) == router.XactCommitted) {
				early = append(early, r.xid)
			}
		}
		slices.Sort(early)
	})
	return early, err
}

func (p *probe) Outcomes(ctx context.Context, xids []uint64) (states []router.XactState, err error) {
	var refused error
	err = p.trip(ctx, func() {
		if p.s.standby {
			refused = errStandby
			return
		}
		p.w.asked = asked{p.s, p.s.turn, p.s.logged}
		for _, xid := range xids {
			states = append(states, p.s.state(xid))
		}
	})
	if err == nil {
		err = refused
	}
	return states, err
}
