package router

import (
	"iter"
	"time"
)

// ejection says why the replica is not preferred: there is no better word for
// a node that is known to be behind, or that will be. Such a replica may still
// serve what it covers, when no other does; nobody waits for it while others
// are near. So a wrong judgement costs some load in the wrong place, and never
// an answer.
type ejection uint8

const (
	ejectedNot ejection = iota
	// ejectedLag: it is more than max_lag behind, or was and is not yet less
	// than half of that.
	ejectedLag
	// ejectedPaused: its replay is paused.
	ejectedPaused
	// ejectedDelayed: it has a recovery_min_apply_delay.
	ejectedDelayed
	// ejectedStalled: it has stood still for a while although there is
	// something to replay.
	ejectedStalled

	numEjections
)

var ejectionNames = []string{"", "lag", "paused", "delayed", "stalled"}

// judgeLocked returns what is to be thought of n now.
func (n *Node) judgeLocked(now time.Time) ejection {
	f := &n.facts
	limit := n.r.cfg.MaxLag
	switch {
	case f.st.ReplayPaused:
		return ejectedPaused
	case f.st.ApplyDelay > 0:
		return ejectedDelayed
	case n.pace.stands(now):
		return ejectedStalled
	case limit >= 0 && (f.lag > limit || f.ejected != ejectedNot && f.lag > limit/2):
		// In below half of what is out above: at the limit itself it would
		// come and go with every reading.
		return ejectedLag
	}
	return ejectedNot
}

// ejectLocked judges n, which counts as a replica, and tells once what has
// changed.
func (n *Node) ejectLocked(fx *effects, now time.Time) {
	f := &n.facts
	why := n.judgeLocked(now)
	if why == f.ejected {
		return
	}
	f.ejected = why
	if why == ejectedNot {
		fx.info("replica is preferred again", "node", n.Name, "lag_bytes", f.lag)
		return
	}
	n.ejections[why].Add(1)
	fx.warn("replica is not preferred any more", "node", n.Name, "why", ejectionNames[why], "lag_bytes", f.lag,
		"apply_delay", f.st.ApplyDelay)
}

// Ejections returns how often the node was ejected, for each reason: breaker,
// because connections to it failed, and lag, paused, delayed and stalled, because
// its replay was behind or would be.
func (n *Node) Ejections() iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		more := yield("breaker", n.health.openings.Load())
		for why := ejectedLag; more && why < numEjections; why++ {
			more = yield(ejectionNames[why], n.ejections[why].Load())
		}
	}
}
