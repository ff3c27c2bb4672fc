package store

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// What a request can be refused with.
var (
	ErrSeatTaken = errors.New("the seat is taken")
	ErrNoSeat    = errors.New("there is no such seat")
	ErrNoSlot    = errors.New("there is no such slot")
	ErrNoRoom    = errors.New("there is no such room")
	ErrNoBooking = errors.New("there is no such booking")
	ErrPast      = errors.New("the slot has begun already")
	ErrKeyReused = errors.New("the idempotency key was used for another booking")
	ErrCancelled = errors.New("the booking with this idempotency key was cancelled")
	ErrBadToken  = errors.New("bad token")
	// ErrNotFresh: no server was far enough in time, and the policy is to say
	// so rather than to ask the primary.
	ErrNotFresh = errors.New("no server is far enough")
	// ErrUnavailable: the database could not be reached in time. Whether
	// something was written is not known; the same request may be sent again.
	ErrUnavailable = errors.New("the database cannot be reached now")
)

// SQLSTATEs that mean something here.
const (
	stateInvalidParameter = "22023"
	stateForeignKey       = "23503"
	stateUnique           = "23505"
	stateExclusion        = "23P01"
	stateNotFresh         = "PR001"
)

// sqlState returns the SQLSTATE of an error, of PostgreSQL's or of pgroute's,
// or nothing.
func sqlState(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

// transient reports whether the same statement may succeed in a moment: the
// connection was lost, a server is restarting, there is no primary, two
// transactions were in each other's way. It says nothing about whether the
// statement was carried out; so pgconn.SafeToRetry, which is about that, is not
// asked: it is also true of a connection that is in use, which no patience mends.
func transient(err error) bool {
	switch state := sqlState(err); {
	case state == "":
	case strings.HasPrefix(state, "08"), strings.HasPrefix(state, "57P"),
		state == "40001", state == "40P01",
		state == "53300", // too many connections
		state == "25006": // the server is no primary any more
		return true
	default:
		return false
	}
	var dial *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &dial) || errors.As(err, &network) || errors.Is(err, pgconn.ErrConnClosed) || pgconn.Timeout(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errAgain)
}

// errAgain makes retry try again.
var errAgain = errors.New("somebody else was in the way")

// One attempt may take this long: a server that hangs must not use up the
// whole time of a request.
const attemptTimeout = 6 * time.Second

// The pause after a failed attempt doubles from the first to the last.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// retry runs attempt until it succeeds, fails for good, or ctx ends: then the
// error is ErrUnavailable. Everything that attempt does may be done twice.
func retry(ctx context.Context, attempt func(context.Context) error) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		once, cancel := context.WithTimeout(ctx, attemptTimeout)
		err := attempt(once)
		cancel()
		switch {
		case err == nil:
			return nil
		case sqlState(err) == stateNotFresh:
			return errors.Join(ErrNotFresh, err)
		case !transient(err) && !errors.Is(err, context.Canceled):
			return err
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return errors.Join(ErrUnavailable, err)
		}
	}
}
