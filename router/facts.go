package router

import (
	"context"
	"errors"
)

// identified takes in an answer of n's server.
func (r *Router) identified(n *Node, st *Status) {
	role := RoleReplica
	if !st.InRecovery {
		role = RolePrimary
	}
	wasReplica := n.Role() == RoleReplica
	n.role.Store(uint32(role))
	n.systemID.Store(st.SystemID)
	n.postmaster.Store(st.PostmasterStart)
	n.incarnation.Store(st.Incarnation)
	n.paused.Store(st.ReplayPaused)
	n.applyDelay.Store(int64(st.ApplyDelay))
	n.follows.Store(st.Timeline)
	r.update(func() {
		f := &n.facts
		f.tried, f.answers, f.up = true, true, true
		f.st = *st
		f.lag = max(int64(r.topo.Load().era.latest.Load()-uint64(st.Replay)), 0)
		switch {
		case !st.InRecovery:
			f.timeline = 0
			f.ancestry.forget()
			n.okEra.Store(0)
			if wasReplica {
				r.voidLocked(n)
			}
		case st.Timeline != 0:
			// It streams this timeline now, so all it replayed before on this
			// connection was on the way there.
			e := r.topo.Load().era
			f.timeline, f.line = st.Timeline, e.line
			if st.Timeline == e.timeline && f.ancestry.proven == e.line {
				f.followed, f.followedLine = st.Incarnation, e.line
			}
		}
		if st.InRecovery {
			f.ancestry.note(st)
		}
		// Without a WAL receiver, what was seen before on this connection
		// stands: a standby does not take back what it replayed.
	})
	if e := r.topo.Load().era; e.is(n, st) {
		e.saw(st.Insert, st.Flush)
	}
	if role == RolePrimary && wasReplica {
		n.wakeWaiters()
	}
}

// lost notes that the monitor's connection to n has ended.
func (r *Router) lost(n *Node) {
	r.update(func() {
		n.facts.up, n.facts.timeline = false, 0
		n.facts.ancestry.forget()
		r.voidLocked(n)
	})
	// What they wait for will not come on this connection.
	n.wakeWaiters()
}

// errDeparted is why a monitor ends while the router goes on.
var errDeparted = errors.New("the source does not name the server any more")

// failed notes that n's server could not be reached, or is no longer asked.
func (r *Router) failed(n *Node, err error) {
	n.role.Store(uint32(RoleUnknown))
	var news bool
	r.update(func() {
		news = n.facts.answers || !n.facts.tried
		n.facts.tried, n.facts.answers, n.facts.up, n.facts.timeline = true, false, false, 0
		n.facts.ancestry.forget()
		r.voidLocked(n)
	})
	switch {
	case !news, errors.Is(err, context.Canceled): // it shuts down
	case errors.Is(err, errDeparted):
		r.log.Info(errDeparted.Error(), "node", n.Name)
	default:
		r.log.Warn("server does not answer", "node", n.Name, "error", err)
	}
	r.hear(n, silent)
	n.wakeWaiters()
}

// voidLocked takes back all that was read on the last connection to n. The
// order matters to Node.Covers, which looks at conn first and last.
func (r *Router) voidLocked(n *Node) {
	n.okEra.Store(0)
	n.learning.Lock()
	defer n.learning.Unlock()
	n.conn.Store(r.conns.Add(1))
	if !mutantWatermarkSurvives() {
		n.watermark.Store(0)
	}
}

// trace tells the state of the monitor's connection to n.
func (r *Router) trace(n *Node, err error) {
	if f := r.cfg.Trace.Probe; f != nil {
		f(n.Name, err)
	}
}
