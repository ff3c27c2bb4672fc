package api_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pgroute/pgroute/internal/booklab/api"
)

func TestBookSendsTheKeyAndReadsTheBooking(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.Path != "/api/bookings" || r.Header.Get("Idempotency-Key") != "k1" ||
			string(body) != `{"slot":2,"seat":17,"customer":"Ada"}` {
			t.Errorf("%s %s with key %q and %s", r.Method, r.URL, r.Header.Get("Idempotency-Key"), body)
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"booking":{"id":5,"slot":2,"seat":17,"customer":"Ada"},"route":{"instance":"a","node":"pg1","waited_ms":0.5},"token":"pgr1_x"}`)
	}))
	defer srv.Close()
	got, err := new(api.Client).Book(t.Context(), srv.URL, "k1", api.Wish{Slot: 2, Seat: 17, Customer: "Ada"})
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Booking.ID) != "5" || got.Booking.Customer != "Ada" || got.Token != "pgr1_x" || got.Route.Node != "pg1" || got.Route.WaitedMS != 0.5 {
		t.Errorf("got %+v", got)
	}
}

func TestSeatsSendsLevelAndToken(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "/api/seats?room=3&slot=2" || r.Header.Get("X-Consistency") != "session" || r.Header.Get(api.TokenHeader) != "pgr1_x" {
			t.Errorf("%s with %v", r.URL, r.Header)
		}
		_, _ = io.WriteString(w, `{"slot":2,"room":3,"seats":[{"id":17,"row":"B","number":3,"taken":true,"booked_by":"Ada"}],"route":{"role":"replica"}}`)
	}))
	defer srv.Close()
	got, err := new(api.Client).Seats(t.Context(), srv.URL, 2, 3, api.How{Level: "session", Token: "pgr1_x"})
	if err != nil {
		t.Fatal(err)
	}
	if s := got.Find(17); s == nil || !s.Taken || s.BookedBy != "Ada" || got.Find(18) != nil || got.Route.Role != "replica" {
		t.Errorf("got %+v", got)
	}
}

func TestErrorsSayWhatWasAnswered(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       api.Error
	}{
		{"of the service", `{"error":{"code":"seat_taken","message":"Seat B3 is taken."}}`,
			api.Error{Status: 409, Code: "seat_taken", Message: "Seat B3 is taken.", Route: api.Route{Instance: "a", Node: "pg1"}}},
		{"of somebody else", "gone", api.Error{Status: 409, Code: "Conflict", Message: `"gone"`, Route: api.Route{Instance: "a", Node: "pg1"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Route", "instance=a node=pg1 waited_ms=0")
				w.WriteHeader(http.StatusConflict)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer srv.Close()
			_, err := new(api.Client).State(t.Context(), srv.URL)
			var got *api.Error
			if !errors.As(err, &got) || *got != tt.want {
				t.Errorf("got %v, want %v", err, &tt.want)
			}
		})
	}
}
