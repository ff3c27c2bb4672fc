package store

import (
	"context"
	"fmt"
	"time"
)

// Booking is a seat that somebody has in a slot, or had.
type Booking struct {
	ID        int64      `json:"id"`
	Slot      int64      `json:"slot"`
	Seat      int64      `json:"seat"`
	Customer  string     `json:"customer"`
	Created   time.Time  `json:"created"`
	Cancelled *time.Time `json:"cancelled,omitempty"`
}

// Receipt says where a booking was made. A read with its token sees the
// booking, whichever instance it asks.
type Receipt struct {
	Route Route
	Token string
}

// Wish is what a customer wants.
type Wish struct {
	// Key is the idempotency key: the same wish with the same key is one
	// booking.
	Key        string
	Slot, Seat int64
	Customer   string
}

const columns = `id, slot_id, seat_id, customer, created, cancelled`

// No row: the key is known, or there is no such slot, or it has begun. The
// database's clock decides, and the schema's constraints.
const bookSQL = `
INSERT INTO bookings (idempotency_key, slot_id, seat_id, during, customer)
SELECT $1::text, slot.id, $3::bigint, slot.during, $4::text
FROM slots slot WHERE slot.id = $2 AND lower(slot.during) > now()
ON CONFLICT (idempotency_key) DO NOTHING
RETURNING ` + columns

const (
	byKeySQL  = `SELECT ` + columns + ` FROM bookings WHERE idempotency_key = $1`
	byIDSQL   = `SELECT ` + columns + ` FROM bookings WHERE id = $1`
	begunSQL  = `SELECT lower(during) <= now() FROM slots WHERE id = $1`
	cancelSQL = `UPDATE bookings SET cancelled = coalesce(cancelled, now()) WHERE id = $1 RETURNING ` + columns
)

// Book books a seat. made is false if an earlier request with the same key
// had done so already.
//
// When a connection is lost nobody knows whether the statement was carried
// out. It is then sent again, which is safe because of the key: the second
// attempt either books, or finds what the first one booked. An error other
// than ErrUnavailable means that nothing was booked by this wish.
func (s *Store) Book(ctx context.Context, w Wish) (b Booking, r Receipt, made bool, err error) {
	err = retry(ctx, func(ctx context.Context) error {
		b, r, made, err = s.bookOnce(ctx, w)
		return err
	})
	if err != nil {
		return Booking{}, Receipt{}, false, fmt.Errorf("book seat %d: %w", w.Seat, err)
	}
	return b, r, made, nil
}

func (s *Store) bookOnce(ctx context.Context, w Wish) (b Booking, r Receipt, made bool, err error) {
	rows, r, err := onPrimary[Booking](ctx, s.way, bookSQL, w.Key, w.Slot, w.Seat, w.Customer)
	conflict := false
	switch state := sqlState(err); {
	case err == nil && len(rows) == 1:
		return rows[0], r, true, nil
	case state == stateForeignKey:
		return Booking{}, Receipt{}, false, ErrNoSeat
	case state == stateUnique, state == stateExclusion:
		// The seat is taken. Perhaps by this very wish: an attempt of a moment
		// ago may have been carried out although its answer was lost, and if it
		// committed just now ON CONFLICT did not find its key.
		conflict = true
	case err != nil:
		return Booking{}, Receipt{}, false, err
	}

	rows, r, err = onPrimary[Booking](ctx, s.way, byKeySQL, w.Key)
	if err != nil {
		return Booking{}, Receipt{}, false, err
	}
	if len(rows) == 1 {
		b = rows[0]
		switch {
		case b.Slot != w.Slot || b.Seat != w.Seat || b.Customer != w.Customer:
			return Booking{}, Receipt{}, false, ErrKeyReused
		case b.Cancelled != nil:
			return Booking{}, Receipt{}, false, ErrCancelled
		}
		return b, r, false, nil
	}
	if conflict {
		return Booking{}, Receipt{}, false, ErrSeatTaken
	}
	return Booking{}, Receipt{}, false, s.whyNot(ctx, w.Slot)
}

// whyNot says why nothing was booked although nothing was in the way.
func (s *Store) whyNot(ctx context.Context, slot int64) error {
	type answer struct{ Begun bool }
	rows, _, err := onPrimary[answer](ctx, s.way, begunSQL, slot)
	switch {
	case err != nil:
		return err
	case len(rows) == 0:
		return ErrNoSlot
	case rows[0].Begun:
		return ErrPast
	}
	// The slot was added between the two statements.
	return errAgain
}

// Booking returns a booking, also one that was cancelled.
func (s *Store) Booking(ctx context.Context, need Need, id int64) (Booking, Route, error) {
	rows, route, err := read[Booking](ctx, s.way, need, byIDSQL, id)
	if err != nil {
		return Booking{}, Route{}, fmt.Errorf("read booking %d: %w", id, err)
	}
	b, err := one(rows, ErrNoBooking)
	return b, route, err
}

// Cancel gives the seat of a booking back. To cancel it again changes nothing.
func (s *Store) Cancel(ctx context.Context, id int64) (Booking, Receipt, error) {
	var rows []Booking
	var r Receipt
	err := retry(ctx, func(ctx context.Context) (err error) {
		rows, r, err = onPrimary[Booking](ctx, s.way, cancelSQL, id)
		return err
	})
	if err != nil {
		return Booking{}, Receipt{}, fmt.Errorf("cancel booking %d: %w", id, err)
	}
	b, err := one(rows, ErrNoBooking)
	return b, r, err
}
