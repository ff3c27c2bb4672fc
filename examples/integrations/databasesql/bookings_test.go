package databasesql_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pgroute/pgroute/examples/integrations/databasesql"
	"github.com/pgroute/pgroute/examples/integrations/internal/rig"
)

func TestBookings(t *testing.T) {
	rig.Run(t, func(t *testing.T, w *rig.Way) {
		w.Exec(t, databasesql.Schema)
		t.Run("values", func(t *testing.T) { values(t, open(t, w)) })
		w.Exec(t, `TRUNCATE bookings`)
		rig.Check(t, w, store)
	})
}

func open(t *testing.T, w *rig.Way) *databasesql.Bookings {
	t.Helper()
	b, err := databasesql.New(t.Context(), w.SQL(t))
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
			k := databasesql.Booking{Customer: customer, Guests: []string{}, Details: json.RawMessage(`{}`), Price: "0", Starts: time.Now()}
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
		Count: func(ctx context.Context) (int64, error) {
			n, _, err := b.Total(ctx)
			return n, err
		},
		Rename: b.Rename,
	}
}

// values: what was written comes back, NULL, array, JSON, number and time.
func values(t *testing.T, b *databasesql.Bookings) {
	starts := time.Date(2030, 5, 1, 20, 15, 0, 123456000, time.UTC)
	for _, k := range []databasesql.Booking{
		{Customer: "Ada", Note: sql.NullString{String: "by the window", Valid: true}, Guests: []string{"Grace", `"O'Hara", {x}`}, Details: json.RawMessage(`{"seats": [1, 2]}`), Price: "1234567.89", Starts: starts},
		{Customer: "Grace", Guests: []string{}, Details: json.RawMessage(`null`), Price: "0.10", Starts: starts},
	} {
		if err := b.Add(t.Context(), &k); err != nil {
			t.Fatal(err)
		}
		got, err := b.Find(t.Context(), k.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.Customer != k.Customer || got.Note != k.Note || !slices.Equal(got.Guests, k.Guests) || string(got.Details) != string(k.Details) ||
			got.Price != k.Price || !got.Starts.Equal(k.Starts) {
			t.Errorf("wrote %+v, read %+v", k, got)
		}
	}
	if n, price, err := b.Total(t.Context()); n != 2 || price != "1234567.99" || err != nil {
		t.Errorf("total is %d, %s, %v", n, price, err)
	}
	if _, err := b.Find(t.Context(), -1); !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("a booking that does not exist: %v", err)
	}
}
