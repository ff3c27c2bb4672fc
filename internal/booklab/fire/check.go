package fire

import (
	"fmt"
	"time"
)

// Problem is a broken promise.
type Problem struct {
	// Kind is one of the constants below.
	Kind string
	// What names seat, customer, instance, node and times.
	What string
}

// The promises that can be broken.
const (
	DoubleBooking = "booked twice"
	LostBooking   = "acknowledged booking is missing"
	WrongCustomer = "wrong customer"
	SecondForKey  = "two bookings for one key"
	FalseRefusal  = "refused although nobody else had the seat"
	StaleRead     = "stale read"
	UnknownRow    = "booking that nobody asked for"
	OddAnswer     = "unexpected answer"
	NoStaleRead   = "no stale read at eventual: the run proves nothing"
)

// String returns both.
func (p Problem) String() string { return p.Kind + ": " + p.What }

// Check compares what was answered with what is there, and returns what is
// wrong. It is a pure function of its arguments.
func Check(h *History, rows []Row) []Problem {
	c := checker{h: h, byCustomer: make(map[string]*Attempt), byID: make(map[int]*Attempt), holder: make(map[where]*Attempt)}
	for i := range h.Attempts {
		a := &h.Attempts[i]
		c.byCustomer[a.Customer], c.byID[a.ID] = a, a
	}
	c.rows(rows)
	c.attempts()
	c.replays()
	c.looks()
	return c.problems
}

type checker struct {
	h          *History
	byCustomer map[string]*Attempt
	byID       map[int]*Attempt
	holder     map[where]*Attempt // who has a place in the end
	booking    map[string]Row     // by customer
	problems   []Problem
}

// where is a place without its room, which a row does not have.
type where struct{ slot, seat int64 }

func (p Place) where() where { return where{p.Slot, p.Seat} }

func (c *checker) wrong(kind, format string, args ...any) {
	c.problems = append(c.problems, Problem{kind, fmt.Sprintf(format, args...)})
}

// rows checks the bookings on the primary by themselves.
func (c *checker) rows(rows []Row) {
	c.booking = make(map[string]Row, len(rows))
	taken := make(map[where]Row, len(rows))
	for _, r := range rows {
		at := where{r.Slot, r.Seat}
		if first, twice := taken[at]; twice {
			c.wrong(DoubleBooking, "seat %d in slot %d, by %s (booking %s) and by %s (booking %s)", r.Seat, r.Slot, first.Customer, first.Booking, r.Customer, r.Booking)
		}
		if first, twice := c.booking[r.Customer]; twice {
			c.wrong(SecondForKey, "%s has booking %s (seat %d in slot %d) and %s (seat %d in slot %d)",
				r.Customer, first.Booking, first.Seat, first.Slot, r.Booking, r.Seat, r.Slot)
		} else {
			c.booking[r.Customer] = r
		}
		a := c.byCustomer[r.Customer]
		if a == nil || a.Place.where() != at {
			c.wrong(UnknownRow, "%s has seat %d in slot %d (booking %s)", r.Customer, r.Seat, r.Slot, r.Booking)
			continue
		}
		if _, twice := taken[at]; !twice {
			taken[at], c.holder[at] = r, a
		}
	}
}

// attempts checks what each customer was told.
func (c *checker) attempts() {
	for i := range c.h.Attempts {
		a := &c.h.Attempts[i]
		row, has := c.booking[a.Customer]
		holder := c.holder[a.Place.where()]
		switch a.Outcome {
		case Booked:
			switch {
			case !has:
				c.wrong(LostBooking, "%s", c.told(a))
			case row.Booking != a.Booking:
				c.wrong(LostBooking, "%s; the primary has booking %s instead", c.told(a), row.Booking)
			}
		case Refused:
			switch {
			case has:
				c.wrong(FalseRefusal, "%s; it has the seat itself, as booking %s", c.told(a), row.Booking)
			case holder == nil:
				c.wrong(FalseRefusal, "%s; the seat is free", c.told(a))
			case holder.Sent >= a.Answered:
				c.wrong(FalseRefusal, "%s; %s, who has the seat, asked for it only at %v", c.told(a), holder.Customer, round(holder.Sent))
			}
		case Odd:
			c.wrong(OddAnswer, "%s: %s", c.told(a), a.Err)
		}
	}
}

// replays checks that a key stands for one booking.
func (c *checker) replays() {
	for _, r := range c.h.Replays {
		a := c.byID[r.Attempt]
		switch {
		case a == nil:
		case r.Err != "":
			c.wrong(OddAnswer, "%s; sent again at %v it was answered: %s", c.told(a), round(r.At), r.Err)
		case r.Booking != a.Booking:
			c.wrong(SecondForKey, "%s; sent again at %v it became booking %s, by %s", c.told(a), round(r.At), r.Booking, r.Route.Instance)
		}
	}
}

// looks checks what was shown, and that the run can tell the levels apart.
func (c *checker) looks() {
	stale, eventual := 0, 0
	for i := range c.h.Looks {
		l := &c.h.Looks[i]
		if l.Level == eventualLevel {
			eventual++
			if !l.Taken {
				stale++
			}
			continue
		}
		a := c.byID[l.Attempt]
		holder := c.holder[l.Place.where()]
		switch {
		case !l.Taken:
			c.wrong(StaleRead, "%s was shown as free: %s; before that, %s", l.Place, l.seen(), c.told(a))
		case l.By != "" && holder != nil && l.By != holder.Customer:
			c.wrong(WrongCustomer, "%s was shown as taken by %s, not by %s: %s", l.Place, l.By, holder.Customer, l.seen())
		}
	}
	if stale == 0 {
		c.wrong(NoStaleRead, "%d looks", eventual)
	}
}

// told says what an attempt asked for and what it was told.
func (c *checker) told(a *Attempt) string {
	if a == nil {
		return "an attempt that is not in the history"
	}
	what := [...]string{"got no answer", "was acknowledged booking " + a.Booking, "was refused", "was answered"}[a.Outcome]
	return fmt.Sprintf("%s (attempt %d) asked for %s at %v and %s at %v by %s over %s, after %d retries",
		a.Customer, a.ID, a.Place, round(a.Sent), what, round(a.Answered), a.Route.Instance, a.Route.Via, a.Retries)
}

// seen says where and when a look was answered.
func (l *Look) seen() string {
	with := ""
	if l.Token {
		with = " with the token"
	}
	r := l.Route
	return fmt.Sprintf("asked %s (%s) at %s%s, from %v to %v, answered by %s (%s), because %s, after waiting %v ms",
		r.Instance, r.Via, l.Level, with, round(l.Began), round(l.Ended), r.Node, r.Role, r.Reason, r.WaitedMS)
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
