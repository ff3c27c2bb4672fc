package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// stream is a listener to an instance's events.
type stream struct {
	t     *testing.T
	resp  *http.Response
	lines *bufio.Scanner
}

func (p *process) listen(t *testing.T, query string) *stream {
	t.Helper()
	resp, err := client.Get("http://" + p.addr + "/api/events" + query)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	s := &stream{t: t, resp: resp, lines: bufio.NewScanner(resp.Body)}
	s.lines.Buffer(nil, 1<<20)
	return s
}

// next waits for an event of a kind that ok accepts.
func (s *stream) next(kind string, ok func(data string) bool) {
	s.t.Helper()
	event := ""
	for s.lines.Scan() {
		name, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch {
		case name == "event":
			event = value
		case name == "data" && event == kind && ok(value):
			return
		}
	}
	s.t.Fatalf("the stream ended without the event %s: %v", kind, s.lines.Err())
}

func TestEveryInstanceTellsWhatOthersBook(t *testing.T) {
	s := share(t)
	a := s.instance(t, path(t), "a", s.sidecar(t, ""))
	b := s.instance(t, path(t), "b", nil)
	lb := s.balancer(t, 2)
	if r := a.send(t, "PUT", "/api/config", `{"consistency":"strong"}`); r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	listeners := map[string]*stream{}
	for name, p := range map[string]*process{"a": a, "b": b, "lb": lb} {
		l := p.listen(t, "?slot=1&room=1")
		listeners[name] = l
		l.next("seats", func(data string) bool {
			var all seen
			if err := json.Unmarshal([]byte(data), &all); err != nil || len(all.Seats) != 100 || all.Slot != 1 || all.Room != 1 || all.Route.Node == "" {
				t.Errorf("%s begins with %v %s", name, err, data)
			}
			return true
		})
	}
	only := a.listen(t, "") // the state alone
	only.next("state", func(data string) bool { return strings.Contains(data, `"registry":"connected"`) })

	seat := newSeat()
	booking := a.book(t, key(t), 1, seat)
	changed := func(taken bool) func(string) bool {
		return func(data string) bool {
			var some seen
			if err := json.Unmarshal([]byte(data), &some); err != nil {
				t.Error(err)
			}
			for _, s := range some.Seats {
				if s.ID == seat && s.Taken == taken && len(some.Seats) < 100 {
					return true
				}
			}
			return false
		}
	}
	for _, l := range listeners {
		l.next("seats", changed(true))
	}
	if r := b.send(t, "DELETE", fmt.Sprint("/api/bookings/", booking.Booking.ID), ""); r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	for _, l := range listeners {
		l.next("seats", changed(false))
	}
	if r := b.send(t, "PUT", "/api/config", `{"wait":"2s"}`); r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	only.next("state", func(data string) bool { return strings.Contains(data, `"wait":"2s"`) })

	// Streams end when their instance does, and the browser goes elsewhere.
	a.stop()
	for only.lines.Scan() {
	}
	listeners["b"].next("state", func(data string) bool { return !strings.Contains(data, `"name":"a"`) })
	lb.listen(t, "?slot=1&room=1").next("state", func(data string) bool { return strings.Contains(data, `"instance":"b"`) })
}
