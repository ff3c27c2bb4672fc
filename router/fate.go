package router

import (
	"math"
	"slices"

	"github.com/pgroute/pgroute/lsn"
)

// Fate is what became of an acknowledged write when the primary, or its
// incarnation, changed.
type Fate uint8

const (
	// FateKept: the write is part of the cluster's history, or nothing is known
	// that would say otherwise.
	FateKept Fate = iota
	// FateMaybeLost: the history may have ended before the write.
	FateMaybeLost
	// FateLost: the history ended before the write.
	FateLost
)

// String returns kept, may be lost or lost.
func (f Fate) String() string {
	return nameOf([]string{"kept", "may be lost", "lost"}, int(f))
}

// passage is what is known of how much of an era's WAL the next era kept:
// everything at or before kept is there, everything beyond gone is not.
type passage struct {
	kept, gone lsn.LSN
}

// same reports whether it is still the same life of the server: everything that
// it has acknowledged, and will acknowledge, is there.
func (p passage) same() bool { return p.kept == math.MaxUint64 }

// passageTo returns what e, the era after prev, has kept of prev. Router.mu is
// held.
func (prev *era) passageTo(e *era, st *Status) passage {
	unknown := passage{0, math.MaxUint64}
	switch {
	case prev.systemID == e.systemID && prev.incarnation == e.incarnation &&
		(prev.node == e.node || prev.incarnation != 0 && prev.line == e.line):
		return passage{math.MaxUint64, math.MaxUint64} // only what is known of it has changed
	case prev.n == 0 || prev.systemID != e.systemID:
		return unknown
	case e.node.facts.ancestry.astray == st.PostmasterStart && st.PostmasterStart != 0:
		// It was ahead of prev's server, and is promoted nevertheless: its history
		// says that it has followed that, and cannot be believed.
		return unknown
	case e.line == prev.line && e.node != prev.node:
		return unknown // two servers do not go on with one timeline
	case e.line == prev.line && st.Recovered != 0:
		return passage{st.Recovered, st.Recovered}
	case e.line == prev.line && st.CleanStart && uint64(st.Insert) >= prev.latest.Load():
		return passage{st.Insert, st.Insert} // nor is it an old copy of its files
	case e.line == prev.line:
		// The server was started again: what it had flushed it still has, and
		// what it has now it has not lost.
		return passage{min(lsn.LSN(prev.flush.Load()), st.Insert), st.Insert}
	case !e.beginKnown:
		if st.Recovered == 0 || e.timeline != prev.timeline+1 {
			return unknown
		}
		if f := &e.node.facts; f.followed != st.Incarnation || f.followedLine != prev.line {
			// It may have recovered from a crash since it was promoted, or have
			// followed another timeline before: it left prev's before that.
			return passage{0, st.Recovered}
		}
		return passage{st.Recovered, st.Recovered}
	}
	return prev.forkTo(e)
}

// forkTo returns what e has kept of prev, an era of another timeline: what lies
// before the point where their histories part. A timeline that left before
// prev's began lacks also some of what prev itself had kept.
func (prev *era) forkTo(e *era) passage {
	if !prev.beginKnown {
		return passage{0, math.MaxUint64}
	}
	ours := append(slices.Clone(prev.history), lsn.Switch{Timeline: prev.timeline, Begin: prev.begin, End: math.MaxUint64})
	theirs := append(slices.Clone(e.history), lsn.Switch{Timeline: e.timeline, Begin: e.begin, End: math.MaxUint64})
	// Without a timeline in common they parted before the oldest that is known.
	fork := passage{0, min(ours[0].Begin, theirs[0].Begin)}
	for _, a := range ours {
		for _, b := range theirs {
			switch {
			case a.Timeline != b.Timeline:
			case a.Timeline > 1 && (a.Begin == 0 || b.Begin == 0):
				return passage{0, math.MaxUint64} // perhaps two of one number
			case a.Begin == b.Begin:
				fork = passage{min(a.End, b.End), min(a.End, b.End)}
			}
		}
	}
	return fork
}

// bracket is what a chain knows of where its last acknowledged write lies: the
// position that was known before it was sent, and the ticket taken after it.
type bracket struct {
	era  uint64 // 0: there is none
	low  lsn.LSN
	gen  uint64
	sure bool // it wrote something
	// in is the era, dialed what Node.Asked said after the connection was dialled.
	in     *era
	dialed uint64
	// judged is the last era that is known to have kept the write, 0 if none was
	// asked for; high the position that it lies before, once that is known.
	judged uint64
	high   lsn.LSN
}

// proven reports whether the write ran in the life of the primary that its era
// stands for. A connection that was dialled in that era may belong to a later
// life of the server, of which nobody had heard yet; it does not, if the server
// was asked after that and was still the same.
func (b *bracket) proven() bool { return b.in != nil && b.in.confirmed.Load() > b.dialed }

// Writing notes that something that may write is about to be sent on a connection
// to the primary: era is that of the topology in which it was dialled, and dialed
// what Node.Asked returned right after that (see Node.Covers), 0 if it is not
// known. A server that was started again a moment before it was dialled may be in
// another life than its era says: what was written there is not said to be lost.
func (c *Chain) Writing(era, dialed uint64) {
	t := c.r.topo.Load()
	c.sent = bracket{era: era, dialed: dialed}
	in := t.era
	for i := 0; in.n != era; i++ {
		if i == len(t.eras) {
			return // it is forgotten
		}
		in = t.eras[i]
	}
	c.sent.in, c.sent.low = in, lsn.LSN(in.latest.Load())
}

// Acknowledged notes that what was sent after Writing has been acknowledged. It
// is called after Wrote, which took the ticket that covers it. With sure it is
// certain that something was written.
func (c *Chain) Acknowledged(sure bool) {
	if c.sent.era == 0 {
		return
	}
	c.acked = c.sent
	c.acked.gen, c.acked.sure = c.own, sure
}

// Fate returns what became of the chain's last acknowledged write if the primary
// has changed since. That it is lost, or may be, is said once. It is called when
// the chain is between two transactions.
func (c *Chain) Fate() Fate {
	if c.acked.era == 0 {
		return FateKept
	}
	t := c.r.topo.Load()
	if t.era.n == max(c.acked.era, c.acked.judged) {
		return FateKept
	}
	f := t.fate(&c.acked, &c.r.oracle.ring)
	if f == FateKept {
		c.acked.judged = t.era.n // the next change may lose it
		return f
	}
	c.acked = bracket{}
	c.r.stats.told(f)
	return f
}

// fate judges a bracket by every change of the primary since.
func (t *Topology) fate(b *bracket, ring *ring) Fate {
	if mutantBracketIgnored() {
		return FateLost
	}
	if f, ok := ring.answer(b.gen); b.high == 0 && ok && f.Era == b.era && !f.Unproven {
		b.high = f.insert
	}
	worst := FateKept
	next := max(b.era, b.judged) + 1
	for _, e := range t.eras {
		if e.n < next {
			continue
		}
		if e.n > next {
			return max(worst, FateMaybeLost) // too long ago
		}
		next++
		switch {
		case e.from.same(), b.high != 0 && b.high <= e.from.kept:
		case b.sure && b.low >= e.from.gone && b.proven():
			return FateLost
		default:
			worst = FateMaybeLost
		}
	}
	return worst
}
