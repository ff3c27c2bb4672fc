package catalogue_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgroute/pgroute/internal/catalogue"
	"github.com/pgroute/pgroute/internal/sqlclass"
)

// server answers the catalogue's queries. It is used by one goroutine of the
// watcher, and by the test while that one waits.
type server struct {
	parts  map[string]string // of the fingerprint
	asked  []string          // what was asked since the last look
	during func()            // runs in each query but that for the fingerprint
	down   atomic.Bool
	lasts  time.Duration // what the query for the fingerprint takes
}

func (s *server) Query(ctx context.Context, sql string) ([][]string, error) {
	if s.down.Load() {
		return nil, errDown
	}
	if s.lasts > 0 && sql == sqlclass.FingerprintQuery {
		timer := time.NewTimer(s.lasts)
		defer timer.Stop()
		s.lasts = 0 // the next time it is warm
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if sql == sqlclass.FingerprintQuery {
		s.asked = append(s.asked, "fingerprint")
		var rows [][]string
		for _, part := range slices.Sorted(maps.Keys(s.parts)) {
			rows = append(rows, []string{part, "1", s.parts[part]})
		}
		return rows, nil
	}
	if s.during != nil {
		s.during()
	}
	if strings.Contains(sql, "server_version_num") {
		return [][]string{{"150000"}}, nil
	}
	for _, about := range []string{"relkind IN ('r', 'p', 'v', 'm', 'f', 'S')", "pg_operator WHERE", "prosrc", "ev_action"} {
		if strings.Contains(sql, about) {
			s.asked = append(s.asked, about)
		}
	}
	return nil, nil
}

var errDown = errors.New("no such server")

func watch(t *testing.T, s *server) *catalogue.Watcher {
	t.Helper()
	w := catalogue.New("app", func() (sqlclass.Querier, error) { return s, nil }, new(atomic.Uint64), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { // ends with the test, which waits for it
		defer close(ended)
		w.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	synctest.Wait()
	return w
}

func fresh(w *catalogue.Watcher) bool {
	_, _, fresh := w.Known()
	return fresh
}

// TestReadAgainAtOnce: after a change the catalogue is not fresh until it was read
// again, which happens at once, and only as far as it has changed.
func TestReadAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{parts: map[string]string{"1": "a", "2": "a", "6": "a"}}
		w := watch(t, s)
		if !fresh(w) || len(s.asked) != 6 { // two fingerprints
			t.Fatalf("fresh %v, asked %q", fresh(w), s.asked)
		}
		_, gen, _ := w.Known()
		for _, c := range []struct{ part, asked string }{
			{"", "fingerprint"}, // it was a COMMENT
			{"2", "fingerprint fingerprint relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"},
			{"6", "fingerprint fingerprint ev_action"},
			{"1", "fingerprint fingerprint prosrc pg_operator WHERE"},
		} {
			s.asked = nil
			if c.part != "" {
				s.parts[c.part] += "b"
			}
			began := time.Now()
			w.Changed()
			if fresh(w) {
				t.Errorf("part %q: fresh right after a change", c.part)
			}
			synctest.Wait()
			_, now, _ := w.Known()
			if !fresh(w) || !time.Now().Equal(began) || strings.Join(s.asked, " ") != c.asked || (now != gen) != (c.part != "") {
				t.Errorf("part %q: fresh %v after %v, asked %q, generation %d after %d", c.part, fresh(w), time.Since(began), s.asked, now, gen)
			}
			gen = now
		}
	})
}

// TestChangesWhileReading: many changes while the catalogue is read cost one more
// reading, and until then it is not fresh.
func TestChangesWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{parts: map[string]string{"2": "a"}}
		w := watch(t, s)
		s.asked = nil
		s.parts["2"] = "b"
		s.during = func() {
			s.during = nil
			for range 100 {
				w.Changed()
			}
			if fresh(w) {
				t.Error("fresh while it is read")
			}
		}
		w.Changed()
		synctest.Wait()
		if want := "fingerprint fingerprint relkind IN ('r', 'p', 'v', 'm', 'f', 'S') fingerprint"; !fresh(w) || strings.Join(s.asked, " ") != want {
			t.Errorf("fresh %v, asked %q", fresh(w), s.asked)
		}
	})
}

// TestNotReadAgain: as long as the server does not answer, what is known is not
// fresh; afterwards it is read again soon.
func TestNotReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{parts: map[string]string{"2": "a"}}
		w := watch(t, s)
		s.down.Store(true)
		w.Changed()
		synctest.Wait()
		<-time.After(time.Minute) // on the bubble's clock
		synctest.Wait()
		if cat, _, _ := w.Known(); cat == nil || fresh(w) {
			t.Errorf("known %v, fresh %v", cat != nil, fresh(w))
		}
		s.down.Store(false)
		<-time.After(100 * time.Millisecond)
		synctest.Wait()
		if !fresh(w) {
			t.Error("it is not read again")
		}
	})
}

// TestAwaitsWhatIsBeingRead: who needs the first catalogue waits for a slow one
// to the end, but not for one that cannot be read.
func TestAwaitsWhatIsBeingRead(t *testing.T) {
	for _, tc := range []struct {
		why    string
		query  time.Duration // how long the catalogue's query lasts
		down   bool
		least  time.Duration
		loaded bool
	}{
		{"it is there", 0, false, 0, true},
		{"it is slow", 5 * time.Second, false, 5 * time.Second, true},
		{"it cannot be read", 0, true, 2 * time.Second, false},
		{"its reading has no end", time.Hour, false, 10 * time.Second, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{parts: map[string]string{"1": "a"}}
			s.down.Store(tc.down)
			s.lasts = tc.query
			began := time.Now()
			w := watch(t, s)
			w.Await(t.Context(), 2*time.Second)
			cat, _, _ := w.Known()
			if took := time.Since(began); (cat != nil) != tc.loaded || took != tc.least {
				t.Errorf("%s: after %v the catalogue is there: %v; want %v after %v", tc.why, took, cat != nil, tc.loaded, tc.least)
			}
		})
	}
}
