package router

import (
	"sync/atomic"

	"github.com/pgroute/pgroute/lsn"
)

// era is one life of one primary as this router has seen it. LSNs may be
// compared as numbers only within an era. It is immutable but for the
// positions, which only grow.
type era struct {
	// n counts the eras; 0 is the one before any primary was seen.
	n uint64
	// line counts the histories: it stays the same when the new era is only a
	// restart of the primary, so that whoever followed the timeline still does.
	line        uint64
	node        *Node
	systemID    uint64
	timeline    uint32
	begin       lsn.LSN
	beginKnown  bool
	history     []lsn.Switch
	incarnation int64
	blockSize   int

	// from is what this era has kept of the one before.
	from passage

	// nextXID is Status.NextXID when it was first met.
	nextXID uint64

	// start is the first insert position that was asked for after the era
	// began, 0 until it is known. Whatever survived from earlier eras lies
	// before it, so it stands for every floor of an earlier era.
	start atomic.Uint64
	// latest is the highest insert position known, normalised; flush the
	// highest flush position.
	latest, flush atomic.Uint64
	// awaited is the highest position of a COMMIT that was sent: until it was
	// seen flushed, the oracle goes on asking. See Chain.Committing.
	awaited atomic.Uint64
	// confirmed is the highest number of a question (see Node.asked) that the
	// server answered in this life.
	confirmed atomic.Uint64
}

// Floor is a position that a read must find replayed: an LSN within an era.
// The zero Floor belongs to no era and is covered by nothing.
type Floor struct {
	// Era is the era that LSN belongs to.
	Era uint64
	// LSN is what has to be replayed; 0 asks for nothing within the era.
	LSN lsn.LSN
	// Unproven is true in the answer to a ticket that may have been taken
	// before the primary, or its incarnation, changed: that what it stands for
	// has survived the change is not proven.
	Unproven bool

	// stay is the monitor connection that the node must still have, for a
	// client that reads on at the same replica; 0 if that does not matter.
	stay uint64
	// insert is the insert position that was read together with LSN.
	insert lsn.LSN
}

// newEra returns the era that follows prev with node as its primary, whose
// status was just read.
func newEra(prev *era, node *Node, st *Status) *era {
	e := &era{
		n:           prev.n + 1,
		line:        prev.line,
		node:        node,
		systemID:    st.SystemID,
		timeline:    st.Timeline,
		begin:       st.Begin,
		beginKnown:  st.BeginKnown,
		history:     st.History,
		incarnation: st.Incarnation,
		blockSize:   st.BlockSize,
		nextXID:     st.NextXID,
	}
	sameLine := prev.n != 0 && prev.systemID == e.systemID && prev.timeline == e.timeline &&
		(prev.begin == e.begin || !prev.beginKnown || !e.beginKnown)
	if !sameLine {
		e.line++
	}
	e.from = prev.passageTo(e, st)
	// Another life of the primary may have lost positions that were known.
	raise(&e.latest, uint64(e.normalize(st.Insert)))
	return e
}

// is reports whether a server with status st is the primary of this era.
func (e *era) is(node *Node, st *Status) bool {
	return e.n != 0 && e.node == node && !st.InRecovery && e.systemID == st.SystemID && e.timeline == st.Timeline &&
		e.incarnation == st.Incarnation && e.begin == st.Begin && e.beginKnown == st.BeginKnown
}

// normalize turns an insert position into one that a replica can reach.
func (e *era) normalize(insert lsn.LSN) lsn.LSN {
	if mutantRawInsert() {
		return insert
	}
	return lsn.NormalizeInsert(insert, e.blockSize)
}

// saw notes positions that the primary of this era answered with.
func (e *era) saw(insert, flush lsn.LSN) {
	raise(&e.latest, uint64(e.normalize(insert)))
	raise(&e.flush, uint64(flush))
}

// unflushed reports whether a COMMIT was sent whose position was not seen flushed.
func (e *era) unflushed() bool { return e.flush.Load() < e.awaited.Load() }

// lift translates f, of this era or an earlier one, into an LSN of this era.
// It is false while that is not known.
func (e *era) lift(f Floor) (lsn.LSN, bool) {
	switch {
	case f.Era == e.n:
		return f.LSN, true
	case f.Era > e.n:
		return 0, false
	case mutantTimelineIgnored():
		return f.LSN, true
	}
	start := lsn.LSN(e.start.Load())
	return start, start != 0
}

// position returns where f, a floor of this era, lies in the world.
func (e *era) position(f Floor) lsn.Position {
	return lsn.Position{SystemID: e.systemID, Timeline: e.timeline, Begin: e.begin, LSN: f.LSN, Incarnation: e.incarnation}
}

// raise sets a to at least v.
func raise(a *atomic.Uint64, v uint64) {
	for {
		old := a.Load()
		if old >= v || a.CompareAndSwap(old, v) {
			return
		}
	}
}
