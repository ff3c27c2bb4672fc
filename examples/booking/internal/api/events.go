package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/pgroute/pgroute/examples/booking/internal/store"
)

const (
	// eventPace is how often somebody looks whether something has changed.
	eventPace = 300 * time.Millisecond
	// eventSilence is how long a stream may be silent: then a comment is sent,
	// so that nobody on the way takes it for dead.
	eventSilence = 15 * time.Second
	// eventWrite bounds one write to a listener.
	eventWrite = 10 * time.Second
)

// getEvents streams what changes, as server-sent events: "seats" with the
// seats of a room in a slot, first all and then those that changed, and "state".
// The seats are as the central configuration's level shows them.
func (a *API) getEvents(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	var topics = []topic{{}}
	if q.Get("slot") != "" || q.Get("room") != "" {
		slot, err := number(q.Get("slot"), "slot")
		if err != nil {
			return err
		}
		room, err := number(q.Get("room"), "room")
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		_, _, err = a.cfg.Store.Seats(ctx, a.central(), slot, room, 0)
		cancel()
		if err != nil {
			return err
		}
		topics = append(topics, topic{slot, room})
	}
	l, err := a.events.join(topics)
	if err != nil {
		return err
	}
	defer a.events.leave(l)

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // for proxies that would collect it
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	silence := time.NewTicker(eventSilence)
	defer silence.Stop()
	for message := []byte("retry: 1000\n\n"); ; {
		_ = out.SetWriteDeadline(time.Now().Add(eventWrite))
		if _, err := w.Write(message); err != nil {
			return nil // The listener has gone.
		}
		if err := out.Flush(); err != nil {
			return nil
		}
		select {
		case message = <-l.messages:
		case <-silence.C:
			message = []byte(": still here\n\n")
		case <-l.over:
			return nil // It is too slow, or we are ending: it will come back.
		case <-r.Context().Done():
			return nil
		}
	}
}

// event returns a server-sent event. JSON has no line breaks of its own.
func event(name string, data any) []byte {
	text, err := json.Marshal(data)
	if err != nil {
		panic(err) // Our own types can be encoded.
	}
	return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", name, text)
}

// seatsPoll looks at the seats of a room in a slot.
type seatsPoll struct {
	a     *API
	topic topic
	last  map[int64]store.Seat
}

// look returns all seats, and those that have changed since it was called
// last; nil if there are none.
func (p *seatsPoll) look(ctx context.Context) (all, changed []byte, err error) {
	need := p.a.central()
	seats, where, err := p.a.cfg.Store.Seats(ctx, need, p.topic.slot, p.topic.room, 0)
	if err != nil {
		return nil, nil, err
	}
	body := seatsBody{p.topic.slot, p.topic.room, seats, p.a.route(where, need.Level.String())}
	all = event("seats", body)
	body.Seats = nil
	now := make(map[int64]store.Seat, len(seats))
	for _, seat := range seats {
		now[seat.ID] = seat
		if was, known := p.last[seat.ID]; !known || was != seat {
			body.Seats = append(body.Seats, seat)
		}
	}
	p.last = now
	if body.Seats == nil {
		return all, nil, nil
	}
	return all, event("seats", body), nil
}

// statePoll looks at the state.
type statePoll struct {
	a    *API
	last []byte
}

func (p *statePoll) look(ctx context.Context) (all, changed []byte, err error) {
	all = event("state", p.a.state(ctx))
	if !bytes.Equal(all, p.last) {
		changed = all
	}
	p.last = all
	return all, changed, ctx.Err()
}
