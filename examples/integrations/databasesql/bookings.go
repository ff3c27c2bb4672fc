package databasesql

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// Schema is the table that this package needs.
const Schema = `CREATE TABLE bookings (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    note     text,
    guests   text[] NOT NULL DEFAULT '{}',
    details  jsonb NOT NULL DEFAULT '{}',
    price    numeric(10, 2) NOT NULL DEFAULT 0,
    starts   timestamptz NOT NULL DEFAULT now()
)`

// A Booking is one row.
type Booking struct {
	ID       int64
	Customer string
	Note     sql.NullString
	Guests   []string
	Details  json.RawMessage
	// Price is a decimal number as text: a float would round it.
	Price  string
	Starts time.Time
}

// Bookings is the table. It is safe for concurrent use.
type Bookings struct {
	db   *sql.DB
	find *sql.Stmt
}

// New prepares the statements of the table.
func New(ctx context.Context, db *sql.DB) (*Bookings, error) {
	find, err := db.PrepareContext(ctx, `SELECT id, customer, note, guests, details, price, starts FROM bookings WHERE id = $1`)
	if err != nil {
		return nil, fmt.Errorf("prepare the search for a booking: %w", err)
	}
	return &Bookings{db: db, find: find}, nil
}

// Close gives the prepared statements back.
func (b *Bookings) Close() error { return b.find.Close() }

// Add stores a booking and sets its number.
func (b *Bookings) Add(ctx context.Context, k *Booking) error {
	err := b.db.QueryRowContext(ctx,
		`INSERT INTO bookings (customer, note, guests, details, price, starts) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`,
		k.Customer, k.Note, k.Guests, k.Details, k.Price, k.Starts).Scan(&k.ID)
	if err != nil {
		return fmt.Errorf("add a booking: %w", err)
	}
	return nil
}

// Find returns a booking, or an error that is sql.ErrNoRows.
func (b *Bookings) Find(ctx context.Context, id int64) (Booking, error) {
	var k Booking
	guests := pgtype.NewMap().SQLScanner(&k.Guests)
	err := b.find.QueryRowContext(ctx, id).Scan(&k.ID, &k.Customer, &k.Note, guests, &k.Details, &k.Price, &k.Starts)
	if err != nil {
		return Booking{}, fmt.Errorf("find booking %d: %w", id, err)
	}
	return k, nil
}

// Total returns how many bookings there are and what they cost together, as
// of one moment.
func (b *Bookings) Total(ctx context.Context) (count int64, price string, err error) {
	tx, err := b.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead})
	if err != nil {
		return 0, "", fmt.Errorf("add up the bookings: %w", err)
	}
	defer tx.Rollback() // after Commit it does nothing
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM bookings`).Scan(&count); err != nil {
		return 0, "", fmt.Errorf("count the bookings: %w", err)
	}
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(sum(price), 0) FROM bookings`).Scan(&price); err != nil {
		return 0, "", fmt.Errorf("add up the prices: %w", err)
	}
	return count, price, tx.Commit()
}

// Rename changes the customer of a booking.
func (b *Bookings) Rename(ctx context.Context, id int64, customer string) error {
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("rename booking %d: %w", id, err)
	}
	defer tx.Rollback() // after Commit it does nothing
	var before string
	if err := tx.QueryRowContext(ctx, `SELECT customer FROM bookings WHERE id = $1 FOR UPDATE`, id).Scan(&before); err != nil {
		return fmt.Errorf("rename booking %d: %w", id, err)
	}
	if before != customer {
		if _, err := tx.ExecContext(ctx, `UPDATE bookings SET customer = $1 WHERE id = $2`, customer, id); err != nil {
			return fmt.Errorf("rename booking %d: %w", id, err)
		}
	}
	return tx.Commit()
}
