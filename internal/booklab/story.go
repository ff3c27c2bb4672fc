package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/pgroute/pgroute/internal/booklab/api"
	"github.com/pgroute/pgroute/internal/booklab/lab"
)

// story is what is told without a terminal: the same that one would click on
// the page.
type story struct {
	scr    *screen
	lab    *lab.Lab
	client *api.Client
	seats  *api.Seats // of the first slot and room, as they were at the start
	used   map[int64]bool

	broken []string
}

// readers is how many reads each instance gets at once, at each level: enough
// connections for all servers to be asked.
const readers = 12

// users is how many fight for one seat.
const users = 100

// tell tells it. An error is a broken promise, or that it could not go on.
func tell(ctx context.Context, scr *screen, l *lab.Lab) error {
	s := &story{scr: scr, lab: l, used: make(map[int64]bool),
		client: &api.Client{HTTP: &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: readers}}}}
	defer s.client.HTTP.CloseIdleConnections()
	for _, chapter := range []func(context.Context) error{s.open, s.everywhere, s.late, s.fight} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return s.score()
}

// score says whether all went well, also by its error.
func (s *story) score() error {
	s.scr.head("The score")
	if len(s.broken) == 0 {
		s.scr.line("  %s", s.scr.good("Every promise was kept."))
		return nil
	}
	var err error
	for _, b := range s.broken {
		s.scr.line("  %s", s.scr.bad("Broken: "+b))
		err = errors.Join(err, errors.New(b))
	}
	return fmt.Errorf("a promise was broken: %w", err)
}

func (s *story) promise(kept bool, format string, args ...any) {
	if !kept {
		s.broken = append(s.broken, fmt.Sprintf(format, args...))
	}
}

// open finds out what can be booked.
func (s *story) open(ctx context.Context) error {
	program, err := s.client.Slots(ctx, s.lab.URL())
	if err != nil {
		return fmt.Errorf("ask for the slots: %w", err)
	}
	if len(program.Slots) == 0 || len(program.Rooms) == 0 {
		return errors.New("there is nothing to book")
	}
	s.seats, err = s.client.Seats(ctx, s.lab.URL(), program.Slots[0].ID, program.Rooms[0].ID, api.How{Level: "strong"})
	if err != nil {
		return fmt.Errorf("ask for the seats: %w", err)
	}
	return nil
}

// free takes a seat that nobody has.
func (s *story) free() (api.Seat, error) {
	for _, seat := range s.seats.Seats {
		if !seat.Taken && !s.used[seat.ID] {
			s.used[seat.ID] = true
			return seat, nil
		}
	}
	return api.Seat{}, errors.New("no seat is free")
}

// book books a free seat through the balancer.
func (s *story) book(ctx context.Context, customer string) (api.Seat, *api.Booked, error) {
	seat, err := s.free()
	if err != nil {
		return api.Seat{}, nil, err
	}
	b, err := s.client.Book(ctx, s.lab.URL(), "story-"+customer, api.Wish{Slot: s.seats.Slot, Seat: seat.ID, Customer: customer})
	if err != nil {
		return api.Seat{}, nil, fmt.Errorf("book seat %s%d: %w", seat.Row, seat.Number, err)
	}
	s.scr.line("  %s books seat %s%d: %s wrote it on %s", customer, seat.Row, seat.Number, b.Route.Instance, b.Route.Node)
	return seat, b, nil
}

