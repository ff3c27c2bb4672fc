package router

import (
	"errors"
	"fmt"
	"math"

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
	case pos.Timeline < e.timeline, t.outlived(pos):
		// What survived of an older history lies before any position of the
		// present one. Whether the token's own position survived is not
		// claimed here.
		return Floor{Era: e.n, LSN: answer.LSN}, nil
	case e.beginKnown && pos.BeginKnown() && pos.Begin != e.begin:
		// Which of two timelines of one number came first their servers' clocks
		// do not tell.
		return Floor{}, fmt.Errorf("%w: timeline %d that began at %s, ours began at %s", ErrUnknownTimeline, pos.Timeline, pos.Begin, e.begin)
	case pos.Incarnation != e.incarnation && !(e.beginKnown && pos.BeginKnown()):
		return Floor{}, fmt.Errorf("%w: whether it comes from this timeline %d is not known", ErrUnknownTimeline, pos.Timeline)
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

// outlived reports whether pos was made in an era before t's own that is
// remembered.
func (t *Topology) outlived(pos lsn.Position) bool {
	for _, e := range t.eras {
		if pos.SameIncarnation(e.position(Floor{})) {
			return !pos.SameIncarnation(t.era.position(Floor{}))
		}
	}
	return false
}

// TokenCheck is the check of one token that has arrived. It is the caller's, who
// makes it by CheckToken and hands it to AwaitToken.
type TokenCheck struct {
	pos lsn.Position
	// gen is a ticket that was taken after the token had arrived.
	gen uint64
	// round is the first round of questions who the servers are that began after
	// that, 0 if none was needed.
	round uint64
}

// CheckToken begins the check of a token that has arrived.
func (r *Router) CheckToken(pos lsn.Position) TokenCheck {
	return TokenCheck{pos: pos, gen: r.Ticket()}
}

// AwaitToken is Await for t: the answer that it returns is to be given to
// TokenFloor. A token may be news of a primary that this router has not heard
// of. Then it is not refused before every server that answers has said who it is
// since the token came, and there is a primary, and no server follows the
// token's timeline. How long that may take is for the caller to bound: Await for
// TokenCheck.Ticket gives what TokenFloor judges by until then.
func (r *Router) AwaitToken(q *Request, t *TokenCheck, w Waiter) (answer Floor, ok bool) {
	for {
		if answer, ok = r.Await(q, t.gen, w); !ok {
			return Floor{}, false
		}
		_, err := r.TokenFloor(t.pos, answer)
		if errors.Is(err, ErrUnknownTimeline) {
			if t.round == 0 {
				t.round = r.askAll()
			}
			// What changes from here on wakes w.
			q.arm(1, w)
			q.register(&r.tokens, 1)
			_, err = r.TokenFloor(t.pos, answer)
			if errors.Is(err, ErrUnknownTimeline) && r.mayLearn(t) {
				return Floor{}, false
			}
			r.disarm(q)
		}
		if !errors.Is(err, ErrNoEra) {
			return answer, true
		}
		t.gen = r.Ticket() // the primary has changed since the last one
	}
}

// Ticket returns a ticket that was taken after the token had arrived.
func (t *TokenCheck) Ticket() uint64 { return t.gen }

// silent is the round that a node which does not answer is said to have heard:
// nobody waits for it.
const silent = math.MaxUint64

// askAll asks all servers who they are, and returns the number of that round.
func (r *Router) askAll() uint64 {
	round := r.rounds.Add(1)
	for _, n := range r.topo.Load().Nodes {
		n.KickIdentify()
	}
	return round
}

// hear notes that n's facts contain what it said in a round, and what follows
// from that is published.
func (r *Router) hear(n *Node, round uint64) {
	n.heard.Store(round)
	r.tokens.wakeAll()
}

// mayLearn reports whether the timeline, or the life, of t's token may still
// become known.
func (r *Router) mayLearn(t *TokenCheck) bool {
	topo := r.topo.Load()
	if topo.Primary == nil {
		return true // the next one may be on it
	}
	for _, n := range topo.Nodes {
		heard, follows := n.heard.Load(), n.follows.Load()
		switch {
		case heard == silent:
		case heard < t.round:
			return true
		case follows > topo.era.timeline && follows >= t.pos.Timeline && n.SystemID() == topo.era.systemID:
			return true // there is a primary of it, or has been
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
