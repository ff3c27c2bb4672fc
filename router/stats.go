package router

import (
	"sync/atomic"
	"time"
)

// Stats is a snapshot of what a router has counted since New. It belongs to the
// caller.
type Stats struct {
	// Tickets are the tickets taken, PositionCalls the queries that answered
	// them, Nudges the times that the primary was made to flush, Readings the
	// polls of replay positions beside the regular ones, and Parked the questions
	// that a replica was given to answer when it has replayed what somebody waits
	// for.
	Tickets, PositionCalls, Nudges, Readings, Parked uint64
	// Waits counts how often a request was registered to wait, Hopeless how
	// often a wait was skipped, BudgetFull how many reads found the fallback
	// budget used up, Stale how many were served below their floor, Refused
	// how many were not served.
	Waits, Hopeless, BudgetFull, Stale, Refused uint64
	// Looks are the questions to replicas what they show that the primary still
	// hides. GuardWaits counts the reads that waited because the primary was
	// not known to show what their client saw on a replica, GuardWaitSum is how
	// long those that were then decided did wait. Of those whose time was over,
	// GuardUnproven went on because nobody could say whether the primary hides
	// anything, GuardStale because on_timeout is stale, and GuardRefused were
	// not served.
	Looks, GuardWaits                       uint64
	GuardUnproven, GuardStale, GuardRefused uint64
	GuardWaitSum                            time.Duration
	// Lost and MaybeLost count the chains and sessions whose last acknowledged
	// write a change of the primary has lost, or may have lost.
	Lost, MaybeLost uint64
	// Foreign counts how often a server turned out to belong to another
	// cluster, Claimants how often one said that it is a primary and must not
	// be.
	Foreign, Claimants uint64
	// SourceConfirmed is when a source whose proof ages (Candidates.ValidFor)
	// was last known to speak for the present, else zero.
	SourceConfirmed time.Time
	// Commits counts the COMMITs whose answer was lost, by what became of them:
	// every Outcome has an entry.
	Commits map[Outcome]uint64
	// Fallbacks counts the reads that went to the primary although their level
	// allows a replica. ReasonNotCovered, ReasonNoReplica and ReasonRedo have an
	// entry always, other reasons once they were counted.
	Fallbacks map[Reason]uint64
	// FloorWait is how long reads that waited and were then served by a replica
	// did wait.
	FloorWait Histogram
	// FallbacksRunning and FallbacksQueued describe the fallback budget now.
	FallbacksRunning, FallbacksQueued int
	// OracleWaiters are the requests that wait for a ticket's answer now.
	OracleWaiters int
}

type stats struct {
	tickets, positionCalls, nudges, readings    atomic.Uint64
	parked                                      atomic.Uint64
	waits, hopeless, budgetFull, stale, refused atomic.Uint64
	lost, maybeLost                             atomic.Uint64
	foreign, claimants                          atomic.Uint64
	confirmed                                   atomic.Pointer[time.Time]
	looks, guardWaits                           atomic.Uint64
	guardUnproven, guardStale, guardRefused     atomic.Uint64
	guardWaitSum                                atomic.Int64
	commits                                     [numOutcomes]atomic.Uint64
	fallbacks                                   [numReasons]atomic.Uint64
	floorWaits                                  waits
}

func (s *stats) guardWait(d time.Duration) { s.guardWaitSum.Add(int64(d)) }

func (s *stats) fallback(why Reason) { s.fallbacks[why].Add(1) }

// floorWait counts a read that a replica serves.
func (s *stats) floorWait(d time.Duration, waited bool) {
	if waited {
		s.floorWaits.add(d)
	}
}

// told counts what somebody is told about a write.
func (s *stats) told(f Fate) {
	switch f {
	case FateLost:
		s.lost.Add(1)
	case FateMaybeLost:
		s.maybeLost.Add(1)
	}
}

// Stats returns a snapshot. The numbers are read one after the other.
func (r *Router) Stats() Stats {
	s := &r.stats
	out := Stats{
		Tickets: s.tickets.Load(), PositionCalls: s.positionCalls.Load(), Nudges: s.nudges.Load(), Readings: s.readings.Load(), Parked: s.parked.Load(),
		Waits: s.waits.Load(), Hopeless: s.hopeless.Load(), BudgetFull: s.budgetFull.Load(), Stale: s.stale.Load(),
		Looks: s.looks.Load(), GuardWaits: s.guardWaits.Load(), GuardUnproven: s.guardUnproven.Load(), GuardStale: s.guardStale.Load(), GuardRefused: s.guardRefused.Load(),
		GuardWaitSum: time.Duration(s.guardWaitSum.Load()),
		Refused:      s.refused.Load(), Lost: s.lost.Load(), MaybeLost: s.maybeLost.Load(), FloorWait: s.floorWaits.histogram(), OracleWaiters: r.oracle.waiters.len(),
	}
	out.Foreign, out.Claimants = s.foreign.Load(), s.claimants.Load()
	if c := s.confirmed.Load(); c != nil {
		out.SourceConfirmed = *c
	}
	out.Commits, out.Fallbacks = make(map[Outcome]uint64), make(map[Reason]uint64)
	for i := range s.commits {
		out.Commits[Outcome(i)] = s.commits[i].Load()
	}
	for i := range s.fallbacks {
		why := Reason(i)
		if n := s.fallbacks[i].Load(); n > 0 || why == ReasonNotCovered || why == ReasonNoReplica || why == ReasonRedo {
			out.Fallbacks[why] = n
		}
	}
	out.FallbacksRunning, out.FallbacksQueued = r.budget.state()
	return out
}
