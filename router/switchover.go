package router

import "time"

// Switchover is a change of the primary that the cluster's manager has
// announced and not begun, or not ended yet. The zero value is none.
//
// It is told before the old primary is stopped, so whoever holds new work back
// from then on gives running transactions the time to end. What has not ended
// when the server stops gets its 57P01. It may be called off: then the next
// Candidates are without it.
type Switchover struct {
	// Leader is the node that will stop being the primary.
	Leader string
	// Candidate is the node that shall follow it, "" if the manager chooses.
	Candidate string
	// At is when it begins, zero for at once.
	At time.Time
}

// IsZero reports whether no switchover is announced.
func (s Switchover) IsZero() bool { return s == Switchover{} }

// Due reports whether the switchover is announced and begins before now+lead.
func (s Switchover) Due(now time.Time, lead time.Duration) bool {
	return !s.IsZero() && (s.At.IsZero() || s.At.Before(now.Add(lead)))
}

// switchoverHold bounds how long new work waits because of an announcement that
// nothing follows.
const switchoverHold = 10 * time.Second

// held reports whether new work for the primary waits for the switchover that
// is announced, with the lead of Config.SwitchoverLead.
func (t *Topology) held(now time.Time, lead time.Duration) bool {
	s := t.Switchover
	begins := t.announced
	if s.At.After(begins) {
		begins = s.At
	}
	return s.Due(now, lead) && now.Before(begins.Add(switchoverHold))
}
