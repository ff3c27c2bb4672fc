package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// crowd books seats, one after the other, until it leaves. Every customer
// repeats a request that was not acknowledged, with the same key.
type crowd struct {
	addr         string
	slot         int64
	next         atomic.Int64
	unavailable  atomic.Int64
	stop         chan struct{}
	wg           sync.WaitGroup
	mu           sync.Mutex       // guards the fields below
	acknowledged map[string]int64 // the booking's id by key
}

// newCrowd sends customers to addr, for the seats of a slot of their own.
func newCrowd(t *testing.T, s *stage, addr string) *crowd {
	slot := s.count(t, `INSERT INTO slots (during) SELECT tstzrange(last, last + interval '1 hour') FROM (SELECT max(upper(during)) AS last FROM slots) s RETURNING id`)
	c := &crowd{addr: addr, slot: int64(slot), stop: make(chan struct{}), acknowledged: make(map[string]int64)}
	for range 8 {
		c.wg.Go(func() { c.book(t) })
	}
	t.Cleanup(c.end)
	return c
}

func (c *crowd) end() {
	select {
	case <-c.stop:
	default:
		close(c.stop)
	}
	c.wg.Wait()
}

func (c *crowd) book(t *testing.T) {
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		n := c.next.Add(1)
		mine := fmt.Sprintf("%s-%d", key(t), n)
		for limit := time.Now().Add(patience); ; {
			// There are 200 seats: later customers want one that is taken.
			r, err := send("POST", c.addr, "/api/bookings", wish(c.slot, 1+n%200, mine), "Idempotency-Key", mine)
			if err == nil && (r.status == http.StatusCreated || r.status == http.StatusOK) {
				var b booked
				if err := json.Unmarshal([]byte(r.body), &b); err != nil || b.Booking.Customer != mine || b.Token == "" {
					t.Errorf("%s: %v", r.body, err)
				}
				c.mu.Lock()
				c.acknowledged[mine] = b.Booking.ID
				c.mu.Unlock()
				break
			}
			if err == nil && r.status == http.StatusConflict && n > 200 {
				break
			}
			if err != nil || r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" {
				t.Errorf("booking %d: %v %d %s", n, err, r.status, r.body)
				return
			}
			c.unavailable.Add(1)
			if time.Now().After(limit) {
				t.Errorf("booking %d was not possible for %s: %s", n, patience, r.body)
				return
			}
		}
	}
}

// wait waits until so many more requests were begun.
func (c *crowd) wait(t *testing.T, more int64) {
	t.Helper()
	from := c.next.Load()
	until(t, fmt.Sprintf("%d more requests", more), func() bool { return c.next.Load() >= from+more })
}

// leave ends the crowd and compares what it was told with the database.
func (c *crowd) leave(t *testing.T, s *stage) {
	t.Helper()
	c.end()
	for key, id := range c.acknowledged {
		if n := s.count(t, "SELECT count(*) FROM bookings WHERE idempotency_key = $1 AND id = $2", key, id); n != 1 {
			t.Errorf("booking %d, key %s, was acknowledged and is not there", id, key)
		}
	}
	if n := s.count(t, "SELECT count(*) FROM bookings WHERE slot_id = $1", c.slot); n != len(c.acknowledged) {
		t.Errorf("%d bookings were acknowledged, there are %d", len(c.acknowledged), n)
	}
	if n := s.count(t, "SELECT count(*) - count(DISTINCT seat_id) FROM bookings WHERE slot_id = $1", c.slot); n != 0 {
		t.Errorf("%d seats were booked twice", n)
	}
	if len(c.acknowledged) == 0 {
		t.Error("nothing was booked")
	}
	t.Logf("%d bookings, %d answers 503", len(c.acknowledged), c.unavailable.Load())
}

// The sidecar is restarted again and again, in the middle of requests.
func TestSidecarMayRestartInMidRequest(t *testing.T) {
	s := share(t)
	addr := free(t)
	side := s.sidecar(t, addr)
	p := s.instance(t, path(t), "one", side)
	c := newCrowd(t, s, p.addr)
	for range 4 {
		c.wait(t, 20)
		side.stop()
		side = s.sidecar(t, addr)
	}
	c.wait(t, 20)
	c.leave(t, s)
}

// While the sidecar is away for longer than a request may take, the answer is
// a clear 503.
func TestSidecarIsAway(t *testing.T) {
	s := share(t)
	addr := free(t)
	side := s.sidecar(t, addr)
	p := s.instance(t, path(t), "one", side)
	seat := newSeat()
	p.look(t, 1, seat)
	side.stop()
	var wg sync.WaitGroup
	for _, request := range [][]string{
		{"GET", fmt.Sprintf("/api/seats?slot=1&seat=%d", seat), ""},
		{"POST", "/api/bookings", wish(1, seat, "Ann")},
		{"DELETE", "/api/bookings/1", ""},
	} {
		wg.Go(func() {
			r, err := send(request[0], p.addr, request[1], request[2], "Idempotency-Key", key(t))
			if err != nil || r.status != http.StatusServiceUnavailable || r.code() != "unavailable" || r.header.Get("Retry-After") == "" {
				t.Errorf("%v: %v %d %s", request, err, r.status, r.body)
			}
		})
	}
	wg.Wait()
	if got := p.state(t); len(got.Nodes) != 0 || got.Registry != "connected" {
		t.Errorf("%+v", got)
	}
	s.sidecar(t, addr)
	p.book(t, key(t), 1, seat)
}

// The primary dies while customers book, and a replica that has everything
// takes over.
func TestPrimaryMayBePromotedElsewhere(t *testing.T) {
	for _, via := range []string{"sidecar", "library"} {
		t.Run(via, func(t *testing.T) {
			// pg2 has every commit before it is acknowledged.
			s := ownWith(t, cluster.Options{Settings: map[string]string{"synchronous_standby_names": "FIRST 1 (pg2, pg3)"}})
			var side *sidecar
			if via == "sidecar" {
				side = s.sidecar(t, "")
			}
			p := s.instance(t, "/failover", "one", side)
			c := newCrowd(t, s, p.addr)
			c.wait(t, 30)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := s.db.Failover(ctx, s.db.Replicas()[0]); err != nil {
				t.Fatal(err)
			}
			reg, err := zookeeper.NewRegistry(ctx, zookeeper.Config{Hosts: s.zk.Addr(), Path: clusterPath})
			if err != nil {
				t.Fatal(err)
			}
			defer reg.Close()
			if err := reg.SetPrimary(ctx, s.db.Primary().Name); err != nil {
				t.Fatal(err)
			}
			c.wait(t, 30)
			c.leave(t, s)
			if got := p.look(t, c.slot, 2, "X-Consistency", "strong"); !got.Seats[0].Taken {
				t.Errorf("after the failover: %+v", got)
			}
		})
	}
}
