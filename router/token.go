package router

import (
	"fmt"

	"github.com/pgroute/pgroute/lsn"
)

// TokenFloor returns the floor that a token stands for. answer must be that of
// a ticket which was taken after the token arrived: a token beyond it is
// hostile or comes from elsewhere, and is refused rather than waited for. The
// error is one of ErrFutureToken, ErrForeignToken, ErrUnknownTimeline and
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
	case pos.Timeline < e.timeline, t.outlived(pos):
		// What survived of an older history lies before any position of the
		// present one. Whether the token's own position survived is not
		// claimed here.
		return Floor{Era: e.n, LSN: answer.LSN}, nil
	case e.beginKnown && pos.Begin != 0 && pos.Begin != e.begin:
		// Which of two timelines of one number came first their servers' clocks
		// do not tell.
		return Floor{}, fmt.Errorf("%w: timeline %d that began at %s, ours began at %s", ErrUnknownTimeline, pos.Timeline, pos.Begin, e.begin)
	case pos.Incarnation != e.incarnation:
		// Another life of this primary. This one has answered after the token was
		// there, so that it is the later of the two, whatever the server's clock
		// said when they began.
		return Floor{Era: e.n, LSN: answer.LSN}, nil
	case pos.LSN > max(answer.insert, answer.LSN):
		return Floor{}, fmt.Errorf("%w: it is at %s, the primary at %s", ErrFutureToken, pos.LSN, max(answer.insert, answer.LSN))
	}
	return Floor{Era: e.n, LSN: pos.LSN}, nil
}

// outlived reports whether pos lies in an era before t's own that is remembered.
func (t *Topology) outlived(pos lsn.Position) bool {
	for _, e := range t.eras {
		if e.position(Floor{LSN: pos.LSN}) == pos {
			return !pos.SameIncarnation(t.era.position(Floor{}))
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
