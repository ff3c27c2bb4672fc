package store

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

//go:embed schema.sql
var schema string

// Size says how much there is to book.
type Size struct {
	// Rooms is the number of rooms, Rows and Columns how their seats stand.
	Rooms, Rows, Columns int
	// Slots is the number of time slots, three on each day from tomorrow on.
	Slots int
}

// A room that exists keeps its size and its seats. Seats are named A1, A2 and
// so on; the row after Z is AA.
const fillRooms = `
INSERT INTO rooms (id, name, row_count, seats_per_row)
SELECT n, 'Room ' || n, $2, $3 FROM generate_series(1, $1::int) n
ON CONFLICT DO NOTHING`

const fillSeats = `
INSERT INTO seats (room_id, row_name, number)
SELECT room.id, CASE WHEN r > 26 THEN chr(64 + (r - 1) / 26) ELSE '' END || chr(65 + (r - 1) % 26), n
FROM rooms room, generate_series(1, room.row_count) r, generate_series(1, room.seats_per_row) n
ORDER BY room.id, r, n
ON CONFLICT DO NOTHING`

const fillSlots = `
INSERT INTO slots (during)
SELECT tstzrange(start, start + interval '2 hours')
FROM (SELECT (date_trunc('day', now() AT TIME ZONE 'UTC') + (1 + n / 3) * interval '1 day' + (14 + n % 3 * 3) * interval '1 hour') AT TIME ZONE 'UTC' AS start
      FROM generate_series(0, $1::int - 1) n) s
ORDER BY start
ON CONFLICT (during) DO NOTHING`

// Init creates what is missing of the schema, the rooms, their seats and the
// slots. It may be run again, and by several at a time.
func Init(ctx context.Context, dsn string, size Size) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// The number is nobody else's in this database.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(7203401)"); err != nil {
			return fmt.Errorf("wait for others: %w", err)
		}
		if _, err := tx.Exec(ctx, schema); err != nil {
			return fmt.Errorf("create the schema: %w", err)
		}
		if _, err := tx.Exec(ctx, fillRooms, size.Rooms, size.Rows, size.Columns); err != nil {
			return fmt.Errorf("create the rooms: %w", err)
		}
		if _, err := tx.Exec(ctx, fillSeats); err != nil {
			return fmt.Errorf("create the seats: %w", err)
		}
		if _, err := tx.Exec(ctx, fillSlots, size.Slots); err != nil {
			return fmt.Errorf("create the slots: %w", err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("prepare the database: %w", err)
	}
	return nil
}

// Validate says what is wrong with s, if anything.
func (s Size) Validate() error {
	switch {
	case s.Rooms < 1 || s.Rooms > 500:
		return errors.New("there can be 1 to 500 rooms")
	case s.Rows < 1 || s.Rows > 500, s.Columns < 1 || s.Columns > 500:
		return errors.New("a room can have 1 to 500 rows of 1 to 500 seats")
	case s.Slots < 0 || s.Slots > 500:
		return errors.New("there can be 0 to 500 slots")
	}
	return nil
}
