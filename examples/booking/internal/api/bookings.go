package api

import (
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pgroute/pgroute/examples/booking/internal/store"
	"github.com/pgroute/pgroute/router"
)

func (a *API) getSlots(w http.ResponseWriter, r *http.Request) error {
	need, err := a.need(r)
	if err != nil {
		return err
	}
	return withCookie(w, r, need, func(need store.Need) error {
		slots, rooms, where, err := a.cfg.Store.Slots(r.Context(), need)
		if err != nil {
			return err
		}
		route := a.route(where, need.Level.String())
		route.show(w)
		writeJSON(w, http.StatusOK, map[string]any{"slots": slots, "rooms": rooms, "route": route})
		return nil
	})
}

func (a *API) getSeats(w http.ResponseWriter, r *http.Request) error {
	slot, err := number(r.URL.Query().Get("slot"), "slot")
	if err != nil {
		return err
	}
	var room, seat int64
	// One seat may be asked for by itself.
	if word := r.URL.Query().Get("seat"); word != "" {
		if seat, err = number(word, "seat"); err != nil {
			return err
		}
	}
	if word := r.URL.Query().Get("room"); word != "" || seat == 0 {
		if room, err = number(word, "room"); err != nil {
			return err
		}
	}
	need, err := a.need(r)
	if err != nil {
		return err
	}
	return withCookie(w, r, need, func(need store.Need) error {
		seats, where, err := a.cfg.Store.Seats(r.Context(), need, slot, room, seat)
		if err != nil {
			return err
		}
		route := a.route(where, need.Level.String())
		route.show(w)
		writeJSON(w, http.StatusOK, seatsBody{slot, room, seats, route})
		return nil
	})
}

// seatsBody is the answer to a question for seats, and the event seats.
type seatsBody struct {
	Slot  int64        `json:"slot"`
	Room  int64        `json:"room"`
	Seats []store.Seat `json:"seats"`
	Route route        `json:"route"`
}

// bookingBody is the answer to everything that concerns one booking.
type bookingBody struct {
	Booking store.Booking `json:"booking"`
	Route   route         `json:"route"`
	Token   string        `json:"token,omitempty"`
}

// maxCustomer bounds a customer's name, in characters.
const maxCustomer = 80

// maxKey bounds an idempotency key, in bytes.
const maxKey = 200

func (a *API) postBooking(w http.ResponseWriter, r *http.Request) error {
	key := r.Header.Get("Idempotency-Key")
	switch {
	case key == "":
		return fail(http.StatusBadRequest, "bad_key", "the header Idempotency-Key is missing: choose a random text for each booking, and send the same one if you repeat the request")
	case len(key) > maxKey || strings.ContainsFunc(key, func(c rune) bool { return c < '!' || c > '~' }):
		return fail(http.StatusBadRequest, "bad_key", "the Idempotency-Key must be 1 to %d printable ASCII characters", maxKey)
	}
	var body struct {
		Slot     int64  `json:"slot"`
		Seat     int64  `json:"seat"`
		Customer string `json:"customer"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	body.Customer = strings.TrimSpace(body.Customer)
	switch {
	case body.Customer == "" || utf8.RuneCountInString(body.Customer) > maxCustomer || strings.ContainsFunc(body.Customer, unicode.IsControl):
		return fail(http.StatusBadRequest, "bad_customer", "customer must be a name of 1 to %d characters", maxCustomer)
	case !possible(body.Slot):
		return store.ErrNoSlot
	case !possible(body.Seat):
		return store.ErrNoSeat
	}
	b, receipt, made, err := a.cfg.Store.Book(r.Context(), store.Wish{Key: key, Slot: body.Slot, Seat: body.Seat, Customer: body.Customer})
	if err != nil {
		return err
	}
	status := http.StatusOK
	if made {
		status = http.StatusCreated
		w.Header().Set("Location", "/api/bookings/"+strconv.FormatInt(b.ID, 10))
	}
	a.acknowledge(w, status, b, receipt)
	return nil
}

// acknowledge tells the client that something was written.
func (a *API) acknowledge(w http.ResponseWriter, status int, b store.Booking, receipt store.Receipt) {
	route := a.route(receipt.Route, router.LevelPrimary.String())
	route.show(w)
	giveToken(w, receipt.Token)
	writeJSON(w, status, bookingBody{b, route, receipt.Token})
}

func (a *API) getBooking(w http.ResponseWriter, r *http.Request) error {
	id, err := number(r.PathValue("id"), "id")
	if err != nil {
		return err
	}
	need, err := a.need(r)
	if err != nil {
		return err
	}
	return withCookie(w, r, need, func(need store.Need) error {
		b, where, err := a.cfg.Store.Booking(r.Context(), need, id)
		if err != nil {
			return err
		}
		route := a.route(where, need.Level.String())
		route.show(w)
		writeJSON(w, http.StatusOK, bookingBody{Booking: b, Route: route})
		return nil
	})
}

func (a *API) deleteBooking(w http.ResponseWriter, r *http.Request) error {
	id, err := number(r.PathValue("id"), "id")
	if err != nil {
		return err
	}
	b, receipt, err := a.cfg.Store.Cancel(r.Context(), id)
	if err != nil {
		return err
	}
	a.acknowledge(w, http.StatusOK, b, receipt)
	return nil
}

// number reads an id.
func number(word, name string) (int64, error) {
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil || n < 1 {
		return 0, fail(http.StatusBadRequest, "bad_request", "%s must be a positive integer, not %q", name, clip(word))
	}
	return n, nil
}

// possible reports whether an id can exist; JSON numbers end there too.
func possible(id int64) bool { return id > 0 && id < 1<<53 }

func clip(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
