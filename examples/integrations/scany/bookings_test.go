package scany_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/examples/integrations/internal/rig"
	"github.com/pgroute/pgroute/examples/integrations/scany"
)

func TestBookings(t *testing.T) {
	rig.Run(t, func(t *testing.T, w *rig.Way) {
		w.Exec(t, scany.Schema)
		t.Run("values", func(t *testing.T) { values(t, scany.New(w.Pgx(t))) })
		w.Exec(t, `TRUNCATE bookings`)
		rig.Check(t, w, store)
	})
}

func store(t *testing.T, w *rig.Way) rig.Store {
	b := scany.New(w.Pgx(t))
	return rig.Store{
		Add: func(ctx context.Context, customer string) (int64, error) {
			k := scany.Booking{Customer: customer, Guests: []string{}, Details: map[string]any{}, Starts: time.Now()}
			err := b.Add(ctx, &k)
			return k.ID, err
		},
		Find: func(ctx context.Context, id int64) (string, error) {
			k, err := b.Find(ctx, id)
			if errors.Is(err, pgx.ErrNoRows) {
				return "", nil
			}
			return k.Customer, err
		},
		Count:  b.Count,
		Rename: b.Rename,
	}
}

// values: what was written comes back, NULL, array, JSON and time.
func values(t *testing.T, b *scany.Bookings) {
	note := "by the window"
	starts := time.Date(2030, 5, 1, 20, 15, 0, 123456000, time.UTC)
	wrote := []scany.Booking{
		{Customer: "Ada", Note: &note, Guests: []string{"Grace", `"O'Hara", {x}`}, Details: map[string]any{"seats": []any{1.0, 2.0}}, Starts: starts},
		{Customer: "Ada", Guests: []string{}, Details: map[string]any{}, Starts: starts},
	}
	for i := range wrote {
		if err := b.Add(t.Context(), &wrote[i]); err != nil {
			t.Fatal(err)
		}
	}
	read, err := b.Of(t.Context(), "Ada")
	if err != nil {
		t.Fatal(err)
	}
	for i := range read {
		read[i].Starts = read[i].Starts.UTC()
	}
	if !reflect.DeepEqual(wrote, read) {
		t.Errorf("wrote %+v, read %+v", wrote, read)
	}
}
