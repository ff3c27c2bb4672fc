package fire

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/pgroute/pgroute/internal/booklab/api"
	"github.com/pgroute/pgroute/internal/booklab/lab"
)

// The levels at which a seat is looked at.
const (
	eventualLevel = "eventual"
	sessionLevel  = "session"
	strongLevel   = "strong"
)

const (
	// patience bounds the retries of one attempt or look. It is longer than
	// any outage on a machine that is ten times slower than it should be.
	patience = 3 * time.Minute
	// hot is how many of the newest places get half of all attempts.
	hot = 20
	// One in so many acknowledged attempts is sent again, and after one in so
	// many refusals the seat is looked at.
	replayShare, refusedShare = 20, 8
)

// clientLoop makes attempts until there are no more.
func (r *Run) clientLoop(ctx context.Context) {
	for {
		n, ok := r.gate.take(ctx)
		if !ok {
			return
		}
		place := r.choose(n)
		a, token := r.try(ctx, n, place)
		r.History.attempt(a)
		switch {
		case a.Outcome == Booked:
			r.sell(place, a)
			r.look(ctx, r.other(a.Route.Instance), a, api.How{Level: strongLevel})
			r.look(ctx, r.other(a.Route.Instance), a, api.How{Level: sessionLevel, Token: token})
			r.look(ctx, r.other(a.Route.Instance), a, api.How{Level: eventualLevel})
			if rand.IntN(replayShare) == 0 {
				r.again(ctx, a)
			}
		case a.Outcome == Refused && rand.IntN(refusedShare) == 0:
			r.look(ctx, r.other(a.Route.Instance), a, api.How{Level: strongLevel})
		}
	}
}

// choose picks the place of an attempt. Places go on sale one after the other,
// so that there is something to book until the end, and half of the attempts
// go for the newest.
func (r *Run) choose(n int) int {
	onSale := min(len(r.places), max(hot, 1+n*len(r.places)/r.opts.Attempts))
	if rand.IntN(2) == 0 {
		return onSale - 1 - rand.IntN(min(hot, onSale))
	}
	return rand.IntN(onSale)
}

// sell notes that the booking of a place has been acknowledged.
func (r *Run) sell(place int, a Attempt) {
	r.buyer[place].Store(int64(a.ID))
	r.sold[place].CompareAndSwap(0, int64(a.Answered))
}

// try sends one attempt until it is answered, always under the same key.
func (r *Run) try(ctx context.Context, n, place int) (a Attempt, token string) {
	a = Attempt{ID: n, Place: r.places[place], Customer: fmt.Sprintf("customer %d", n), Sent: r.History.now()}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		booked, err := r.client.Book(ctx, r.door(), a.key(), a.wish())
		a.Answered = r.History.now()
		if err == nil {
			a.Outcome, a.Booking, a.Route = Booked, string(booked.Booking.ID), booked.Route
			if got := booked.Booking; got.Customer != a.Customer || got.Seat != a.Place.Seat || got.Slot != a.Place.Slot {
				a.Outcome, a.Err = Odd, fmt.Sprintf("the booking is of %s for seat %d in slot %d", got.Customer, got.Seat, got.Slot)
			}
			return a, booked.Token
		}
		answer, ok := answered(err)
		switch {
		case ok && answer.Status == http.StatusConflict && answer.Code == "seat_taken":
			a.Outcome, a.Route = Refused, answer.Route
			return a, ""
		case ok && answer.Status < 500:
			a.Outcome, a.Route, a.Err = Odd, answer.Route, answer.Error()
			return a, ""
		}
		a.Err = err.Error()
		if ctx.Err() != nil {
			return a, ""
		}
		a.Retries++
		rest(ctx, a.Retries)
	}
}

// again sends an acknowledged attempt once more: it must stand for the same
// booking, at whatever instance.
func (r *Run) again(ctx context.Context, a Attempt) {
	booked, err := r.client.Book(ctx, r.door(), a.key(), a.wish())
	rep := Replay{Attempt: a.ID, At: r.History.now()}
	if answer, ok := answered(err); ok && answer.Status < 500 {
		rep.Err = answer.Error()
	} else if err != nil {
		return // somebody was just killed
	} else {
		rep.Booking, rep.Route = string(booked.Booking.ID), booked.Route
	}
	r.History.replay(rep)
}

func (a *Attempt) key() string { return fmt.Sprintf("fire-%d", a.ID) }

func (a *Attempt) wish() api.Wish {
	return api.Wish{Slot: a.Place.Slot, Seat: a.Place.Seat, Customer: a.Customer}
}

// door is where an attempt is sent: mostly to the balancer.
func (r *Run) door() string {
	if rand.IntN(4) > 0 {
		return r.lab.URL()
	}
	return r.other("").URL()
}

// other is an instance that runs and is not the one named.
func (r *Run) other(name string) *lab.Instance {
	for range 100 {
		i := r.lab.Instances[rand.IntN(len(r.lab.Instances))]
		if i.Name != name && i.Running() {
			return i
		}
	}
	return r.lab.Instances[0] // it does not answer; the next try finds another
}

// rest waits before the next try, longer each time.
func rest(ctx context.Context, tries int) {
	timer := time.NewTimer(rand.N(time.Duration(min(tries, 10)) * 20 * time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
