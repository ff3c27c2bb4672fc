package router

import "time"

// streamGrace is how long a standby may be without its WAL receiver before that
// is told: it restarts with every change of its upstream.
const streamGrace = 2 * time.Second

// Streams reports whether the node is a standby that had a WAL receiver when it
// was last asked. One without goes on serving what it has replayed: reads that
// must see more wait, or go elsewhere.
func (n *Node) Streams() bool { return n.streams.Load() }

// streamsLocked tells when a standby that streamed does not any more, because
// its slot is lost, for instance, or the WAL that it needs, and when it does
// again. While nobody leads nobody streams for long.
func (r *Router) streamsLocked(fx *effects, n *Node, now time.Time, led bool) {
	f := &n.facts
	if !f.up || !f.st.InRecovery {
		n.streams.Store(false)
		f.hungry, f.turned = false, time.Time{}
		return
	}
	streams := f.st.Timeline != 0
	n.streams.Store(streams)
	if streams != f.hungry || !led || f.timeline == 0 {
		f.turned = time.Time{} // as it is known, or not to be judged now
		return
	}
	if f.turned.IsZero() {
		f.turned = now
	}
	// A receiver that cannot get what it needs comes and goes.
	if now.Sub(f.turned) < streamGrace {
		return
	}
	f.hungry, f.turned = !streams, time.Time{}
	if f.hungry {
		fx.warn("replica does not stream: it serves what it has replayed, and falls behind", "node", n.Name)
	} else {
		fx.info("replica streams again", "node", n.Name)
	}
}
