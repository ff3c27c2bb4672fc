package router

import "errors"

// The SQLSTATEs of routing.
const (
	// stateNotReached is PR001: no replica reached the floor in time.
	stateNotReached = "PR001"
	// stateNoPrimary is 57P03, cannot_connect_now: there is no primary.
	stateNoPrimary = "57P03"
	// stateSerialization is 40001: a read-only transaction cannot go on with
	// this replica and should be retried as a whole.
	stateSerialization = "40001"
)

// RouteError says why a statement cannot run anywhere. It is found by errors.As
// in what Router.Primary, Router.Pick and Decision.Err return.
type RouteError struct {
	// Code is the SQLSTATE: 57P03 if there is no primary, PR001 if no server may
	// show the read what it must see, 40001 if the replica on which its
	// transaction runs cannot go on with it.
	Code string
	// Message and Detail are for the client. Detail may be empty.
	Message string
	Detail  string
}

// Error returns message and detail.
func (e *RouteError) Error() string {
	if e.Detail == "" {
		return e.Message
	}
	return e.Message + ": " + e.Detail
}

// SQLState returns the SQLSTATE to tell the client.
func (e *RouteError) SQLState() string { return e.Code }

// NoPrimary reports whether it would have run if there had been a primary, so
// that waiting for one makes sense (see Router.WaitTopology).
func (e *RouteError) NoPrimary() bool { return e.Code == stateNoPrimary }

// What TokenFloor refuses a token with.
var (
	// ErrFutureToken: the token lies beyond a position of the primary that was
	// asked after the token arrived. No server of this cluster can have
	// issued it.
	ErrFutureToken = errors.New("token is ahead of the primary")
	// ErrForeignToken: the token comes from another cluster.
	ErrForeignToken = errors.New("token belongs to another cluster")
	// ErrUnknownTimeline: the token names a timeline above the primary's, or the
	// primary's timeline with another beginning. Timelines and lives before the
	// present one are not refused.
	ErrUnknownTimeline = errors.New("token is on a timeline that is not part of the primary's history")
	// ErrNoEra: no primary has been seen yet, or it has changed since the
	// answer that the token was to be compared with. Take another ticket.
	ErrNoEra = errors.New("the primary is not known or has just changed")
)
