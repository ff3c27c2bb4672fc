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
	// parent. It is 0 for timeline 1.
	Begin LSN
	// LSN is the place itself.
	LSN LSN
	// Incarnation tells one life of the primary from the next. It is the
	// start time of its checkpointer in microseconds since the Unix epoch,
	// which, unlike the postmaster's, changes with a restart after a crash.
	Incarnation int64
}

// SameHistory reports whether p and q lie on the same timeline of the same
// cluster: system id, timeline and its beginning are equal. Their LSNs are
// then on one line, except that a restart after a crash may have used some of
// them twice: see SameIncarnation.
func (p Position) SameHistory(q Position) bool {
	return p.SystemID == q.SystemID && p.Timeline == q.Timeline && p.Begin == q.Begin
}

// SameIncarnation reports whether p and q lie in the same history and were
// read from the same life of the primary. Only then are their LSNs simply
// numbers that may be compared.
func (p Position) SameIncarnation(q Position) bool {
	return p.SameHistory(q) && p.Incarnation == q.Incarnation
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
