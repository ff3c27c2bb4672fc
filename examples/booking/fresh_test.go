package main

import (
	"fmt"
	"net/http"
	"testing"
)

// hold returns a function that holds a replica back, or lets it catch up.
func (p *process) hold(t *testing.T) func(node string, late bool) {
	return func(node string, late bool) {
		t.Helper()
		if r := p.send(t, "POST", "/api/late", fmt.Sprintf(`{"node":%q,"late":%t}`, node, late)); r.status != http.StatusOK {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
}

// The question that started it all: a booking is made on one instance, and
// another one, over other connections to other servers, must show it at once.
func TestNobodyShowsABookedSeatAsFree(t *testing.T) {
	s := own(t)
	instances := []*process{
		s.instance(t, "/fresh", "first", s.sidecar(t, "")),
		s.instance(t, "/fresh", "second", s.sidecar(t, "")),
		s.instance(t, "/fresh", "third", nil),
	}
	hold := instances[0].hold(t)
	// check books a seat on one instance and looks at it on all; it returns how
	// many of the reads at eventual were stale.
	seat := int64(0)
	check := func(booker *process) (stale, reads int) {
		t.Helper()
		seat++
		b := booker.book(t, key(t)+booker.name+string(rune('A'+seat)), 1, seat)
		for range 3 {
			for _, p := range instances {
				for _, header := range [][]string{
					{"X-Consistency", "session", "Pgroute-Token", b.Token},
					{"X-Consistency", "session", "Cookie", "pgroute_token=" + b.Token},
					{"X-Consistency", "strong"},
					{"X-Consistency", "primary"},
				} {
					if got := p.look(t, 1, seat, header...); !got.Seats[0].Taken {
						t.Errorf("%s booked seat %d; %s shows it as free at %v: %+v", booker.name, seat, p.name, header, got.Route)
					}
				}
				reads++
				if got := p.look(t, 1, seat, "X-Consistency", "eventual"); !got.Seats[0].Taken {
					stale++
				}
			}
			// Who booked sees it at session without a token too.
			if got := booker.look(t, 1, seat); !got.Seats[0].Taken {
				t.Errorf("%s does not see its own booking: %+v", booker.name, got.Route)
			}
		}
		return stale, reads
	}

	for _, p := range instances {
		check(p)
	}
	hold("pg2", true)
	for _, p := range instances {
		check(p)
	}
	hold("pg3", true)
	for _, p := range instances {
		if stale, reads := check(p); stale != reads {
			t.Errorf("with both replicas held back %d of %d eventual reads were stale: the test proves nothing", stale, reads)
		}
	}
	hold("pg2", false)
	hold("pg3", false)
	until(t, "both replicas have caught up", func() bool {
		stale, _ := 0, 0
		for _, p := range instances {
			for range 4 {
				if !p.look(t, 1, seat, "X-Consistency", "eventual").Seats[0].Taken {
					stale++
				}
			}
		}
		return stale == 0
	})
}

// At session it is the token that carries a booking to another instance. Reads
// at strong would hide that: they bring a connection up to date for good.
func TestTokenCarriesABookingToAnotherInstance(t *testing.T) {
	s := own(t)
	first := s.instance(t, "/token", "first", s.sidecar(t, ""))
	others := []*process{s.instance(t, "/token", "second", s.sidecar(t, "")), s.instance(t, "/token", "third", nil)}
	for _, p := range others {
		p.patient(t)
		if got := p.look(t, 1, 1); got.Route.Role != "replica" {
			t.Fatalf("%s: %+v", p.name, got)
		}
	}
	hold := first.hold(t)
	hold("pg2", true)
	hold("pg3", true)
	b := first.book(t, key(t), 1, 1)
	for _, p := range others {
		if got := p.look(t, 1, 1); got.Seats[0].Taken {
			t.Errorf("%s shows the booking without its token, and the test proves nothing: %+v", p.name, got)
		}
		if got := p.look(t, 1, 1, "Pgroute-Token", b.Token); !got.Seats[0].Taken {
			t.Errorf("%s shows the seat as free: %+v", p.name, got)
		}
	}
	if got := first.look(t, 1, 1); !got.Seats[0].Taken {
		t.Errorf("who booked shows the seat as free: %+v", got)
	}
}
