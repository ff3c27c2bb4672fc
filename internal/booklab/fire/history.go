package fire

import (
	"fmt"
	"sync"
	"time"

	"github.com/pgroute/pgroute/internal/booklab/api"
)

// A Place is a seat in a slot: what can be booked once.
type Place struct{ Slot, Room, Seat int64 }

// String names the place.
func (p Place) String() string {
	return fmt.Sprintf("seat %d of room %d in slot %d", p.Seat, p.Room, p.Slot)
}

// Outcome is how an attempt ended.
type Outcome int

// The outcomes.
const (
	// Unknown: nobody answered in time. The booking may be there.
	Unknown Outcome = iota
	// Booked: acknowledged.
	Booked
	// Refused: somebody else has the seat.
	Refused
	// Odd: an answer that no attempt should get.
	Odd
)

// An Attempt is one customer's wish for one place, under one idempotency key
// however often it was sent. Times count from the beginning of the run.
type Attempt struct {
	ID             int
	Place          Place
	Customer       string // unique
	Sent, Answered time.Duration
	Outcome        Outcome
	Booking        string // its id, as JSON
	Retries        int
	Route          api.Route // of the answer
	Err            string    // of an odd outcome, or the last one of an unknown
}

// A Look is a read of one seat after its booking was acknowledged to Attempt,
// or after the refusal of Attempt said that it is taken.
type Look struct {
	Place        Place
	Attempt      int
	Level        string
	Token        bool
	Began, Ended time.Duration
	Taken        bool
	By           string // the customer that was shown
	Route        api.Route
}

// A Replay is an acknowledged attempt that was sent once more.
type Replay struct {
	Attempt int
	Booking string
	At      time.Duration
	Route   api.Route
	Err     string // of an answer that was not a booking
}

// A Fault is something that was done to the lab.
type Fault struct {
	Name         string
	Began, Ended time.Duration
}

// A Row is a booking as the primary has it at the end.
type Row struct {
	Slot     int64  `json:"slot"`
	Seat     int64  `json:"seat"`
	Customer string `json:"customer"`
	Booking  string `json:"booking"`
}

// History is what happened in a run. Its methods are safe for concurrent use;
// the fields are for those who read after the run.
type History struct {
	Attempts   []Attempt
	Looks      []Look
	Replays    []Replay
	Faults     []Fault
	Unanswered int // looks that nobody answered

	mu    sync.Mutex // guards the fields above during the run
	began time.Time
}

// NewHistory returns the history of a run that begins now.
func NewHistory() *History { return &History{began: time.Now()} }

// now is the time of the run, by the monotonic clock.
func (h *History) now() time.Duration { return time.Since(h.began) }

func (h *History) attempt(a Attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Attempts = append(h.Attempts, a)
}

func (h *History) look(list ...Look) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Looks = append(h.Looks, list...)
}

func (h *History) unanswered() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Unanswered++
}

func (h *History) replay(r Replay) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Replays = append(h.Replays, r)
}

func (h *History) fault(f Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Faults = append(h.Faults, f)
}
