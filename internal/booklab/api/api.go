// Package api is a client of the booking example's HTTP interface, for the demo
// and for tests. It says what was answered and judges nothing: whether to try
// again, and where, is for the caller to decide.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Client talks to any number of instances. It is safe for concurrent use.
type Client struct {
	// HTTP makes the requests; nil means http.DefaultClient.
	HTTP *http.Client
}

// Error is an answer that is not a success.
type Error struct {
	Status        int
	Code, Message string
	// Route is what the header X-Route says, empty if there is none.
	Route Route
}

// Error returns all of it.
func (e *Error) Error() string {
	return fmt.Sprintf("HTTP %d: %s: %s", e.Status, e.Code, e.Message)
}

// Route is where and why something ran there, as an instance tells it.
type Route struct {
	Instance string  `json:"instance"`
	Via      string  `json:"via"`
	Node     string  `json:"node"`
	Role     string  `json:"role"`
	Reason   string  `json:"reason"`
	Level    string  `json:"level"`
	WaitedMS float64 `json:"waited_ms"`
}

// Slot is a time for which seats are sold.
type Slot struct {
	ID     int64  `json:"id"`
	Starts string `json:"starts"`
	Ends   string `json:"ends"`
}

// Room is a room with its seats.
type Room struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Rows    int    `json:"rows"`
	Columns int    `json:"columns"`
}

// Program is what can be booked.
type Program struct {
	Slots []Slot `json:"slots"`
	Rooms []Room `json:"rooms"`
}

// Seat is one seat as a read shows it.
type Seat struct {
	ID       int64  `json:"id"`
	Row      string `json:"row"`
	Number   int    `json:"number"`
	Taken    bool   `json:"taken"`
	BookedBy string `json:"booked_by"`
}

// Seats is a room in a slot.
type Seats struct {
	Slot  int64  `json:"slot"`
	Room  int64  `json:"room"`
	Seats []Seat `json:"seats"`
	Route Route  `json:"route"`
}

// Find returns a seat, nil if it is not there.
func (s *Seats) Find(id int64) *Seat {
	for i := range s.Seats {
		if s.Seats[i].ID == id {
			return &s.Seats[i]
		}
	}
	return nil
}

// Wish is what somebody wants to book.
type Wish struct {
	Slot     int64  `json:"slot"`
	Seat     int64  `json:"seat"`
	Customer string `json:"customer"`
}

// Booked is the answer to a Wish that came true.
type Booked struct {
	Booking struct {
		ID       json.RawMessage `json:"id"` // of whatever type
		Slot     int64           `json:"slot"`
		Seat     int64           `json:"seat"`
		Customer string          `json:"customer"`
	} `json:"booking"`
	Route Route  `json:"route"`
	Token string `json:"token"`
}

// How says how much a read must see. The zero value leaves it to the instance.
type How struct {
	Level string
	// Token joins the session of another instance; empty means none.
	Token string
}

// TokenHeader carries a token.
const TokenHeader = "Pgroute-Token"

// Slots returns what can be booked.
func (c *Client) Slots(ctx context.Context, base string) (*Program, error) {
	var p Program
	return &p, c.do(ctx, http.MethodGet, base+"/api/slots", nil, nil, &p)
}

// Seats returns the seats of a room in a slot.
func (c *Client) Seats(ctx context.Context, base string, slot, room int64, how How) (*Seats, error) {
	q := url.Values{"slot": {strconv.FormatInt(slot, 10)}, "room": {strconv.FormatInt(room, 10)}}
	header := http.Header{}
	if how.Level != "" {
		header.Set("X-Consistency", how.Level)
	}
	if how.Token != "" {
		header.Set(TokenHeader, how.Token)
	}
	var s Seats
	return &s, c.do(ctx, http.MethodGet, base+"/api/seats?"+q.Encode(), header, nil, &s)
}

// Book books a seat under an idempotency key.
func (c *Client) Book(ctx context.Context, base, key string, w Wish) (*Booked, error) {
	var b Booked
	return &b, c.do(ctx, http.MethodPost, base+"/api/bookings", http.Header{"Idempotency-Key": {key}}, w, &b)
}

// do makes a request; a success is decoded into answer, and the rest is an
// *Error or the error of the connection.
func (c *Client) do(ctx context.Context, method, target string, header http.Header, body, answer any) error {
	var r io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, target, err)
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, r)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, target, err)
	}
	if header != nil {
		req.Header = header
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return err // it names method and URL
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, target, err)
	}
	if resp.StatusCode/100 != 2 {
		e := refusal(resp.StatusCode, text)
		e.Route = parseRoute(resp.Header.Get("X-Route"))
		return e
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s %s: %w in %.200q", method, target, err, text)
	}
	return nil
}

// refusal reads the body of an answer that is not a success.
func refusal(status int, text []byte) *Error {
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &body) != nil || body.Error.Code == "" {
		return &Error{Status: status, Code: http.StatusText(status), Message: fmt.Sprintf("%.200q", text)}
	}
	return &Error{Status: status, Code: body.Error.Code, Message: body.Error.Message}
}

// parseRoute reads X-Route, words of the form name=value.
func parseRoute(text string) Route {
	var r Route
	for word := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "instance":
			r.Instance = value
		case "via":
			r.Via = value
		case "node":
			r.Node = value
		case "role":
			r.Role = value
		case "reason":
			r.Reason = value
		case "level":
			r.Level = value
		}
	}
	return r
}
