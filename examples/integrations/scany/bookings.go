package scany

import (
	"context"
	"fmt"
	"time"

	"github.com/georgysavva/scany/v2/pgxscan"
	"github.com/jackc/pgx/v5"
)

// Schema is the table that this package needs.
const Schema = `CREATE TABLE bookings (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    note     text,
    guests   text[] NOT NULL DEFAULT '{}',
    details  jsonb NOT NULL DEFAULT '{}',
    starts   timestamptz NOT NULL DEFAULT now()
)`

// A Booking is one row.
type Booking struct {
	ID       int64
	Customer string
	Note     *string
	Guests   []string
	Details  map[string]any
	Starts   time.Time
}

// A Database is what pgxscan needs, and transactions.
type Database interface {
	pgxscan.Querier
	BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error)
}

// Bookings is the table. It is safe for concurrent use.
type Bookings struct{ db Database }

// New returns the table in a database.
func New(db Database) *Bookings { return &Bookings{db: db} }

// Add stores a booking and sets its number.
func (b *Bookings) Add(ctx context.Context, k *Booking) error {
	err := pgxscan.Get(ctx, b.db, &k.ID, `
		INSERT INTO bookings (customer, note, guests, details, starts)
		VALUES (@customer, @note, @guests, @details, @starts) RETURNING id`,
		pgx.NamedArgs{"customer": k.Customer, "note": k.Note, "guests": k.Guests, "details": k.Details, "starts": k.Starts})
	if err != nil {
		return fmt.Errorf("add a booking: %w", err)
	}
	return nil
}

// Of returns the bookings of a customer.
func (b *Bookings) Of(ctx context.Context, customer string) ([]Booking, error) {
	var list []Booking
	if err := pgxscan.Select(ctx, b.db, &list, `SELECT * FROM bookings WHERE customer = $1 ORDER BY id`, customer); err != nil {
		return nil, fmt.Errorf("list the bookings of %s: %w", customer, err)
	}
	return list, nil
}

// Find returns a booking, or an error that is pgx.ErrNoRows.
func (b *Bookings) Find(ctx context.Context, id int64) (Booking, error) {
	var k Booking
	if err := pgxscan.Get(ctx, b.db, &k, `SELECT * FROM bookings WHERE id = $1`, id); err != nil {
		return Booking{}, fmt.Errorf("find booking %d: %w", id, err)
	}
	return k, nil
}

// Count counts the bookings in a read-only transaction.
func (b *Bookings) Count(ctx context.Context) (n int64, err error) {
	err = pgx.BeginTxFunc(ctx, b.db, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return pgxscan.Get(ctx, tx, &n, `SELECT count(*) FROM bookings`)
	})
	if err != nil {
		return 0, fmt.Errorf("count the bookings: %w", err)
	}
	return n, nil
}

// Rename changes the customer of a booking.
func (b *Bookings) Rename(ctx context.Context, id int64, customer string) error {
	err := pgx.BeginTxFunc(ctx, b.db, pgx.TxOptions{}, func(tx pgx.Tx) error {
		var k Booking
		if err := pgxscan.Get(ctx, tx, &k, `SELECT * FROM bookings WHERE id = $1 FOR UPDATE`, id); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE bookings SET customer = $1 WHERE id = $2`, customer, k.ID)
		return err
	})
	if err != nil {
		return fmt.Errorf("rename booking %d: %w", id, err)
	}
	return nil
}
