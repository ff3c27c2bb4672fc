package router

import (
	"fmt"

	"github.com/pgroute/pgroute/lsn"
)

// ancestry is what is known of whether a standby's WAL is the primary's. A
// server that was recovered by itself and then made a standby again has written
// WAL of its own, on a timeline of the same number: Patroni does that before it
// calls pg_rewind, or decides that there is no need to. Its positions say
// nothing. It gives itself away by being ahead of the primary, which then passes
// it, and until that it tries to stream, as a sound standby does.
type ancestry struct {
	// first is what it had replayed when it was first asked on the monitor's
	// connection. It is proven to come from the primary of the era line, once that
	// has a position which is not before it.
	first  lsn.LSN
	proven uint64
	// ticket is of the primary of era, taken after first was read; 0: none.
	ticket, era uint64
	// astray is the PostmasterStart of a server that was ahead of the primary. It
	// stays left out until it has started again.
	astray int64
}

// note takes in the answer of a standby.
func (a *ancestry) note(st *Status) {
	if a.first == 0 {
		a.first = st.Replay
	}
	if a.astray != st.PostmasterStart {
		a.astray = 0
	}
}

// forget forgets what belongs to the monitor's connection.
func (a *ancestry) forget() { *a = ancestry{astray: a.astray} }

// comesFromLocked reports whether n's WAL is that of t's primary as far as
// anybody can tell. While there is no primary, nobody can.
func (r *Router) comesFromLocked(fx *effects, n *Node, t *Topology) bool {
	a, e := &n.facts.ancestry, t.era
	switch {
	case a.astray != 0:
		return false
	case t.Primary == nil || a.first == 0 || a.proven == e.line || mutantTimelineIgnored():
		return true
	case uint64(a.first) <= e.latest.Load()+uint64(e.blockSize):
		a.proven, a.ticket = e.line, 0
		return true
	case a.ticket == 0 || a.era != e.n:
		a.ticket, a.era = r.oracle.sent.Load()+1, e.n
	case r.oracle.answered(e, a.ticket):
		a.astray, a.ticket = n.facts.st.PostmasterStart, 0
		fx.warn("replica is left out until it starts again: it is ahead of the primary, so what it replayed is not the primary's", "node", n.Name,
			"replayed", a.first.String(), "primary", fmt.Sprintf("%s at %s", t.Primary.Name, lsn.LSN(e.latest.Load())))
		return false
	}
	fx.ticket = a.ticket
	return false
}
