// Package fight lets many users want the same seat at once, through all
// instances of the service, and looks what each instance then shows.
package fight

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Fight is one seat and who wants it.
type Fight struct {
	Client *http.Client
	// Instances are the addresses of all instances, HOST:PORT.
	Instances  []string
	Slot, Seat int64
	// Users is how many want the seat.
	Users int
}

// Score is how it ended.
type Score struct {
	Users   int `json:"users"`
	Booked  int `json:"booked"`
	Refused int `json:"refused"`
	Errors  int `json:"errors"`
	TookMS  int `json:"took_ms"`
	// Looks tell what the instances showed after the booking had been
	// acknowledged.
	Looks  []Look  `json:"looks"`
	Winner *Winner `json:"winner"`
}

// Look counts the reads at one level, and those that were stale: they showed
// the seat as free.
type Look struct {
	Level  string `json:"level"`
	Reads  int    `json:"reads"`
	Stale  int    `json:"stale"`
	Errors int    `json:"errors"`
}

// Winner is who got the seat.
type Winner struct {
	Customer string `json:"customer"`
	Instance string `json:"instance"`
	Booking  int64  `json:"booking"`
}

// Levels are what is looked at, from the weakest to the strongest. The reads
// at session carry the winner's token.
var levels = []string{"eventual", "session", "strong", "primary"}

// looksEach is how often each instance is asked at each level.
const looksEach = 8

// run is a fight that is on.
type run struct {
	Fight
	mu    sync.Mutex // guards the fields below
	score Score
	wg    sync.WaitGroup // counts the looks
}

// Run lets all users book at the same time. Each acknowledgement is followed,
// at once, by looks at every instance.
func (f Fight) Run(ctx context.Context) Score {
	r := &run{Fight: f, score: Score{Users: f.Users}}
	for _, level := range levels {
		r.score.Looks = append(r.score.Looks, Look{Level: level})
	}
	began := time.Now()
	var users sync.WaitGroup
	start := make(chan struct{})
	for i := range f.Users {
		users.Go(func() {
			<-start
			r.book(ctx, i)
		})
	}
	close(start)
	users.Wait()
	r.wg.Wait()
	r.score.TookMS = int(time.Since(began).Milliseconds())
	return r.score
}

// answer is the part of a booking's answer that matters here.
type answer struct {
	Booking struct {
		ID       int64  `json:"id"`
		Customer string `json:"customer"`
	} `json:"booking"`
	Route struct {
		Instance string `json:"instance"`
	} `json:"route"`
	Token string `json:"token"`
}

// book is what one user does.
func (r *run) book(ctx context.Context, user int) {
	body, err := json.Marshal(map[string]any{"slot": r.Slot, "seat": r.Seat, "customer": "user " + strconv.Itoa(user+1)})
	if err != nil {
		panic(err) // Numbers and a string can be encoded.
	}
	var a answer
	status, err := r.do(ctx, http.MethodPost, r.Instances[user%len(r.Instances)], "/api/bookings", bytes.NewReader(body),
		map[string]string{"Idempotency-Key": rand.Text(), "Content-Type": "application/json"}, &a)

	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil && (status == http.StatusCreated || status == http.StatusOK):
		r.score.Booked++
		r.score.Winner = &Winner{a.Booking.Customer, a.Route.Instance, a.Booking.ID}
		r.look(ctx, a.Token)
	case err == nil && status == http.StatusConflict:
		r.score.Refused++
	default:
		r.score.Errors++
	}
}

// look asks every instance at every level, all at once.
func (r *run) look(ctx context.Context, token string) {
	for i := range levels {
		for _, instance := range r.Instances {
			for range looksEach {
				// Run waits for it.
				r.wg.Go(func() { r.lookOnce(ctx, i, instance, token) })
			}
		}
	}
}

func (r *run) lookOnce(ctx context.Context, level int, instance, token string) {
	header := map[string]string{"X-Consistency": levels[level]}
	if levels[level] == "session" {
		header["Pgroute-Token"] = token
	}
	var shown struct {
		Seats []struct {
			Taken bool `json:"taken"`
		} `json:"seats"`
	}
	status, err := r.do(ctx, http.MethodGet, instance, fmt.Sprintf("/api/seats?slot=%d&seat=%d", r.Slot, r.Seat), http.NoBody, header, &shown)

	r.mu.Lock()
	defer r.mu.Unlock()
	l := &r.score.Looks[level]
	if err != nil || status != http.StatusOK || len(shown.Seats) != 1 {
		l.Errors++
		return
	}
	l.Reads++
	if !shown.Seats[0].Taken {
		l.Stale++
	}
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

func (r *run) do(ctx context.Context, method, instance, path string, body io.Reader, header map[string]string, into any) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+instance+path, body)
	if err != nil {
		return 0, err
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := r.Client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, fmt.Errorf("read the answer: %w", err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return 0, errors.Join(errors.New("the answer is not JSON"), err)
	}
	return resp.StatusCode, nil
}
