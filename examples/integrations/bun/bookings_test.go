package bun_test

import (
	"context"
	"database/sql"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/pgroute/pgroute/examples/integrations/bun"
	"github.com/pgroute/pgroute/examples/integrations/internal/rig"
)

func TestBookings(t *testing.T) {
	rig.Run(t, func(t *testing.T, w *rig.Way) {
		b := bun.New(w.SQL(t))
		for range 2 { // the second time there is nothing to do
			if err := b.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		t.Run("values", func(t *testing.T) { values(t, b) })
		w.Exec(t, `TRUNCATE bookings`)
		rig.Check(t, w, store)
	})
}

func store(t *testing.T, w *rig.Way) rig.Store {
	b := bun.New(w.SQL(t))
	return rig.Store{
		Add: func(ctx context.Context, customer string) (int64, error) {
			k := bun.Booking{Customer: customer, Guests: []string{}, Details: map[string]any{}, Price: "0", Starts: time.Now()}
			err := b.Add(ctx, &k)
			return k.ID, err
		},
		Find: func(ctx context.Context, id int64) (string, error) {
			k, err := b.Find(ctx, id)
			if errors.Is(err, sql.ErrNoRows) {
				return "", nil
			}
			return k.Customer, err
		},
		Count:  b.Count,
		Rename: b.Rename,
	}
}

// values: what was written comes back, NULL, array, JSON, number and time.
func values(t *testing.T, b *bun.Bookings) {
	note := "by the window"
	starts := time.Date(2030, 5, 1, 20, 15, 0, 123456000, time.UTC)
	for _, k := range []bun.Booking{
		{Customer: "Ada", Note: &note, Guests: []string{"Grace", `"O'Hara", {x}`}, Details: map[string]any{"seats": []any{1.0, 2.0}}, Price: "1234567.89", Starts: starts},
		{Customer: "Grace", Guests: []string{}, Details: map[string]any{}, Price: "0.10", Starts: starts},
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
