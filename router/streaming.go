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
		f.starved = time.Time{}
		return
	}
	n.streams.Store(f.st.Timeline != 0)
	switch {
	case f.st.Timeline != 0:
		if f.hungry {
			fx.info("replica streams again", "node", n.Name)
		}
		f.starved, f.hungry = time.Time{}, false
	case f.starved.IsZero() || !led:
		f.starved = now
	case !f.hungry && f.timeline != 0 && now.Sub(f.starved) >= streamGrace:
		f.hungry = true
		fx.warn("replica does not stream: it serves what it has replayed, and falls behind", "node", n.Name)
	}
}
