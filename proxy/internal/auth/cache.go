package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// CacheConfig bounds a Cache. The zero value is a sound default.
type CacheConfig struct {
	// Fresh is how long an answer is used without asking again. 0, the
	// default, asks for every login (those that wait together share one
	// question), as PostgreSQL itself does: a SCRAM exchange cannot be begun
	// again with another salt, so a changed password works at once, and a
	// revoked one stops at once, only if the question comes first. Negative
	// is 0.
	Fresh time.Duration
	// TTL is how long an answer stands in when nobody can be asked, so that
	// clients can log in during a failover. 0 is 30 s, negative never.
	TTL time.Duration
	// Timeout bounds one question. 0 or negative is 5 s.
	Timeout time.Duration
	// Users bounds how many answers are kept. 0 or negative is 10,000.
	Users int
	// Concurrent bounds how many questions are asked at a time. 0 or negative
	// is 16.
	Concurrent int
}

func (c *CacheConfig) fill() {
	c.Fresh = max(c.Fresh, 0)
	if c.TTL == 0 {
		c.TTL = 30 * time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Users <= 0 {
		c.Users = 10_000
	}
	if c.Concurrent <= 0 {
		c.Concurrent = 16
	}
}

// A Cache is a Lookup in front of another: it lets logins that wait at the
// same time share one question and bridges short outages. Only users that
// exist are remembered, so inventing names fills nothing. It is safe for
// concurrent use.
type Cache struct {
	ask   LookupFunc
	cfg   CacheConfig
	slots chan struct{} // one element per question being asked

	mu      sync.Mutex // guards the fields below
	entries map[string]cached
	calls   map[string]*pair
	swept   time.Time
}

type cached struct {
	secret string
	asked  time.Time // when the question was sent: it was true then or later
	failed bool      // a login failed with it: not fresh any more
}

// A pair is the question that is under way for one user and the one that
// waits for it. Whoever comes while a question is under way may not share its
// answer, which can be older than his arrival.
type pair struct {
	running, next *call
}

type call struct {
	done   chan struct{} // closed when the fields below are final
	secret string
	err    error
}

// NewCache returns a Cache that asks with ask, which must respect its context
// and may be called from several goroutines.
func NewCache(ask LookupFunc, cfg CacheConfig) *Cache {
	cfg.fill()
	return &Cache{
		ask:     ask,
		cfg:     cfg,
		slots:   make(chan struct{}, cfg.Concurrent),
		entries: make(map[string]cached),
		calls:   make(map[string]*pair),
	}
}

// Verifier implements Lookup. The answer was true at some moment after the
// call, or, if nobody could be asked, within the last TTL, or in any case
// within Fresh.
func (c *Cache) Verifier(ctx context.Context, user string) (string, error) {
	c.mu.Lock()
	if e, ok := c.entries[user]; ok && !e.failed && time.Since(e.asked) < c.cfg.Fresh {
		c.mu.Unlock()
		return e.secret, nil
	}
	call := c.joinLocked(ctx, user)
	c.mu.Unlock()

	select {
	case <-call.done:
	case <-ctx.Done():
		return "", fmt.Errorf("look up the verifier of %q: %w", user, context.Cause(ctx))
	}
	if call.err == nil {
		return call.secret, nil
	}
	c.mu.Lock()
	e, ok := c.entries[user]
	c.mu.Unlock()
	if ok && time.Since(e.asked) < c.cfg.TTL {
		return e.secret, nil
	}
	return "", fmt.Errorf("look up the verifier of %q: %w", user, call.err)
}

// Forget implements Lookup: the next login asks again whatever Fresh says.
// The answer still serves an outage, because anybody can fail on purpose.
func (c *Cache) Forget(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[user]; ok {
		e.failed = true
		c.entries[user] = e
	}
}

// Len returns how many answers are kept.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}

// joinLocked returns a question for user that has not been sent yet.
func (c *Cache) joinLocked(ctx context.Context, user string) *call {
	p := c.calls[user]
	if p == nil {
		p = &pair{running: &call{done: make(chan struct{})}}
		c.calls[user] = p
		// Ends when nobody waits for another answer, and Timeout bounds each.
		// Only the logins that share an answer wait for it; one that gives up
		// does not take the others with it.
		go c.askLoop(context.WithoutCancel(ctx), user, p)
		return p.running
	}
	if p.next == nil {
		p.next = &call{done: make(chan struct{})}
	}
	return p.next
}

// askLoop asks for user until nobody waits for another answer.
func (c *Cache) askLoop(ctx context.Context, user string, p *pair) {
	for call := p.running; call != nil; {
		asked, secret, err := c.askOnce(ctx, user)
		call.secret, call.err = secret, err

		c.mu.Lock()
		switch {
		case err != nil:
		case secret == "":
			delete(c.entries, user)
		default:
			c.storeLocked(user, cached{secret: secret, asked: asked})
		}
		close(call.done)
		call, p.running, p.next = p.next, p.next, nil
		if call == nil {
			delete(c.calls, user)
		}
		c.mu.Unlock()
	}
}

var errBusy = errors.New("too many questions are waiting")

func (c *Cache) askOnce(ctx context.Context, user string) (asked time.Time, secret string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return time.Time{}, "", errBusy
	}
	defer func() { <-c.slots }()
	asked = time.Now()
	secret, err = c.ask(ctx, user)
	return asked, secret, err
}

// storeLocked also drops what is too old, once per TTL. If that is not enough
// it makes room by dropping an arbitrary answer, which would only be missed in
// an outage.
func (c *Cache) storeLocked(user string, e cached) {
	keep := max(c.cfg.TTL, c.cfg.Fresh)
	if e.asked.Sub(c.swept) > keep {
		c.swept = e.asked
		for user, old := range c.entries {
			if e.asked.Sub(old.asked) > keep {
				delete(c.entries, user)
			}
		}
	}
	if _, ok := c.entries[user]; !ok && len(c.entries) >= c.cfg.Users {
		for victim := range c.entries {
			delete(c.entries, victim)
			break
		}
	}
	c.entries[user] = e
}
