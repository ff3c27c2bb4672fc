package fire_test

import (
	"flag"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/booklab/fire"
	"github.com/pgroute/pgroute/internal/booklab/lab"
)

// The defaults are for continuous integration; make fire runs the full length.
var (
	attempts = flag.Int("fire.attempts", 4000, "how many attempts to book")
	clients  = flag.Int("fire.clients", 60, "how many clients at one time")
	seats    = flag.Int("fire.seats", 600, "for how many seats")
)

// leastSeats is less than what a room of the example has.
const leastSeats = 40

// shown is how many problems of a run are told in full.
const shown = 30

// Six instances, three over sidecars and three over the library, are put under
// fire; see the package's documentation for what must hold.
func TestBookingUnderFire(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	l := lab.ForTest(t, lab.Options{Sidecars: 3, OverSidecar: 3, OverLibrary: 3, Rooms: 1, Slots: 3 + *seats/leastSeats})
	run, err := fire.New(t.Context(), l, fire.Options{Attempts: *attempts, Clients: *clients, Seats: *seats, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := run.Do(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d attempts by %d clients on %d seats\n%s", *attempts, *clients, *seats, fire.Report(run.History, time.Since(began)))
	rows, err := run.Rows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	problems := fire.Check(run.History, rows)
	for _, p := range problems[:min(len(problems), shown)] {
		t.Errorf("%s", p)
	}
	if len(problems) > shown {
		t.Errorf("and %d more", len(problems)-shown)
	}
	if len(run.History.Attempts) != *attempts {
		t.Errorf("%d attempts are in the history", len(run.History.Attempts))
	}
	if len(rows) < *seats/2 {
		t.Errorf("only %d of %d seats were booked: that was no fight", len(rows), *seats)
	}
}
