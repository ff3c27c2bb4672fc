package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// seats counts the seats that tests have used: each takes new ones, all in
// slot 1.
var seats atomic.Int64

func newSeat() int64 { return seats.Add(1) }

// wish is the body of a booking.
func wish(slot, seat int64, customer string) string {
	return fmt.Sprintf(`{"slot":%d,"seat":%d,"customer":%q}`, slot, seat, customer)
}

// booked is the answer to a booking.
type booked struct {
	Booking struct {
		ID, Slot, Seat int64
		Customer       string
		Created        string
		Cancelled      string
	}
	Route routed
	Token string
}

type routed struct{ Instance, Via, Node, Role, Reason, Level string }

// seen is the answer to a question for seats.
type seen struct {
	Slot, Room int64
	Seats      []struct {
		ID     int64
		Row    string
		Number int
		Taken  bool
		By     string `json:"booked_by"`
	}
	Route routed
}

// book books a seat, which must work.
func (p *process) book(t *testing.T, key string, slot, seat int64) booked {
	t.Helper()
	r := p.send(t, "POST", "/api/bookings", wish(slot, seat, "Ann"), "Idempotency-Key", key)
	var b booked
	r.has(t, &b)
	if r.status != http.StatusCreated || b.Booking.ID == 0 || b.Booking.Seat != seat || b.Booking.Slot != slot || b.Token == "" {
		t.Fatalf("book seat %d: %d %s", seat, r.status, r.body)
	}
	return b
}

// look asks for one seat.
func (p *process) look(t *testing.T, slot, seat int64, header ...string) seen {
	t.Helper()
	r := p.send(t, "GET", fmt.Sprintf("/api/seats?slot=%d&seat=%d", slot, seat), "", header...)
	var s seen
	r.has(t, &s)
	if r.status != http.StatusOK || len(s.Seats) != 1 || s.Seats[0].ID != seat {
		t.Fatalf("look at seat %d: %d %s", seat, r.status, r.body)
	}
	return s
}

// count asks the primary, past everything.
func (s *stage) count(t *testing.T, sql string, args ...any) int {
	t.Helper()
	text, err := s.db.Primary().QueryString(context.Background(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// patient makes reads wait for a replica for as long as a busy machine needs.
func (p *process) patient(t *testing.T) {
	t.Helper()
	if r := p.send(t, "PUT", "/api/config", `{"wait":"5s"}`); r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	until(t, "the new configuration is in force", func() bool {
		return strings.Contains(p.send(t, "GET", "/api/state", "").body, `"wait":"5s"`)
	})
}

func TestBookingsAreReadFromReplicas(t *testing.T) {
	ways(t, func(t *testing.T, _ *stage, p *process) {
		p.patient(t)
		var all struct {
			Slots []struct {
				ID           int64
				Starts, Ends string
			}
			Rooms []struct {
				ID            int64
				Name          string
				Rows, Columns int
			}
			Route routed
		}
		r := p.send(t, "GET", "/api/slots", "")
		r.has(t, &all)
		if len(all.Slots) < 6 || len(all.Rooms) != 2 || all.Rooms[0].Rows != 10 || all.Rooms[0].Columns != 10 || all.Route.Role != "replica" {
			t.Errorf("slots: %s", r.body)
		}
		if h := r.header.Get("X-Route"); !strings.HasPrefix(h, "instance=one node=pg") || !strings.Contains(h, " role=replica reason=") || !strings.Contains(h, " waited_ms=") {
			t.Errorf("X-Route: %q", h)
		}

		seat := newSeat()
		b := p.book(t, key(t), 1, seat)
		if b.Route.Role != "primary" || b.Route.Node != "pg1" || b.Route.Instance != "one" {
			t.Errorf("booked by %+v", b.Route)
		}
		s := p.look(t, 1, seat, "Pgroute-Token", b.Token)
		if !s.Seats[0].Taken || s.Seats[0].By != "Ann" || s.Route.Role != "replica" || s.Route.Level != "session" {
			t.Errorf("the seat is shown as %+v", s)
		}
		for _, level := range []string{"strong", "primary"} {
			s = p.look(t, 1, seat, "X-Consistency", level)
			if want := map[string]string{"strong": "replica", "primary": "primary"}[level]; !s.Seats[0].Taken || s.Route.Level != level || s.Route.Role != want {
				t.Errorf("at %s the seat is shown as %+v", level, s)
			}
		}
		r = p.send(t, "GET", fmt.Sprintf("/api/seats?slot=1&room=%d&consistency=strong", (seat-1)/100+1), "")
		var room seen
		r.has(t, &room)
		if len(room.Seats) != 100 || !room.Seats[(seat-1)%100].Taken {
			t.Errorf("the room: %s", r.body)
		}

		path := fmt.Sprintf("/api/bookings/%d", b.Booking.ID)
		var again booked
		r = p.send(t, "GET", path, "")
		r.has(t, &again)
		if again.Booking != b.Booking || again.Route.Role != "replica" {
			t.Errorf("the booking is %s, and was %+v", r.body, b.Booking)
		}
		for range 2 { // the second changes nothing
			r = p.send(t, "DELETE", path, "")
			again = booked{}
			r.has(t, &again)
			if r.status != http.StatusOK || again.Booking.Cancelled == "" || again.Token == "" {
				t.Errorf("cancel: %d %s", r.status, r.body)
			}
		}
		if p.look(t, 1, seat, "Pgroute-Token", again.Token).Seats[0].Taken {
			t.Error("the seat of a cancelled booking is not free")
		}
		if r = p.send(t, "POST", "/api/bookings", wish(1, seat, "Ann"), "Idempotency-Key", key(t)); r.status != http.StatusConflict || r.code() != "cancelled" {
			t.Errorf("the key of a cancelled booking: %d %s", r.status, r.body)
		}
		p.book(t, key(t)+"-2", 1, seat)
	})
}

func TestSameKeyBooksOnce(t *testing.T) {
	ways(t, func(t *testing.T, s *stage, p *process) {
		seat := newSeat()
		var made, repeated atomic.Int32
		var ids sync.Map
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				r, err := send("POST", p.addr, "/api/bookings", wish(1, seat, "Ann"), "Idempotency-Key", key(t))
				switch {
				case err != nil:
					t.Error(err)
				case r.status == http.StatusCreated:
					made.Add(1)
				case r.status == http.StatusOK:
					repeated.Add(1)
				default:
					t.Errorf("%d %s", r.status, r.body)
				}
				var b booked
				if json.Unmarshal([]byte(r.body), &b) == nil {
					ids.Store(b.Booking.ID, true)
				}
				if b.Token == "" {
					t.Error("an acknowledgement without a token")
				}
			})
		}
		wg.Wait()
		different := 0
		ids.Range(func(any, any) bool { different++; return true })
		if made.Load() != 1 || repeated.Load() != 29 || different != 1 {
			t.Errorf("made %d, repeated %d, different bookings %d", made.Load(), repeated.Load(), different)
		}
		if n := s.count(t, "SELECT count(*) FROM bookings WHERE idempotency_key = $1", key(t)); n != 1 {
			t.Errorf("%d bookings in the database", n)
		}
	})
}

