package sqlc

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/examples/integrations/sqlc/bookings"
)

// A Database runs generated queries, alone and in transactions: a
// *pgxpool.Pool, a *pgxdb.DB, a pgxdb.Queries.
type Database interface {
	bookings.DBTX
	BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error)
}

// A Desk is where bookings are made. The generated queries are its own.
type Desk struct {
	*bookings.Queries
	db Database
}

// NewDesk returns a desk over a database.
func NewDesk(db Database) *Desk { return &Desk{Queries: bookings.New(db), db: db} }

// Rename changes the customer of a booking.
func (d *Desk) Rename(ctx context.Context, id int64, customer string) error {
	err := pgx.BeginTxFunc(ctx, d.db, pgx.TxOptions{}, func(tx pgx.Tx) error {
		q := d.WithTx(tx)
		if _, err := q.LockBooking(ctx, id); err != nil {
			return err
		}
		_, err := q.RenameBooking(ctx, bookings.RenameBookingParams{ID: id, Customer: customer})
		return err
	})
	if err != nil {
		return fmt.Errorf("rename booking %d: %w", id, err)
	}
	return nil
}

// Count counts the bookings in a read-only transaction.
func (d *Desk) Count(ctx context.Context) (n int64, err error) {
	err = pgx.BeginTxFunc(ctx, d.db, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		n, err = d.WithTx(tx).CountBookings(ctx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("count the bookings: %w", err)
	}
	return n, nil
}
