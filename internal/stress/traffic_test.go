package stress_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// trips are what the clients of a traffic do, each its own thing again and
// again. %d is a row of the client's own.
var trips = map[string][]string{
	"read":          {"SELECT v FROM kv WHERE k = %d"},
	"eventual read": {"SELECT v FROM kv WHERE k = %d"},
	"own read":      {"SELECT v FROM kv WHERE k = %d"}, // of a client that shares its floor with nobody
	"stale read":    {"SELECT v FROM kv WHERE k = %d"}, // of a client that would rather see less than wait
	"write":         {"UPDATE kv SET v = v + 1 WHERE k = %d"},
	"transaction":   {"BEGIN", "UPDATE kv SET v = v + 1 WHERE k = %d", "SELECT v FROM kv WHERE k = %d", "COMMIT"},
}

// traffic is a few clients of each kind, who measure what they see.
type traffic struct {
	t    *testing.T
	all  []*traveller
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// traveller is one client of a traffic.
type traveller struct {
	kind string
	key  int
	s    *sidecar

	mu     sync.Mutex // guards the fields below, which are of the present leg
	began  time.Time  // of the trip that is under way, zero between two
	trips  int
	pause  time.Duration // the longest trip
	errors map[string]int
}

// leg is what one kind of clients saw for some time.
type leg struct {
	trips  int
	pause  time.Duration
	errors map[string]int
}

func (l leg) String() string {
	var words []string
	for _, text := range slices.Sorted(maps.Keys(l.errors)) {
		words = append(words, fmt.Sprintf("%d × %s", l.errors[text], text))
	}
	if len(words) == 0 {
		words = []string{"no error"}
	}
	return fmt.Sprintf("%6d trips, the longest %8v, %s", l.trips, l.pause.Round(time.Millisecond), strings.Join(words, "; "))
}

// startTraffic lets two clients of each kind go, until stop or the end of the test.
func startTraffic(t *testing.T, s *sidecar, kinds ...string) *traffic {
	t.Helper()
	if len(kinds) == 0 {
		kinds = slices.Sorted(maps.Keys(trips))
	}
	tr := &traffic{t: t}
	var ctx context.Context
	ctx, tr.stop = context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(tr.end)
	for _, kind := range kinds {
		for range 2 {
			c := &traveller{kind: kind, key: len(tr.all) + 1, s: s, errors: map[string]int{}}
			tr.all = append(tr.all, c)
			tr.wg.Go(func() { c.drive(ctx) }) // ends with stop, waited for by end
		}
	}
	tr.goesOn("begins")
	tr.leg()
	return tr
}

// end may be called more than once.
func (tr *traffic) end() {
	tr.stop()
	tr.wg.Wait()
}

// leg ends a leg and begins the next one. It returns what each kind saw.
func (tr *traffic) leg() map[string]leg {
	legs := map[string]leg{}
	for _, c := range tr.all {
		l, ok := legs[c.kind]
		if !ok {
			l.errors = map[string]int{}
		}
		c.mu.Lock()
		l.trips += c.trips
		l.pause = max(l.pause, c.pause)
		if !c.began.IsZero() {
			l.pause = max(l.pause, time.Since(c.began))
		}
		for text, n := range c.errors {
			l.errors[text] += n
		}
		c.trips, c.pause, c.errors = 0, 0, map[string]int{}
		c.mu.Unlock()
		legs[c.kind] = l
	}
	return legs
}

// report ends a leg, and writes down what was seen.
func (tr *traffic) report(name string) map[string]leg {
	legs := tr.leg()
	for _, kind := range slices.Sorted(maps.Keys(legs)) {
		tr.t.Logf("%-40s %-13s %v", name, kind, legs[kind])
	}
	return legs
}

// goesOn waits until every client of the kinds, or of all, has made trips that
// began after the call.
func (tr *traffic) goesOn(when string, kinds ...string) {
	tr.t.Helper()
	ctx, cancel := context.WithTimeout(tr.t.Context(), patience/2)
	defer cancel()
	for _, c := range tr.all {
		if len(kinds) > 0 && !slices.Contains(kinds, c.kind) {
			continue
		}
		before := c.made()
		if err := until(ctx, "a client goes on", func() (bool, error) { return c.made() >= before+2, nil }); err != nil {
			tr.t.Fatalf("%s: a %s: %v", when, c.kind, err)
		}
	}
}

func (c *traveller) made() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trips
}

func (c *traveller) drive(ctx context.Context) {
	var conn *pgx.Conn
	defer func() { hangUp(conn) }()
	for ctx.Err() == nil {
		c.begin()
		var err error
		if conn == nil || conn.IsClosed() {
			conn, err = c.dial(ctx)
		}
		if err == nil {
			err = c.trip(ctx, conn)
		}
		c.arrive(ctx, err)
		if err != nil && conn != nil && !conn.IsClosed() && c.kind == "transaction" {
			c.begin()
			_, err = simple(ctx, conn, "ROLLBACK")
			c.arrive(ctx, err)
		}
		rest(ctx, 5*time.Millisecond)
	}
}

func (c *traveller) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.began = time.Now()
}

func (c *traveller) dial(ctx context.Context) (*pgx.Conn, error) {
	if c.kind == "eventual read" {
		return c.s.dial(ctx, "pgroute.consistency", "eventual")
	}
	switch c.kind {
	case "own read":
		return c.s.dial(ctx, "pgroute.scope", "connection")
	case "stale read":
		return c.s.dial(ctx, "pgroute.on_timeout", "stale")
	}
	return c.s.dial(ctx)
}

func (c *traveller) trip(ctx context.Context, conn *pgx.Conn) error {
	for _, sql := range trips[c.kind] {
		if strings.Contains(sql, "%d") {
			sql = fmt.Sprintf(sql, c.key)
		}
		if _, err := simple(ctx, conn, sql); err != nil {
			return err
		}
	}
	return nil
}

// arrive notes how a trip ended.
func (c *traveller) arrive(ctx context.Context, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	took := time.Since(c.began)
	c.began = time.Time{}
	if ctx.Err() != nil {
		return
	}
	c.pause = max(c.pause, took)
	if err == nil {
		c.trips++
		return
	}
	text := err.Error()
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		text = e.Code + " " + e.Message
		if e.Detail != "" {
			text += " (" + e.Detail + ")"
		}
	}
	c.errors[text]++
}

// noErrors demands that nobody of the kinds, or of all, saw any.
func noErrors(t *testing.T, when string, legs map[string]leg, kinds ...string) {
	t.Helper()
	for kind, l := range legs {
		if len(l.errors) > 0 && (len(kinds) == 0 || slices.Contains(kinds, kind)) {
			t.Errorf("%s: a %s saw %v", when, kind, l)
		}
	}
}
