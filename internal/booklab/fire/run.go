package fire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgroute/pgroute/internal/booklab/api"
	"github.com/pgroute/pgroute/internal/booklab/lab"
)

// Options says how much load there is. All are required but Log.
type Options struct {
	// Attempts is how many wishes there are in all, Clients how many are on
	// their way at one time, and Seats how many places they are for.
	Attempts, Clients, Seats int
	// Log is told what happens. nil means that nobody wants to know.
	Log func(format string, args ...any)
}

// rounds is how often each fault is done.
func (o *Options) rounds() int { return 1 + o.Attempts/60_000 }

// A Run is a run of the load and the faults over a lab.
type Run struct {
	// History is complete once Do has returned.
	History *History

	lab    *lab.Lab
	opts   Options
	client *api.Client
	gate   *gate
	places []Place
	index  map[where]int
	// sold is when the booking of a place was first known to be acknowledged,
	// in nanoseconds of the run, 0 if it was not.
	sold []atomic.Int64
	// buyer is the attempt that says so.
	buyer []atomic.Int64
}

// perHost bounds the connections to each instance and to the balancer.
const perHost = 48

// New prepares a run. The lab must have enough seats.
func New(ctx context.Context, l *lab.Lab, opts Options) (*Run, error) {
	if opts.Log == nil {
		opts.Log = func(string, ...any) {}
	}
	r := &Run{lab: l, opts: opts, gate: newGate(opts.Attempts), index: make(map[where]int),
		client: &api.Client{HTTP: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
			MaxConnsPerHost: perHost, MaxIdleConnsPerHost: perHost, IdleConnTimeout: time.Minute}}}}
	if err := r.findPlaces(ctx); err != nil {
		return nil, fmt.Errorf("prepare a run: %w", err)
	}
	r.sold, r.buyer = make([]atomic.Int64, len(r.places)), make([]atomic.Int64, len(r.places))
	return r, nil
}

// findPlaces takes as many places as are wanted, one slot after the other.
func (r *Run) findPlaces(ctx context.Context) error {
	program, err := r.client.Slots(ctx, r.lab.URL())
	if err != nil {
		return err
	}
	for _, slot := range program.Slots {
		for _, room := range program.Rooms {
			if len(r.places) == r.opts.Seats {
				return nil
			}
			seats, err := r.client.Seats(ctx, r.lab.URL(), slot.ID, room.ID, api.How{Level: strongLevel})
			if err != nil {
				return err
			}
			for _, s := range seats.Seats {
				if len(r.places) < r.opts.Seats && !s.Taken {
					p := Place{Slot: slot.ID, Room: room.ID, Seat: s.ID}
					r.index[p.where()] = len(r.places)
					r.places = append(r.places, p)
				}
			}
		}
	}
	if len(r.places) < r.opts.Seats {
		return fmt.Errorf("there are %d free seats, not %d", len(r.places), r.opts.Seats)
	}
	return nil
}

// Do runs clients and faults to their ends. The lab is as it was afterwards,
// but for what was booked.
func (r *Run) Do(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer r.client.HTTP.CloseIdleConnections()
	r.History = NewHistory()
	var all sync.WaitGroup
	// The nemesis ends after its last step, the clients after their last
	// attempt, and both when ctx is done; waited for below.
	all.Go(func() {
		if err := r.nemesis(ctx); err != nil {
			cancel(err)
		}
	})
	for range r.opts.Clients {
		all.Go(func() { r.clientLoop(ctx) })
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("run the load: %w", err)
	}
	return nil
}

// Rows reads what the primary has. The select is that of the example's schema.
func (r *Run) Rows(ctx context.Context) ([]Row, error) {
	text, err := r.lab.Cluster.Primary().QueryString(ctx, rowsSQL)
	if err != nil {
		return nil, fmt.Errorf("read the bookings: %w", err)
	}
	var rows []Row
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&rows); err != nil {
		return nil, fmt.Errorf("read the bookings: %w", err)
	}
	return rows, nil
}

// answered reports whether an error is an answer of the service, and which.
func answered(err error) (*api.Error, bool) {
	var e *api.Error
	ok := errors.As(err, &e)
	return e, ok
}
