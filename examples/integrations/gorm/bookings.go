package gorm

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
)

// A Booking is one row.
type Booking struct {
	ID       int64
	Customer string `gorm:"not null;index"`
	Note     *string
	Details  map[string]any `gorm:"type:jsonb;serializer:json"`
	Price    string         `gorm:"type:numeric(10,2)"`
	Starts   time.Time
	Guests   []Guest `gorm:"constraint:OnDelete:CASCADE"`
}

// A Guest comes with a booking.
type Guest struct {
	ID        int64
	BookingID int64 `gorm:"not null;index"`
	Name      string
}

// Bookings are the tables. It is safe for concurrent use.
type Bookings struct{ db *gorm.DB }

// Open brings gorm over a database. Statements are prepared.
func Open(db *sql.DB) (*Bookings, error) {
	g, err := gorm.Open(postgres.New(postgres.Config{Conn: db}), &gorm.Config{
		PrepareStmt: true,
		Logger:      logger.Discard,
	})
	if err != nil {
		return nil, fmt.Errorf("open gorm: %w", err)
	}
	return &Bookings{db: g}, nil
}

// Migrate creates the tables, or changes them to what the types say.
func (b *Bookings) Migrate(ctx context.Context) error {
	if err := b.db.WithContext(ctx).AutoMigrate(&Booking{}, &Guest{}); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// Add stores a booking with its guests and sets their numbers.
func (b *Bookings) Add(ctx context.Context, k *Booking) error {
	if err := b.db.WithContext(ctx).Create(k).Error; err != nil {
		return fmt.Errorf("add a booking: %w", err)
	}
	return nil
}

// Find returns a booking with its guests, or an error that is
// gorm.ErrRecordNotFound.
func (b *Bookings) Find(ctx context.Context, id int64) (Booking, error) {
	var k Booking
	if err := b.db.WithContext(ctx).Preload("Guests").First(&k, id).Error; err != nil {
		return Booking{}, fmt.Errorf("find booking %d: %w", id, err)
	}
	return k, nil
}

// Count counts the bookings in a read-only transaction.
func (b *Bookings) Count(ctx context.Context) (n int64, err error) {
	err = b.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		return tx.Model(&Booking{}).Count(&n).Error
	}, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return 0, fmt.Errorf("count the bookings: %w", err)
	}
	return n, nil
}

// Rename changes the customer of a booking.
func (b *Bookings) Rename(ctx context.Context, id int64, customer string) error {
	err := b.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		var k Booking
		if err := tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}).First(&k, id).Error; err != nil {
			return err
		}
		return tx.Model(&k).Update("customer", customer).Error
	})
	if err != nil {
		return fmt.Errorf("rename booking %d: %w", id, err)
	}
	return nil
}
