package fire_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/booklab/api"
	"github.com/pgroute/pgroute/internal/booklab/fire"
)

const ms = time.Millisecond

var (
	seatA = fire.Place{Slot: 1, Room: 1, Seat: 11}
	seatB = fire.Place{Slot: 1, Room: 1, Seat: 12}
)

// sound is a small run in which everything was kept: Ada has seat A, which Bob
// was refused, and nobody knows what became of Cyd's wish for seat B.
func sound() (*fire.History, []fire.Row) {
	h := &fire.History{
		Attempts: []fire.Attempt{
			{ID: 1, Place: seatA, Customer: "Ada", Sent: 1 * ms, Answered: 5 * ms, Outcome: fire.Booked, Booking: "70", Route: api.Route{Instance: "booking-1"}},
			{ID: 2, Place: seatA, Customer: "Bob", Sent: 2 * ms, Answered: 6 * ms, Outcome: fire.Refused, Route: api.Route{Instance: "booking-2"}},
			{ID: 3, Place: seatB, Customer: "Cyd", Sent: 3 * ms, Answered: 9 * ms, Outcome: fire.Unknown},
		},
		Looks: []fire.Look{
			{Place: seatA, Attempt: 1, Level: "strong", Began: 7 * ms, Ended: 8 * ms, Taken: true, By: "Ada"},
			{Place: seatA, Attempt: 1, Level: "session", Token: true, Began: 7 * ms, Ended: 8 * ms, Taken: true, By: "Ada"},
			{Place: seatA, Attempt: 1, Level: "eventual", Began: 7 * ms, Ended: 8 * ms},
		},
		Replays: []fire.Replay{{Attempt: 1, Booking: "70", At: 9 * ms}},
	}
	return h, []fire.Row{{Slot: 1, Seat: 11, Customer: "Ada", Booking: "70"}}
}

func TestCheckAcceptsASoundRun(t *testing.T) {
	h, rows := sound()
	if got := fire.Check(h, rows); len(got) > 0 {
		t.Errorf("problems %v", got)
	}
	// The wish without an answer may have come true.
	rows = append(rows, fire.Row{Slot: 1, Seat: 12, Customer: "Cyd", Booking: "71"})
	if got := fire.Check(h, rows); len(got) > 0 {
		t.Errorf("with the unknown one booked: problems %v", got)
	}
}

