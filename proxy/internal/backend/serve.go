package backend

import "github.com/pgroute/pgroute/router"

// Serves reports whether the backend may be lent for d now. retry is true if
// only a fresh reading of its node is missing. A backend that was dialled in an
// earlier era takes no write (I6).
func (s *State) Serves(r *router.Router, d *router.Decision) (ok, retry bool) {
	if d.Role == router.RolePrimary {
		return s.Primary && !s.Former(r.Topology().Era()), false
	}
	if s.Primary {
		return false, false
	}
	if s.Node.Covers(d.Floor, s.Dialed, s.Own) {
		return true, false
	}
	return false, s.Node.Eligible()
}

// Outdated reports whether a decision does not hold any more. Time may pass
// between it and the lease, and a write must not go where nobody leads (I6).
func Outdated(r *router.Router, d *router.Decision) bool {
	if mutantEpochIgnored() {
		return false
	}
	switch {
	case d.Reason == router.ReasonWrite:
		_, epoch, err := r.Primary()
		return err != nil || epoch != d.Epoch
	case d.Role == router.RolePrimary:
		return r.Topology().Epoch != d.Epoch
	}
	return r.Topology().Era() != d.Era || !d.Node.Eligible()
}

// Former reports whether the backend was dialled to a primary of another era
// than the current one.
func (s *State) Former(era uint64) bool {
	return s.Primary && s.Era != era && !mutantEpochIgnored()
}
