package sqlx_test

import (
	"context"
	"database/sql"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/jmoiron/sqlx/types"

	"github.com/pgroute/pgroute/examples/integrations/internal/rig"
	"github.com/pgroute/pgroute/examples/integrations/sqlx"
)

func TestBookings(t *testing.T) {
	rig.Run(t, func(t *testing.T, w *rig.Way) {
		w.Exec(t, sqlx.Schema)
		t.Run("values", func(t *testing.T) { values(t, open(t, w)) })
		w.Exec(t, `TRUNCATE bookings`)
		rig.Check(t, w, store)
	})
}

func open(t *testing.T, w *rig.Way) *sqlx.Bookings {
	t.Helper()
	b, err := sqlx.New(t.Context(), w.SQL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func store(t *testing.T, w *rig.Way) rig.Store {
	b := open(t, w)
	return rig.Store{
		Add: func(ctx context.Context, customer string) (int64, error) {
			k := sqlx.Booking{Customer: customer, Details: types.JSONText(`{}`), Price: "0", Starts: time.Now()}
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

// values: what was written comes back, NULL, JSON, number and time.
func values(t *testing.T, b *sqlx.Bookings) {
	starts := time.Date(2030, 5, 1, 20, 15, 0, 123456000, time.UTC)
	wrote := []sqlx.Booking{
		{Customer: "Ada", Note: sql.NullString{String: "by the window", Valid: true}, Details: types.JSONText(`{"seats": [1, 2]}`), Price: "1234567.89", Starts: starts},
		{Customer: "Grace", Details: types.JSONText(`null`), Price: "0.10", Starts: starts},
	}
	for i := range wrote {
		if err := b.Add(t.Context(), &wrote[i]); err != nil {
			t.Fatal(err)
		}
	}
	read, err := b.Of(t.Context(), "Ada", "Grace", "Emmy")
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
