package lsn

import (
	"fmt"
	"time"
)

// Position is a place in the WAL of one history. All fields are needed: two
// clusters have nothing in common, two independent promotions make the same
// timeline number with different beginnings, and a server that crashed after
// an asynchronous commit uses the same LSNs again on the same timeline. The
// zero Position means that nothing is known.
type Position struct {
	// SystemID is the cluster's system_identifier.
	SystemID uint64
	// Timeline is the timeline that LSN is on.
	Timeline uint32
	// Begin is where Timeline began: the switch point at which it left its
	// parent. It is 0 for timeline 1, and for a later one whose beginning is
	// not known: see BeginKnown.
	Begin LSN
	// LSN is the place itself.
	LSN LSN
	// Incarnation tells one life of the primary from the next. It is the
	// start time of its checkpointer in microseconds since the Unix epoch,
	// which, unlike the postmaster's, changes with a restart after a crash. 0
	// means that it is not known; no server has it.
	Incarnation int64
}

// BeginKnown reports whether Begin says where the timeline began. Timeline 1
// began at 0, and no other did.
func (p Position) BeginKnown() bool { return p.Begin != 0 || p.Timeline == 1 }

// SameHistory reports whether p and q are known to lie on the same timeline of
// the same cluster: system id and timeline are equal, and so is its beginning or,
// where that is not known, the life of the primary. Their LSNs are then on one
// line, except that a restart after a crash may have used some of them twice:
// see SameIncarnation.
func (p Position) SameHistory(q Position) bool {
	return p.sameTimeline(q) && (p.BeginKnown() && q.BeginKnown() || p.sameLife(q))
}

// SameIncarnation reports whether p and q lie in the same history and were
// read from the same life of the primary. Only then are their LSNs simply
// numbers that may be compared.
func (p Position) SameIncarnation(q Position) bool {
	return p.sameTimeline(q) && p.sameLife(q)
}

// sameTimeline reports whether p and q may lie on the same timeline: nothing
// that is known of both differs. Two of one number are the same only if their
// beginnings are equal, or a life of the primary has seen both.
func (p Position) sameTimeline(q Position) bool {
	return p.SystemID == q.SystemID && p.Timeline == q.Timeline &&
		(p.Begin == q.Begin || !p.BeginKnown() || !q.BeginKnown())
}

func (p Position) sameLife(q Position) bool {
	return p.Incarnation == q.Incarnation && p.Incarnation != 0
}

// IsZero reports whether nothing is known.
func (p Position) IsZero() bool { return p == Position{} }

// String describes the position for logs. It is not meant to be parsed; a
// token is.
func (p Position) String() string {
	if p.IsZero() {
		return "nowhere"
	}
	return fmt.Sprintf("%s on timeline %d from %s of system %d since %s", p.LSN, p.Timeline, p.Begin, p.SystemID,
		time.UnixMicro(p.Incarnation).UTC().Format("2006-01-02T15:04:05.000000Z"))
}
