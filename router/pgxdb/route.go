package pgxdb

import (
	"time"

	"github.com/pgroute/pgroute/router"
)

// Route says where a statement ran, and why.
type Route struct {
	// Node is the name of the server, and Role what it was when that was
	// decided.
	Node string
	Role router.Role
	// Reason says why there.
	Reason router.Reason
	// Waited is how long it took to find the place: for a replica to get
	// there, or for a primary to be there.
	Waited time.Duration
	// Level is the consistency level of a read. For a write it is primary.
	Level router.Level
	// Stale is true if a replica answered that does not have what the level
	// promises, as the policy stale allows.
	Stale bool
}

// policy is how a read is routed.
type policy struct {
	level        router.Level
	onTimeout    router.OnTimeout
	wait         time.Duration
	maxStaleness time.Duration
}

// verb says how a Queries tells reads from writes.
type verb uint8

const (
	// verbWrite: everything runs on the primary.
	verbWrite verb = iota
	// verbDB is verbWrite, but for transactions that say READ ONLY.
	verbDB
	// verbRead: everything is a read.
	verbRead
	// verbAuto: the classifier tells.
	verbAuto
)
