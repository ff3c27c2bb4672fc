package router

// Reason says why a statement ran where it ran. It is a closed set that
// decisions, metrics and logs share.
type Reason uint8

// The reasons. The router gives some of them; the others are for those who
// route without asking it.
const (
	// ReasonNone: nothing was decided.
	ReasonNone Reason = iota
	// ReasonCovered: a replica covered the floor when the read came.
	ReasonCovered
	// ReasonWaited: a replica covered the floor after a wait.
	ReasonWaited
	// ReasonProof: a check in front of the read proved the floor. It is reserved:
	// nothing gives it today.
	ReasonProof
	// ReasonLevel: the level asks for it.
	ReasonLevel
	// ReasonTransaction: the transaction runs there already.
	ReasonTransaction
	// ReasonPinned: the client is pinned there.
	ReasonPinned
	// ReasonNotCovered: no replica covered the floor in time.
	ReasonNotCovered
	// ReasonNoReplica: there was no replica to ask.
	ReasonNoReplica
	// ReasonRedo: it ran elsewhere before and its answer was discarded.
	ReasonRedo
	// ReasonHint: a hint in the statement asks for it.
	ReasonHint
	// ReasonWrite: it is not proven to be a read.
	ReasonWrite

	numReasons
)

var reasonNames = []string{"none", "covered", "waited", "proof", "level", "transaction", "pinned", "not_covered",
	"no_replica", "redo", "hint", "write"}

// String returns the reason as metrics and SHOW pgroute.last_route spell it.
func (r Reason) String() string { return nameOf(reasonNames, int(r)) }
