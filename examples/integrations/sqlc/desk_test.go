package sqlc_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pgroute/pgroute/examples/integrations/internal/rig"
	"github.com/pgroute/pgroute/examples/integrations/sqlc"
	"github.com/pgroute/pgroute/examples/integrations/sqlc/bookings"
)

func TestDesk(t *testing.T) {
	rig.Run(t, func(t *testing.T, w *rig.Way) {
		w.Exec(t, sqlc.Schema)
		t.Run("values", func(t *testing.T) { values(t, sqlc.NewDesk(w.Pgx(t))) })
		w.Exec(t, `TRUNCATE bookings`)
		rig.Check(t, w, store)
	})
}

func store(t *testing.T, w *rig.Way) rig.Store {
	d := sqlc.NewDesk(w.Pgx(t))
	return rig.Store{
		Add: func(ctx context.Context, customer string) (int64, error) {
			return d.AddBooking(ctx, booking(customer, "", "0", time.Now()))
		},
		Find: func(ctx context.Context, id int64) (string, error) {
			b, err := d.FindBooking(ctx, id)
			if errors.Is(err, pgx.ErrNoRows) {
				return "", nil
			}
			return b.Customer, err
		},
		Count:  d.Count,
		Rename: d.Rename,
	}
}

// booking fills the generated type.
func booking(customer, note, price string, starts time.Time, guests ...string) bookings.AddBookingParams {
	p := bookings.AddBookingParams{
		Customer: customer,
		Note:     pgtype.Text{String: note, Valid: note != ""},
		Guests:   append([]string{}, guests...),
		Details:  []byte(`{"seats": [1, 2]}`),
		Starts:   pgtype.Timestamptz{Time: starts, Valid: true},
	}
	if err := p.Price.Scan(price); err != nil {
		panic(err)
	}
	return p
}

// values: what was written comes back, NULL, array, JSON, number and time.
func values(t *testing.T, d *sqlc.Desk) {
	starts := time.Date(2030, 5, 1, 20, 15, 0, 123456000, time.UTC)
	for _, p := range []bookings.AddBookingParams{
		booking("Ada", "by the window", "1234567.89", starts, "Grace", `"O'Hara", {x}`),
		booking("Grace", "", "0.10", starts),
	} {
		id, err := d.AddBooking(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		b, err := d.FindBooking(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		wrote, _ := p.Price.Value()
		read, _ := b.Price.Value()
		if b.Customer != p.Customer || b.Note != p.Note || !slices.Equal(b.Guests, p.Guests) || string(b.Details) != string(p.Details) ||
			wrote != read || !b.Starts.Time.Equal(starts) {
			t.Errorf("wrote %+v, read %+v", p, b)
		}
	}
	list, err := d.ListBookings(t.Context(), []string{"Ada", "Grace", "Emmy"})
	if err != nil || len(list) != 2 || list[0].Customer != "Ada" {
		t.Errorf("the list is %+v, %v", list, err)
	}
}
