package router

import (
	"sync/atomic"
	"time"
)

// WaitBuckets are the upper bounds of Stats.FloorWait; a last bucket counts
// what took longer.
var WaitBuckets = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond,
}

// Stats is a snapshot of what a router has counted since New.
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
	// Commits counts the COMMITs whose answer was lost, by what became of them.
	Commits [NumOutcomes]uint64
	// Fallbacks counts the reads that went to the primary because of a Reason.
	Fallbacks [NumReasons]uint64
	// FloorWait is the histogram of how long reads that waited and were then
	// served by a replica did wait: WaitBuckets, and one for what is above.
	// FloorWaitSum is their sum.
	FloorWait    [len(WaitBuckets) + 1]uint64
	FloorWaitSum time.Duration
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
	commits                                     [NumOutcomes]atomic.Uint64
	fallbacks                                   [NumReasons]atomic.Uint64
	buckets                                     [len(WaitBuckets) + 1]atomic.Uint64
	waitSum                                     atomic.Int64
}

func (s *stats) guardWait(d time.Duration) { s.guardWaitSum.Add(int64(d)) }

func (s *stats) fallback(why Reason) { s.fallbacks[why].Add(1) }

// floorWait counts a read that a replica serves.
func (s *stats) floorWait(d time.Duration, waited bool) {
	if !waited {
		return
	}
	i := 0
	for i < len(WaitBuckets) && d > WaitBuckets[i] {
		i++
	}
	s.buckets[i].Add(1)
	s.waitSum.Add(int64(d))
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
		Refused:      s.refused.Load(), Lost: s.lost.Load(), MaybeLost: s.maybeLost.Load(), FloorWaitSum: time.Duration(s.waitSum.Load()), OracleWaiters: r.oracle.waiters.len(),
	}
	out.Foreign, out.Claimants = s.foreign.Load(), s.claimants.Load()
	if c := s.confirmed.Load(); c != nil {
		out.SourceConfirmed = *c
	}
	for i := range s.commits {
		out.Commits[i] = s.commits[i].Load()
	}
	for i := range s.fallbacks {
		out.Fallbacks[i] = s.fallbacks[i].Load()
	}
	for i := range s.buckets {
		out.FloorWait[i] = s.buckets[i].Load()
	}
	out.FallbacksRunning, out.FallbacksQueued = r.budget.state()
	return out
}
