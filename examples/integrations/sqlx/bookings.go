package sqlx

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/jmoiron/sqlx/types"
)

// Schema is the table that this package needs.
const Schema = `CREATE TABLE bookings (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    note     text,
    details  jsonb NOT NULL DEFAULT '{}',
    price    numeric(10, 2) NOT NULL DEFAULT 0,
    starts   timestamptz NOT NULL DEFAULT now()
)`

// A Booking is one row.
type Booking struct {
	ID       int64          `db:"id"`
	Customer string         `db:"customer"`
	Note     sql.NullString `db:"note"`
	Details  types.JSONText `db:"details"`
	Price    string         `db:"price"`
	Starts   time.Time      `db:"starts"`
}

// Bookings is the table. It is safe for concurrent use.
type Bookings struct {
	db  *sqlx.DB
	add *sqlx.NamedStmt
}

// New prepares the statements of the table.
func New(ctx context.Context, db *sql.DB) (*Bookings, error) {
	x := sqlx.NewDb(db, "pgx")
	add, err := x.PrepareNamedContext(ctx, `
		INSERT INTO bookings (customer, note, details, price, starts)
		VALUES (:customer, :note, :details, :price, :starts) RETURNING id`)
	if err != nil {
		return nil, fmt.Errorf("prepare the insertion of a booking: %w", err)
	}
	return &Bookings{db: x, add: add}, nil
}

// Close gives the prepared statements back.
func (b *Bookings) Close() error { return b.add.Close() }

// Add stores a booking and sets its number.
func (b *Bookings) Add(ctx context.Context, k *Booking) error {
	if err := b.add.GetContext(ctx, &k.ID, k); err != nil {
		return fmt.Errorf("add a booking: %w", err)
	}
	return nil
}

// Find returns a booking, or an error that is sql.ErrNoRows.
func (b *Bookings) Find(ctx context.Context, id int64) (Booking, error) {
	var k Booking
	if err := b.db.GetContext(ctx, &k, `SELECT * FROM bookings WHERE id = $1`, id); err != nil {
		return Booking{}, fmt.Errorf("find booking %d: %w", id, err)
	}
	return k, nil
}

// Of returns the bookings of some customers.
func (b *Bookings) Of(ctx context.Context, customers ...string) ([]Booking, error) {
	query, args, err := sqlx.In(`SELECT * FROM bookings WHERE customer IN (?) ORDER BY id`, customers)
	if err != nil {
		return nil, fmt.Errorf("list the bookings: %w", err)
	}
	var list []Booking
	if err := b.db.SelectContext(ctx, &list, b.db.Rebind(query), args...); err != nil {
		return nil, fmt.Errorf("list the bookings: %w", err)
	}
	return list, nil
}

// Count counts the bookings in a read-only transaction.
func (b *Bookings) Count(ctx context.Context) (n int64, err error) {
	tx, err := b.db.BeginTxx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return 0, fmt.Errorf("count the bookings: %w", err)
	}
	defer tx.Rollback() // after Commit it does nothing
	if err := tx.GetContext(ctx, &n, `SELECT count(*) FROM bookings`); err != nil {
		return 0, fmt.Errorf("count the bookings: %w", err)
	}
	return n, tx.Commit()
}

// Rename changes the customer of a booking.
func (b *Bookings) Rename(ctx context.Context, id int64, customer string) error {
	tx, err := b.db.BeginTxx(ctx, nil)
	if err != nil {
		return fmt.Errorf("rename booking %d: %w", id, err)
	}
	defer tx.Rollback() // after Commit it does nothing
	var k Booking
	if err := tx.GetContext(ctx, &k, `SELECT * FROM bookings WHERE id = $1 FOR UPDATE`, id); err != nil {
		return fmt.Errorf("rename booking %d: %w", id, err)
	}
	k.Customer = customer
	if _, err := tx.NamedExecContext(ctx, `UPDATE bookings SET customer = :customer WHERE id = :id`, k); err != nil {
		return fmt.Errorf("rename booking %d: %w", id, err)
	}
	return tx.Commit()
}