// everywhere books a seat and looks at it from every instance at once.
func (s *story) everywhere(ctx context.Context) error {
	s.scr.head("One booking, seen everywhere")
	seat, b, err := s.book(ctx, "Ada")
	if err != nil {
		return err
	}
	for _, how := range []api.How{{Level: "strong"}, {Level: "session", Token: b.Token}} {
		for _, i := range s.lab.Instances {
			seats, err := s.client.Seats(ctx, i.URL(), s.seats.Slot, s.seats.Room, how)
			if err != nil {
				return fmt.Errorf("ask %s for the seats: %w", i.Name, err)
			}
			what := "free"
			if got := seats.Find(seat.ID); got != nil && got.Taken {
				what = "taken"
			}
			s.promise(what == "taken", "%s showed seat %s%d as free at %s", i.Name, seat.Row, seat.Number, how.Level)
			r := seats.Route
			s.scr.line("  %-9s at %-15s %-5s  from %s (%s), %s, waited %.1f ms", i.Name, levelText(how), what, r.Node, r.Role, r.Reason, r.WaitedMS)
		}
	}
	return nil
}

func levelText(how api.How) string {
	if how.Token != "" {
		return how.Level + " + token"
	}
	return how.Level
}

// late makes a replica late and looks at a new booking at all levels.
func (s *story) late(ctx context.Context) error {
	replica := s.lab.Cluster.Replicas()[0].Name
	s.scr.head("The same while " + replica + " replays nothing")
	if err := s.client.Late(ctx, s.lab.URL(), replica, true); err != nil {
		return fmt.Errorf("make %s late: %w", replica, err)
	}
	seat, b, err := s.book(ctx, "Grace")
	if err != nil {
		return err
	}
	for _, how := range []api.How{{Level: "strong"}, {Level: "session", Token: b.Token}, {Level: "eventual"}} {
		stale, reads, err := s.looks(ctx, seat, how)
		if err != nil {
			return err
		}
		s.promise(stale == 0 || how.Level == "eventual", "%d of %d reads at %s showed seat %s%d as free", stale, reads, levelText(how), seat.Row, seat.Number)
		s.scr.line("  %-15s  %d reads from all instances, %d stale", levelText(how), reads, stale)
	}
	if err := s.client.Late(ctx, s.lab.URL(), replica, false); err != nil {
		return fmt.Errorf("let %s catch up: %w", replica, err)
	}
	s.scr.line("  %s catches up", replica)
	return nil
}

// looks reads a seat from all instances at once.
func (s *story) looks(ctx context.Context, seat api.Seat, how api.How) (stale, reads int, err error) {
	var (
		mu  sync.Mutex // guards the results
		all sync.WaitGroup
	)
	for _, i := range s.lab.Instances {
		for range readers {
			all.Go(func() {
				seats, e := s.client.Seats(ctx, i.URL(), s.seats.Slot, s.seats.Room, how)
				mu.Lock()
				defer mu.Unlock()
				if e != nil {
					err = errors.Join(err, fmt.Errorf("ask %s for the seats: %w", i.Name, e))
					return
				}
				reads++
				if got := seats.Find(seat.ID); got == nil || !got.Taken {
					stale++
				}
			})
		}
	}
	all.Wait()
	return stale, reads, err
}

// fight lets many users fight for one seat.
func (s *story) fight(ctx context.Context) error {
	s.scr.head(fmt.Sprintf("%d users fight for one seat", users))
	seat, err := s.free()
	if err != nil {
		return err
	}
	f, err := s.client.Fight(ctx, s.lab.URL(), s.seats.Slot, seat.ID, users)
	if err != nil {
		return fmt.Errorf("fight: %w", err)
	}
	s.scr.line("  booked %d, refused %d, errors %d, in %.0f ms", f.Booked, f.Refused, f.Errors, f.TookMS)
	s.promise(f.Booked == 1, "seat %s%d was booked %d times", seat.Row, seat.Number, f.Booked)
	s.promise(f.Booked+f.Refused == users && f.Errors == 0, "of %d users %d were refused and %d got an error", users, f.Refused, f.Errors)
	for _, look := range f.Looks {
		s.scr.line("  looks at %-9s %d, %d of them stale", look.Level+":", look.Reads, look.Stale)
		s.promise(look.Stale == 0 || look.Level == "eventual", "%d of %d looks at %s were stale", look.Stale, look.Reads, look.Level)
	}
	return nil
}
