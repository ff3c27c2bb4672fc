// Package store keeps rooms, slots and bookings in PostgreSQL.
//
// It promises that a seat is booked at most once at a time, that a booking
// whose success was reported exists, and that a request that is repeated, by
// the client, by a load balancer or by the store itself, books once. The first
// is the database's work (schema.sql); the others rest on the idempotency key.
package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Store answers the service's questions.
type Store struct{ way Way }

// New returns a store that reaches the database by way.
func New(way Way) *Store { return &Store{way} }

// Way returns how the database is reached.
func (s *Store) Way() Way { return s.way }

// Slot is a time for which seats can be booked.
type Slot struct {
	ID     int64     `json:"id"`
	Starts time.Time `json:"starts"`
	Ends   time.Time `json:"ends"`
}

// Room is where the seats are.
type Room struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Rows    int    `json:"rows"`
	Columns int    `json:"columns"`
}

// Seat is a seat in one slot.
type Seat struct {
	ID       int64  `json:"id"`
	Row      string `json:"row"`
	Number   int    `json:"number"`
	Taken    bool   `json:"taken"`
	BookedBy string `json:"booked_by"`
}

// Only what can still be booked, and not more than a page can show.
const (
	slotsSQL = `SELECT id, lower(during), upper(during) FROM slots WHERE lower(during) > now() ORDER BY during LIMIT 500`
	roomsSQL = `SELECT id, name, row_count, seats_per_row FROM rooms ORDER BY id LIMIT 500`
)

// A booking of another slot that overlaps takes the seat too.
const seatsSQL = `
SELECT seat.id, seat.row_name, seat.number, taken.customer IS NOT NULL, coalesce(taken.customer, '')
FROM slots slot
CROSS JOIN seats seat
LEFT JOIN (SELECT b.seat_id, min(b.customer) AS customer
           FROM bookings b JOIN slots s ON b.during && s.during
           WHERE s.id = $1 AND b.cancelled IS NULL AND ($3::bigint = 0 OR b.seat_id = $3)
           GROUP BY b.seat_id) taken ON taken.seat_id = seat.id
WHERE slot.id = $1 AND ($2::bigint = 0 OR seat.room_id = $2) AND ($3::bigint = 0 OR seat.id = $3)
ORDER BY seat.id`

// Slots returns the slots that have not begun yet, and the rooms.
func (s *Store) Slots(ctx context.Context, need Need) ([]Slot, []Room, Route, error) {
	slots, _, err := read[Slot](ctx, s.way, need, slotsSQL)
	if err != nil {
		return nil, nil, Route{}, fmt.Errorf("list the slots: %w", err)
	}
	rooms, route, err := read[Room](ctx, s.way, need, roomsSQL)
	if err != nil {
		return nil, nil, Route{}, fmt.Errorf("list the rooms: %w", err)
	}
	return slots, rooms, route, nil
}

// Seats returns the seats of a room in a slot; with a seat that is not 0 only
// that one, and the room may be 0.
func (s *Store) Seats(ctx context.Context, need Need, slot, room, seat int64) ([]Seat, Route, error) {
	seats, route, err := read[Seat](ctx, s.way, need, seatsSQL, slot, room, seat)
	switch {
	case err != nil:
		return nil, Route{}, fmt.Errorf("list the seats: %w", err)
	case len(seats) > 0:
		return seats, route, nil
	case seat != 0:
		return nil, route, fmt.Errorf("%w in this slot", ErrNoSeat)
	}
	return nil, route, fmt.Errorf("%w in this slot", ErrNoRoom)
}

// read runs a query and collects its rows by position, again if need be.
func read[T any](ctx context.Context, way Way, need Need, sql string, args ...any) (all []T, route Route, err error) {
	err = retry(ctx, func(ctx context.Context) error {
		route, err = way.Read(ctx, need, sql, args, collect(&all))
		return err
	})
	return all, route, err
}

// onPrimary runs a statement on the primary once and collects its rows.
func onPrimary[T any](ctx context.Context, way Way, sql string, args ...any) (all []T, r Receipt, err error) {
	r.Route, r.Token, err = way.Primary(ctx, sql, args, collect(&all))
	return all, r, err
}

func collect[T any](all *[]T) func(pgx.Rows) error {
	return func(rows pgx.Rows) (err error) {
		*all, err = pgx.CollectRows(rows, pgx.RowToStructByPos[T])
		return err
	}
}

// one returns the only row, or missing.
func one[T any](all []T, missing error) (T, error) {
	if len(all) == 0 {
		var none T
		return none, missing
	}
	return all[0], nil
}
