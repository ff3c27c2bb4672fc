package router

import (
	"fmt"

	"github.com/pgroute/pgroute/lsn"
)

// TokenFloor returns the floor that a token stands for. answer must be that of
// a ticket which was taken after the token arrived: a token beyond it is
// hostile or comes from elsewhere, and is refused rather than waited for. A
// token of an earlier timeline, or of an earlier life of the primary, stands for
// everything that survived, and so for the answer, whether the history that is
// known here names it or not. The error is one of ErrFutureToken,
// ErrForeignToken, ErrUnknownTimeline, which may end (see AwaitToken), and
// ErrNoEra.
func (r *Router) TokenFloor(pos lsn.Position, answer Floor) (Floor, error) {
	t := r.topo.Load()
	e := t.era
	if e.n == 0 || answer.Era != e.n {
		return Floor{}, ErrNoEra
	}
	switch {
	case pos.SystemID != e.systemID:
		return Floor{}, fmt.Errorf("%w: its system identifier is %d, ours is %d", ErrForeignToken, pos.SystemID, e.systemID)
	case pos.Timeline == 0 || pos.Timeline > e.timeline:
		return Floor{}, fmt.Errorf("%w: timeline %d, the primary is on %d", ErrUnknownTimeline, pos.Timeline, e.timeline)
	case pos.Timeline < e.timeline, pos.Incarnation < e.incarnation, t.outlived(pos):
		// What survived of an older history lies before any position of the
		// present one. Whether the token's own position survived is not
		// claimed here.
		return Floor{Era: e.n, LSN: answer.LSN}, nil
	case pos.Incarnation > e.incarnation:
		return Floor{}, fmt.Errorf("%w: it comes from a later life of the primary than is known", ErrUnknownTimeline)
	case e.beginKnown && pos.BeginKnown() && pos.Begin != e.begin:
		return Floor{}, fmt.Errorf("%w: timeline %d that began at %s, ours began at %s", ErrUnknownTimeline, pos.Timeline, pos.Begin, e.begin)
	case pos.LSN > max(answer.insert, answer.LSN):
		return Floor{}, fmt.Errorf("%w: it is at %s, the primary at %s", ErrFutureToken, pos.LSN, max(answer.insert, answer.LSN))
	}
	return Floor{Era: e.n, LSN: pos.LSN}, nil
}

// outlived reports whether pos, on the timeline of the present era, was made in
// an earlier one that is remembered. Lives are told apart by a clock, and clocks
// are set back: an earlier life may have the larger number.
func (t *Topology) outlived(pos lsn.Position) bool {
	for _, e := range t.eras {
		if e.systemID == pos.SystemID && e.timeline == pos.Timeline && e.incarnation == pos.Incarnation && pos.Incarnation != t.era.incarnation {
			return true
		}
	}
	return false
}

// TokenPosition returns where f lies in the world, to be made into a token. It
// is the zero Position if f belongs to an era that is forgotten.
func (r *Router) TokenPosition(f Floor) lsn.Position {
	for _, e := range r.topo.Load().eras {
		if e.n == f.Era {
			return e.position(f)
		}
	}
	return lsn.Position{}
}

// tokenFloor is what several tokens ask for together.
type tokenFloor struct {
	Floor
	// start is true if also all that survived into the floor's era is asked
	// for: a token of an earlier era was among them.
	start bool
}

// raise adds what the floor f asks for.
func (t *tokenFloor) raise(f Floor) {
	switch {
	case f.Era == 0:
	case t.Era == 0:
		t.Floor = f
	case f.Era == t.Era:
		t.LSN = max(t.LSN, f.LSN)
	default:
		// The older of the two becomes the start of its successor's era.
		if f.Era > t.Era {
			t.Floor = f
		}
		t.start = true
	}
}

// add adds what o asks for.
func (t *tokenFloor) add(o *tokenFloor) {
	t.raise(o.Floor)
	t.start = t.start || o.start
}
