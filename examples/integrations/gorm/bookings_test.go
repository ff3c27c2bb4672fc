package gorm_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"gorm.io/gorm"

	bookings "github.com/pgroute/pgroute/examples/integrations/gorm"
	"github.com/pgroute/pgroute/examples/integrations/internal/rig"
)

func TestBookings(t *testing.T) {
	rig.Run(t, func(t *testing.T, w *rig.Way) {
		b := open(t, w)
		for range 2 { // the second time there is nothing to do
			if err := b.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		t.Run("values", func(t *testing.T) { values(t, b) })
		w.Exec(t, `TRUNCATE bookings, guests`)
		rig.Check(t, w, store)
	})
}

func open(t *testing.T, w *rig.Way) *bookings.Bookings {
	t.Helper()
	b, err := bookings.Open(w.SQL(t))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func store(t *testing.T, w *rig.Way) rig.Store {
	b := open(t, w)
	return rig.Store{
		Add: func(ctx context.Context, customer string) (int64, error) {
			k := bookings.Booking{Customer: customer, Price: "0", Starts: time.Now()}
			err := b.Add(ctx, &k)
			return k.ID, err
		},
		Find: func(ctx context.Context, id int64) (string, error) {
			k, err := b.Find(ctx, id)
			if errors.Is(err, gorm.ErrRecordNotFound) {
				return "", nil
			}
			return k.Customer, err
		},
		Count:  b.Count,
		Rename: b.Rename,
	}
}

// values: what was written comes back, NULL, JSON, number, time and relation.
func values(t *testing.T, b *bookings.Bookings) {
	note := "by the window"
	starts := time.Date(2030, 5, 1, 20, 15, 0, 123456000, time.UTC)
	for _, k := range []bookings.Booking{
		{Customer: "Ada", Note: &note, Details: map[string]any{"seats": []any{1.0, 2.0}}, Price: "1234567.89", Starts: starts, Guests: []bookings.Guest{{Name: "Grace"}, {Name: "Emmy"}}},
		{Customer: "Grace", Price: "0.10", Starts: starts, Guests: []bookings.Guest{}},
	} {
		if err := b.Add(t.Context(), &k); err != nil {
			t.Fatal(err)
		}
		got, err := b.Find(t.Context(), k.ID)
		if err != nil {
			t.Fatal(err)
		}
		got.Starts = got.Starts.UTC()
		if !reflect.DeepEqual(got, k) {
			t.Errorf("wrote %+v, read %+v", k, got)
		}
	}
}
