package auth_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/auth"
)

var errAway = errors.New("the primary is away")

// A table is a pg_authid that takes time to answer and can be away.
type table struct {
	mu      sync.Mutex // guards the fields below
	secrets map[string]string
	away    bool

	latency time.Duration
	asked   atomic.Int64
	running atomic.Int64
	most    atomic.Int64
}

func (s *table) set(user, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secrets == nil {
		s.secrets = make(map[string]string)
	}
	s.secrets[user] = secret
}

func (s *table) setAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *table) ask(ctx context.Context, user string) (string, error) {
	s.asked.Add(1)
	if n := s.running.Add(1); n > s.most.Load() {
		s.most.Store(n)
	}
	defer s.running.Add(-1)
	s.mu.Lock() // the snapshot comes first, then the way back
	secret, away := s.secrets[user], s.away
	s.mu.Unlock()
	select {
	case <-time.After(s.latency):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if away {
		return "", errAway
	}
	return secret, nil
}

func expect(t *testing.T, c *auth.Cache, user, want string, wantErr error) {
	t.Helper()
	got, err := c.Verifier(t.Context(), user)
	if got != want || !errors.Is(err, wantErr) {
		t.Errorf("%s: %q, %v; want %q, %v", user, got, err, want, wantErr)
	}
}

func TestChangedPasswordWorksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{latency: time.Millisecond}
		c := auth.NewCache(s.ask, auth.CacheConfig{})
		expect(t, c, "alice", "", nil)
		s.set("alice", "one")
		expect(t, c, "alice", "one", nil)
		s.set("alice", "two")
		expect(t, c, "alice", "two", nil)
		s.set("alice", "")
		expect(t, c, "alice", "", nil)
		if c.Len() != 0 {
			t.Error("a user without a password is remembered")
		}
	})
}

func TestLoginsShareQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{latency: time.Millisecond}
		s.set("alice", "one")
		c := auth.NewCache(s.ask, auth.CacheConfig{})
		var logins sync.WaitGroup
		for range 5000 {
			logins.Go(func() { expect(t, c, "alice", "one", nil) })
		}
		logins.Wait()
		if n := s.asked.Load(); n > 2 {
			t.Errorf("%d questions for logins at the same time", n)
		}
	})
}

// Whoever comes after a change must not share an answer from before it.
func TestLateLoginDoesNotShareEarlyAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{latency: time.Second}
		s.set("alice", "one")
		c := auth.NewCache(s.ask, auth.CacheConfig{})
		var logins sync.WaitGroup
		logins.Go(func() { expect(t, c, "alice", "one", nil) })
		synctest.Wait() // until the first question is under way
		s.set("alice", "two")
		for range 3 {
			logins.Go(func() { expect(t, c, "alice", "two", nil) })
		}
		logins.Wait()
		if n := s.asked.Load(); n != 2 {
			t.Errorf("%d questions instead of 2", n)
		}
	})
}

func TestOutageIsBridged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{}
		s.set("alice", "one")
		c := auth.NewCache(s.ask, auth.CacheConfig{TTL: 30 * time.Second})
		expect(t, c, "alice", "one", nil)
		s.setAway(true)
		c.Forget("alice") // somebody tries passwords meanwhile
		time.Sleep(29 * time.Second)
		expect(t, c, "alice", "one", nil)
		expect(t, c, "bob", "", errAway)
		time.Sleep(2 * time.Second)
		expect(t, c, "alice", "", errAway)
		s.setAway(false)
		expect(t, c, "alice", "one", nil)
	})
}

func TestHangingQuestionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{latency: time.Hour}
		c := auth.NewCache(s.ask, auth.CacheConfig{Timeout: 5 * time.Second})
		start := time.Now()
		expect(t, c, "alice", "", context.DeadlineExceeded)
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("it took %v", d)
		}

		// A client that hangs up does not wait, and does not harm who does.
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("the client hung up")
		var logins sync.WaitGroup
		logins.Go(func() { expect(t, c, "alice", "", context.DeadlineExceeded) })
		logins.Go(func() {
			if _, err := c.Verifier(ctx, "alice"); !errors.Is(err, gone) {
				t.Errorf("the client that hung up got %v", err)
			}
		})
		synctest.Wait()
		cancel(gone)
		logins.Wait()
		// The question of a client that has gone may still be under way.
		time.Sleep(time.Minute)
	})
}

func TestFreshAnswerIsUsedUntilItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(table)
		s.set("alice", "one")
		c := auth.NewCache(s.ask, auth.CacheConfig{Fresh: 10 * time.Second})
		expect(t, c, "alice", "one", nil)
		s.set("alice", "two")
		expect(t, c, "alice", "one", nil)
		c.Forget("alice")
		expect(t, c, "alice", "two", nil)
		s.set("alice", "three")
		time.Sleep(11 * time.Second)
		expect(t, c, "alice", "three", nil)
		if n := s.asked.Load(); n != 3 {
			t.Errorf("%d questions instead of 3", n)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{latency: time.Millisecond}
		c := auth.NewCache(s.ask, auth.CacheConfig{Users: 10, Concurrent: 3, TTL: time.Minute})
		var logins sync.WaitGroup
		for i := range 100 {
			user := fmt.Sprint("user", i)
			s.set(user, "secret")
			logins.Go(func() { expect(t, c, user, "secret", nil) })
		}
		logins.Wait()
		if c.Len() != 10 {
			t.Errorf("%d answers are kept", c.Len())
		}
		if n := s.most.Load(); n != 3 {
			t.Errorf("%d questions at a time", n)
		}
		time.Sleep(2 * time.Minute)
		expect(t, c, "user1", "secret", nil)
		if c.Len() != 1 {
			t.Errorf("%d answers are kept after they are of no use", c.Len())
		}
	})
}