func TestHundredUsersOneSeat(t *testing.T) {
	ways(t, func(t *testing.T, s *stage, p *process) {
		seat := newSeat()
		r := p.send(t, "POST", "/api/fight", fmt.Sprintf(`{"slot":1,"seat":%d,"users":100}`, seat))
		var score struct {
			Users, Booked, Refused, Errors int
			Looks                          []struct {
				Level                string
				Reads, Stale, Errors int
			}
			Winner *struct {
				Customer, Instance string
				Booking            int64
			}
		}
		r.has(t, &score)
		if score.Users != 100 || score.Booked != 1 || score.Refused != 99 || score.Errors != 0 || score.Winner == nil || score.Winner.Instance != "one" {
			t.Fatalf("%d %s", r.status, r.body)
		}
		if len(score.Looks) != 4 {
			t.Errorf("looks: %s", r.body)
		}
		for _, l := range score.Looks {
			if l.Level != "eventual" && (l.Stale != 0 || l.Errors != 0 || l.Reads == 0) {
				t.Errorf("at %s: %+v", l.Level, l)
			}
		}
		if n := s.count(t, "SELECT count(*) FROM bookings WHERE slot_id = 1 AND seat_id = $1 AND cancelled IS NULL", seat); n != 1 {
			t.Errorf("%d bookings in the database", n)
		}
		if n := s.count(t, "SELECT count(*) FROM bookings WHERE seat_id = $1 AND id = $2 AND customer = $3", seat, score.Winner.Booking, score.Winner.Customer); n != 1 {
			t.Errorf("the winner %+v is not in the database", score.Winner)
		}
		// Who comes later is refused, politely.
		r = p.send(t, "POST", "/api/fight", fmt.Sprintf(`{"slot":1,"seat":%d,"users":10}`, seat))
		if !strings.Contains(r.body, `"booked":0,"refused":10,"errors":0`) || !strings.Contains(r.body, `"winner":null`) {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
}

func TestOverlappingSlotsShareTheSeat(t *testing.T) {
	ways(t, func(t *testing.T, s *stage, p *process) {
		overlapping := int64(s.count(t, `INSERT INTO slots (during)
			SELECT tstzrange(lower(during) + interval '1 hour', upper(during) + interval '1 hour' + random() * interval '1 minute') FROM slots WHERE id = 1 RETURNING id`))
		seat := newSeat()
		b := p.book(t, key(t), 1, seat)
		r := p.send(t, "POST", "/api/bookings", wish(overlapping, seat, "Bob"), "Idempotency-Key", key(t)+"-2")
		if r.status != http.StatusConflict || r.code() != "seat_taken" {
			t.Errorf("%d %s", r.status, r.body)
		}
		if !p.look(t, overlapping, seat, "Pgroute-Token", b.Token).Seats[0].Taken {
			t.Error("the overlapping slot shows the seat as free")
		}
		if p.look(t, 2, seat, "Pgroute-Token", b.Token).Seats[0].Taken {
			t.Error("another slot shows the seat as taken")
		}
	})
}