// Each broken promise that is planted is found, named with what one needs to
// look for its cause, and nothing else is reported.
func TestCheckNotices(t *testing.T) {
	stale := api.Route{Instance: "booking-3", Via: "library", Node: "pg2", Role: "replica", Reason: "covered"}
	for _, tt := range []struct {
		name  string
		plant func(h *fire.History, rows []fire.Row) []fire.Row
		kind  string
		words []string
	}{
		{"a free seat at strong", func(h *fire.History, rows []fire.Row) []fire.Row {
			h.Looks[0].Taken, h.Looks[0].By, h.Looks[0].Route = false, "", stale
			return rows
		}, fire.StaleRead, []string{"seat 11 of room 1 in slot 1", "booking-3 (library) at strong", "pg2 (replica)", "7ms", "8ms", "Ada", "5ms", "booking-1"}},
		{"a free seat at session with the token", func(h *fire.History, rows []fire.Row) []fire.Row {
			h.Looks[1].Taken, h.Looks[1].By, h.Looks[1].Route = false, "", stale
			return rows
		}, fire.StaleRead, []string{"at session with the token", "pg2"}},
		{"somebody else's name on the seat", func(h *fire.History, rows []fire.Row) []fire.Row {
			h.Looks[0].By = "Bob"
			return rows
		}, fire.WrongCustomer, []string{"by Bob, not by Ada"}},
		{"a seat that was booked twice", func(h *fire.History, rows []fire.Row) []fire.Row {
			h.Attempts[2].Place = seatA
			return append(rows, fire.Row{Slot: 1, Seat: 11, Customer: "Cyd", Booking: "71"})
		}, fire.DoubleBooking, []string{"seat 11 in slot 1", "Ada", "Cyd", "70", "71"}},
		{"an acknowledged booking that is gone", func(h *fire.History, rows []fire.Row) []fire.Row {
			h.Attempts = append(h.Attempts, fire.Attempt{ID: 4, Place: seatB, Customer: "Dan", Outcome: fire.Booked, Booking: "72"})
			return rows
		}, fire.LostBooking, []string{"Dan", "72", "seat 12"}},
		{"an acknowledged booking with another number", func(h *fire.History, rows []fire.Row) []fire.Row {
			h.Replays = nil
			rows[0].Booking = "73"
			return rows
		}, fire.LostBooking, []string{"70", "73"}},
		{"two bookings of one customer", func(h *fire.History, rows []fire.Row) []fire.Row {
			// The second is of a seat that Ada never asked for.
			return append(rows, fire.Row{Slot: 1, Seat: 12, Customer: "Ada", Booking: "74"})
		}, fire.SecondForKey, []string{"Ada", "70", "74"}},
		{"a second answer to one key", func(h *fire.History, rows []fire.Row) []fire.Row {
			h.Replays[0].Booking = "75"
			return rows
		}, fire.SecondForKey, []string{"Ada", "75"}},
		{"a refusal of a free seat", func(h *fire.History, rows []fire.Row) []fire.Row {
			h.Attempts[2].Outcome = fire.Refused
			return rows
		}, fire.FalseRefusal, []string{"Cyd", "the seat is free"}},
		{"a refusal before anybody asked", func(h *fire.History, rows []fire.Row) []fire.Row {
			h.Attempts[1].Sent, h.Attempts[1].Answered = 0, ms/2
			return rows
		}, fire.FalseRefusal, []string{"Bob", "Ada", "asked for it only at 1ms"}},
		{"a refusal by one's own booking", func(h *fire.History, rows []fire.Row) []fire.Row {
			h.Attempts[2].Outcome = fire.Refused
			return append(rows, fire.Row{Slot: 1, Seat: 12, Customer: "Cyd", Booking: "76"})
		}, fire.FalseRefusal, []string{"Cyd", "has the seat itself", "76"}},
		{"a booking out of nowhere", func(h *fire.History, rows []fire.Row) []fire.Row {
			return append(rows, fire.Row{Slot: 9, Seat: 12, Customer: "Eve", Booking: "77"})
		}, fire.UnknownRow, []string{"Eve", "slot 9"}},
		{"an odd answer", func(h *fire.History, rows []fire.Row) []fire.Row {
			h.Attempts[2].Outcome, h.Attempts[2].Err = fire.Odd, "HTTP 418"
			return rows
		}, fire.OddAnswer, []string{"Cyd", "HTTP 418"}},
		{"an odd answer to a second sending", func(h *fire.History, rows []fire.Row) []fire.Row {
			h.Replays[0] = fire.Replay{Attempt: 1, Err: "HTTP 422"}
			return rows
		}, fire.OddAnswer, []string{"Ada", "HTTP 422"}},
		{"a run without late replicas", func(h *fire.History, rows []fire.Row) []fire.Row {
			h.Looks[2].Taken = true
			return rows
		}, fire.NoStaleRead, []string{"1 looks"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, rows := sound()
			rows = tt.plant(h, rows)
			got := fire.Check(h, rows)
			if len(got) == 0 || got[0].Kind != tt.kind {
				t.Fatalf("problems %v, want %s", got, tt.kind)
			}
			for _, word := range tt.words {
				if !strings.Contains(got[0].What, word) {
					t.Errorf("%q is not in %q", word, got[0].What)
				}
			}
			for _, p := range got[1:] {
				// A second booking is also one that nobody asked for.
				if p.Kind != fire.UnknownRow {
					t.Errorf("also: %v", p)
				}
			}
		})
	}
}

func TestReportCounts(t *testing.T) {
	h, _ := sound()
	h.Faults = []fire.Fault{{Name: "pg2 killed"}, {Name: "pg2 started"}}
	got := fire.Report(h, 2*time.Second)
	lines := strings.Split(got, "\n")
	for i, want := range map[int]string{1: "3 1 1 0 1 1 0 2s 2", 4: "strong 1 0 0 1", 5: "session + token 1 0 0 1", 6: "eventual 1 1 0 1", 8: "faults: pg2 killed, pg2 started"} {
		if i >= len(lines) || strings.Join(strings.Fields(lines[i]), " ") != want {
			t.Errorf("line %d of\n%s\nis not %q", i, got, want)
		}
	}
}
