package router

import (
	"sync"
	"sync/atomic"
)

// ledger is what a session's clients have written, all of them together: of
// many writes the last one speaks for those before it, as a history that has
// lost one has lost every later one.
type ledger struct {
	// at is the era of which it is known what became of the writes, 0 if there
	// are none, owing if there is something to say.
	at atomic.Uint64

	mu    sync.Mutex // guards the fields below
	acked bracket
	// owed is what was found out and is not told yet.
	owed Fate
}

const owing = ^uint64(0)

// add enters an acknowledged write.
func (l *ledger) add(b bracket, r *Router) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Not older than what others have judged by: what is joined to their writes
	// is not judged by that again.
	t, ring := r.topo.Load(), &r.oracle.ring
	a := &l.acked
	switch known := max(a.era, a.judged); {
	case a.era == 0:
		*a = b
	case b.era == a.era && a.judged == 0:
		a.join(&b)
	case b.era >= known:
		// What was written before is as safe as b, or judged now.
		if b.era > known {
			l.owed = max(l.owed, t.fate(a, ring))
		}
		*a = b
	default:
		// It was sent to a primary that others know to be gone.
		if f := t.fate(&b, ring); f != FateKept {
			l.owed = max(l.owed, f)
		} else if b.era == a.era {
			a.join(&b)
		}
	}
	l.note()
}

// join makes b stand for n as well, a write of the same era.
func (b *bracket) join(n *bracket) {
	if n.gen > b.gen {
		b.gen, b.high = n.gen, n.high
	}
	// What is lost from the highest lower end on is lost for certain.
	if n.sure && (!b.sure || n.low >= b.low && (n.proven() || !b.proven())) {
		b.sure, b.low, b.in, b.dialed = true, n.low, n.in, n.dialed
	}
}

// note says in at what there is to do. l.mu is held.
func (l *ledger) note() {
	if l.owed != FateKept {
		l.at.Store(owing)
	} else {
		l.at.Store(max(l.acked.era, l.acked.judged))
	}
}

// fate returns what is to be told, once.
func (l *ledger) fate(t *Topology, ring *ring) Fate {
	if at := l.at.Load(); at == 0 || at == t.era.n {
		return FateKept
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := &l.acked; a.era != 0 && t.era.n > max(a.era, a.judged) {
		if f := t.fate(a, ring); f == FateKept {
			a.judged = t.era.n // the next change may lose it
		} else {
			l.owed, l.acked = max(l.owed, f), bracket{}
		}
	}
	f := l.owed
	l.owed = FateKept
	l.note()
	return f
}

// Acknowledged is Chain.Acknowledged for a write of c, a chain of this session,
// that Session.Fate is to speak of: whichever of the session's clients comes
// next is told what became of it.
func (s *Session) Acknowledged(c *Chain, sure bool) {
	if c.sent.era == 0 || c.s != s {
		return
	}
	b := c.sent
	b.gen, b.sure = c.own, sure
	s.writes.add(b, c.r)
}

// Fate returns what became of the writes of the session that were acknowledged
// (see Acknowledged) if the primary has changed since. That one of them is lost,
// or may be, is said once, to whoever asks first. It is to be asked before a
// statement of the session is sent, and not within a transaction.
func (s *Session) Fate() Fate {
	r := s.owner.Load()
	if r == nil {
		return FateKept
	}
	f := s.writes.fate(r.topo.Load(), &r.oracle.ring)
	r.stats.told(f)
	return f
}
