package router

import (
	"context"

	"github.com/pgroute/pgroute/lsn"
)

// Commit is a COMMIT whose answer may be lost: what has to be known of it before
// it is sent, so that it can be found out afterwards what became of it.
type Commit struct {
	// Era is that of the primary to which it is sent, and Dialed what Node.Asked
	// returned right after the connection was dialled (see Node.Covers). A server
	// that was started again a moment before that may be in another life than
	// the era says: what was written there is not gone with that.
	Era, Dialed uint64
	// XID is the transaction's number, 0 if it has none.
	XID uint64
	// Position is the primary's insert position at some time between the write
	// that gave the transaction its number and its COMMIT, as the server says
	// it: what was written first under that number lies before it, the record of
	// its end behind it.
	Position lsn.LSN
	// Flushed is the primary's flush position, asked for on the same connection
	// between Position and the COMMIT, 0 if it was not.
	Flushed lsn.LSN
}

// Outcome is what became of a transaction.
type Outcome uint8

const (
	// OutcomeUnknown: it was committed or not, and nobody can say which.
	OutcomeUnknown Outcome = iota
	// OutcomeCommitted: it was committed, and is part of the history of the
	// primary that was asked.
	OutcomeCommitted
	// OutcomeAborted: nothing of it is there, nor will it ever be.
	OutcomeAborted
	// OutcomeNotAsked: as OutcomeUnknown; its number was not known, so nobody
	// was asked. No inquiry ends so: it is for Chain.Resolved.
	OutcomeNotAsked

	// numOutcomes is how many there are.
	numOutcomes = iota
)

// String returns unknown, committed, aborted or not_asked.
func (o Outcome) String() string {
	return nameOf([]string{"unknown", "committed", "aborted", "not_asked"}, int(o))
}

// Verdict answers an Inquiry.
type Verdict struct {
	// Outcome is what became of the transaction, OutcomeUnknown if nobody can
	// say.
	Outcome Outcome
	// Era is that of the primary that said so.
	Era uint64
	// Reason says in words why the outcome is not known.
	Reason string
}

// XactState is what a primary says of a transaction's number.
type XactState uint8

// The states, as pg_xact_status names them. XactForgotten is its NULL: the
// transaction is too old.
const (
	XactForgotten XactState = iota
	XactInProgress
	XactCommitted
	XactAborted
)

// An OutcomeProbe is a Probe that can be asked what became of transactions. The
// outcome of a COMMIT is unknown if the router's probes are none.
type OutcomeProbe interface {
	// Outcomes asks a primary, and returns a state for each number. One that it
	// has not given to anybody yet is in progress.
	Outcomes(ctx context.Context, xids []uint64) ([]XactState, error)
}

// outcome judges what the primary of t's era says of c's number. It is false
// while the transaction has not ended.
//
// A server that takes over gives numbers out again that it has not heard of: the
// number counts only if the history that it goes on with contains the position
// that was asked for before the COMMIT, and with it what the transaction wrote
// under that number.
func (t *Topology) outcome(c *Commit, state XactState) (Verdict, bool) {
	v := Verdict{Era: t.era.n}
	ours, why := true, ""
	in := t.remembered(c.Era)
	// A connection may lead to a later life of the server than its era says, of
	// which nobody had heard yet (see bracket): then that it is not part of what
	// a change has kept says nothing.
	proven := in != nil && in.confirmed.Load() > c.Dialed
	// Between two looks of a monitor the primary may have crashed, lost what it
	// had not flushed, given the number out again, and written on beyond the
	// position. It cannot have lost what was seen flushed, by a monitor or on the
	// transaction's own connection, which does not outlive the life that gave the
	// number out.
	again := c.Flushed < c.Position && (in == nil || lsn.LSN(in.flush.Load()) < c.Position)
	changed := false
	for n := c.Era + 1; n <= t.era.n && !mutantNoReuseGuard(); n++ {
		e := t.remembered(n)
		changed = changed || e == nil || !e.from.same()
		switch {
		case e == nil:
			ours, why = false, "the primary has changed too often since"
			continue
		case !proven && (e.from.kept < c.Position || !e.from.same() && e.nextXID != 0 && c.XID >= e.nextXID):
			ours, why = false, "it is not known in which life of the server it ran"
		case e.from.gone <= c.Position, !e.from.same() && e.nextXID != 0 && c.XID >= e.nextXID:
			// The record of the COMMIT lay behind that. Or when the server took
			// over it knew of the end of no transaction with such a number, so it
			// did not know of this COMMIT.
			v.Outcome = OutcomeAborted
			return v, true
		case e.from.kept < c.Position:
			ours, why = false, "it is not known how much of its history the primary has kept"
		}
	}
	switch {
	case !ours:
		v.Reason = why
	case state == XactInProgress:
		return v, false
	case state == XactCommitted && changed && again:
		v.Reason = "what the transaction wrote was not seen flushed, so that its number may have been given out again"
	case state == XactCommitted:
		v.Outcome = OutcomeCommitted
	case state == XactAborted:
		v.Outcome = OutcomeAborted
	default:
		v.Reason = "the server does not remember the transaction"
	}
	return v, true
}

// remembered returns the era with a number, nil if it is not known any more.
func (t *Topology) remembered(n uint64) *era {
	for _, e := range t.eras {
		if e.n == n {
			return e
		}
	}
	return nil
}

// Committing notes that the COMMIT k is on its way. Should its answer be lost, that
// it took effect is believed only if k.Position was seen flushed before, by the
// life of the server that it was sent to: so the primary is asked until it was.
// It costs a few atomic operations and does not allocate.
func (c *Chain) Committing(k *Commit) {
	e := c.r.topo.Load().era
	if k.XID == 0 || k.Position == 0 || e.n != k.Era {
		return
	}
	proven := e.confirmed.Load() > k.Dialed
	if proven {
		raise(&e.flush, uint64(k.Flushed)) // others wait for that, too
	}
	if !proven || e.flush.Load() < uint64(k.Position) {
		c.r.oracle.watch(e, k.Position)
	}
}

// Resolved notes what became of a COMMIT whose answer was lost, before the
// client is told. If it was committed, Acknowledged speaks of it from now on.
func (c *Chain) Resolved(k *Commit, v *Verdict) {
	c.r.stats.commits[v.Outcome].Add(1)
	if v.Outcome == OutcomeCommitted {
		c.sent = bracket{era: v.Era, low: k.Position}
	}
}
