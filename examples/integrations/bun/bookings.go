package bun

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// A Booking is one row.
type Booking struct {
	bun.BaseModel `bun:"table:bookings"`

	ID       int64  `bun:",pk,autoincrement"`
	Customer string `bun:",notnull"`
	Note     *string
	Guests   []string       `bun:",array"`
	Details  map[string]any `bun:"type:jsonb"`
	Price    string         `bun:"type:numeric(10,2)"`
	Starts   time.Time      `bun:",notnull"`
}

// Bookings is the table. It is safe for concurrent use.
type Bookings struct{ db *bun.DB }

// New brings bun over a database.
func New(db *sql.DB) *Bookings { return &Bookings{db: bun.NewDB(db, pgdialect.New())} }

// Migrate creates the table if it is not there.
func (b *Bookings) Migrate(ctx context.Context) error {
	if _, err := b.db.NewCreateTable().Model((*Booking)(nil)).IfNotExists().Exec(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// Add stores a booking and sets its number.
func (b *Bookings) Add(ctx context.Context, k *Booking) error {
	if _, err := b.db.NewInsert().Model(k).Exec(ctx); err != nil {
		return fmt.Errorf("add a booking: %w", err)
	}
	return nil
}

// Find returns a booking, or an error that is sql.ErrNoRows.
func (b *Bookings) Find(ctx context.Context, id int64) (Booking, error) {
	var k Booking
	if err := b.db.NewSelect().Model(&k).Where("id = ?", id).Scan(ctx); err != nil {
		return Booking{}, fmt.Errorf("find booking %d: %w", id, err)
	}
	return k, nil
}

// Count counts the bookings in a read-only transaction.
func (b *Bookings) Count(ctx context.Context) (n int64, err error) {
	err = b.db.RunInTx(ctx, &sql.TxOptions{ReadOnly: true}, func(ctx context.Context, tx bun.Tx) error {
		count, err := tx.NewSelect().Model((*Booking)(nil)).Count(ctx)
		n = int64(count)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("count the bookings: %w", err)
	}
	return n, nil
}

// Rename changes the customer of a booking.
func (b *Bookings) Rename(ctx context.Context, id int64, customer string) error {
	err := b.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var k Booking
		if err := tx.NewSelect().Model(&k).Where("id = ?", id).For("UPDATE").Scan(ctx); err != nil {
			return err
		}
		k.Customer = customer
		_, err := tx.NewUpdate().Model(&k).Column("customer").WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("rename booking %d: %w", id, err)
	}
	return nil
}
