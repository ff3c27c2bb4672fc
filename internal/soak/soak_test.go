package soak_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	forFlag     = flag.Duration("soak.for", 4*time.Second, "how long TestSoak lasts")
	clientsFlag = flag.Int("soak.clients", 40, "how many clients")
	poolFlag    = flag.Int("soak.pool", 2, "server connections for each node and user: with three of each, 2 are 18 in all")
	seedFlag    = flag.Uint64("soak.seed", 1, "of the clients' choices")
	loopsFlag   = flag.Int("soak.loops", 1, "the proxy's event loops")
	pinsFlag    = flag.String("soak.pins", "discard", "how a client ends what pins it: by discard (DISCARD ALL), or natural (DROP, UNLISTEN, unlock, CLOSE), where the proxy notices that")
	stallFlag   = flag.Duration("soak.stall", 2*time.Minute, "how long one statement may take")
	logFlag     = flag.Bool("soak.log", false, "show what the proxy logs")
)

// soak is one run.
type soak struct {
	lab     *lab
	clients []*client
	ctx     context.Context
	cancel  context.CancelFunc
	until   time.Time
	began   time.Time
	locks   locks
	board   board
	acked   []atomic.Int64 // the ledger, as far as it was acknowledged
	cancels atomic.Int64

	mu   sync.Mutex // guards the field below
	leak error
}

// fail ends the run. The first reason is kept.
func (s *soak) fail(c *client, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leak == nil && s.ctx.Err() == nil {
		s.leak = fmt.Errorf("client %d after %v: %s\nits history:\n%s", c.id, time.Since(s.began).Round(time.Millisecond), what, strings.Join(c.history, "\n"))
	}
	s.cancel()
}

func (s *soak) going() bool { return s.ctx.Err() == nil && time.Now().Before(s.until) }

// ddl reports whether the clients may make tables now. They take turns with
// times without: while the catalogue changes, nothing is routed as a read.
func (s *soak) ddl() bool { return time.Since(s.began)/(2*time.Second)%2 == 0 }

// TestSoak lets many clients share few server connections.
func TestSoak(t *testing.T) {
	l := open(t, *clientsFlag, *poolFlag)
	before := l.srv.Stats()
	s, err := l.soak(t, *clientsFlag, *forFlag)
	if err != nil {
		t.Fatal(err)
	}
	replica, primary := uint64(0), uint64(0)
	for _, r := range l.srv.Stats().Reads {
		if r.Role == "replica" {
			replica += r.Count
		} else {
			primary += r.Count
		}
	}
	steps, least := int64(0), int64(1)<<62
	for _, c := range s.clients {
		steps, least = steps+c.steps.Load(), min(least, c.steps.Load())
	}
	t.Logf("%d clients, %v: %d steps, at least %d each; %d reads on replicas, %d on the primary; %d notifications, %d cancel requests",
		len(s.clients), time.Since(s.began).Round(time.Second), steps, least, replica, primary, s.board.sent, s.cancels.Load())
	if replica == 0 {
		t.Error("no read was served by a replica")
	}
	if n := l.srv.Stats().Violations - before.Violations; n > 0 {
		t.Errorf("%d violations of the protocol were counted", n)
	}
}

// soak runs n clients for a while and returns the first leak or wedge.
func (l *lab) soak(t *testing.T, n int, length time.Duration) (*soak, error) {
	t.Helper()
	s := &soak{lab: l, began: time.Now(), acked: make([]atomic.Int64, n)}
	s.until = s.began.Add(length)
	s.ctx, s.cancel = context.WithCancel(t.Context())
	defer s.cancel()
	s.locks.owner, s.board.open = map[int]int{}, map[int]*ear{}
	if err := l.c.Primary().Exec(s.ctx, "update ledger set n = 0 where n <> 0"); err != nil {
		return s, err
	}
	var clients sync.WaitGroup
	for i := range n {
		c := &client{s: s, id: i, user: i, rnd: rand.New(rand.NewPCG(*seedFlag, uint64(i))), locked: -1}
		s.clients = append(s.clients, c)
		clients.Go(func() {
			defer c.leave()
			c.run()
		})
	}
	watched := make(chan error, 1)
	left := make(chan struct{})
	// It ends when left is closed; its word is waited for below.
	go s.watchLoop(left, watched)
	clients.Wait()
	close(left)
	err := <-watched
	s.mu.Lock()
	err = errors.Join(s.leak, err)
	s.mu.Unlock()
	if err != nil {
		return s, err
	}
	return s, s.aftermath()
}

// watchLoop looks for clients that make no progress, and for more server
// connections than there may be.
func (s *soak) watchLoop(left <-chan struct{}, result chan<- error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	over := 0 // how often in a row there were too many connections
	for {
		select {
		case <-left:
			result <- nil
			return
		case now := <-tick.C:
			var err error
			for _, c := range s.clients {
				err = errors.Join(err, c.stalled(now))
			}
			// The loops are asked one after the other: what one has just given up
			// another may have already.
			most := s.lab.connections(s.ctx)
			if over++; most <= *poolFlag {
				over = 0
			}
			if over >= 5 {
				err = errors.Join(err, fmt.Errorf("%d connections of one user to one node", most))
			}
			if err != nil && s.ctx.Err() == nil {
				result <- fmt.Errorf("%w\n%s", err, s.lab.dump(s.ctx))
				s.cancel()
				return
			}
		}
	}
}

// aftermath waits until nothing is left of the clients, and compares what they
// wrote.
func (s *soak) aftermath() error {
	deadline := time.Now().Add(*stallFlag)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := s.lab.alone(s.ctx)
		if err != nil {
			return err
		}
		if left == "" {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("all clients have left, and yet: %s\n%s", left, s.lab.dump(s.ctx))
		}
		<-tick.C
	}
	text, err := s.lab.c.Primary().QueryString(s.ctx, "select string_agg(n::text, ' ' order by client) from ledger")
	if err != nil {
		return err
	}
	for i, f := range strings.Fields(text) {
		if i < len(s.acked) && f != fmt.Sprint(s.acked[i].Load()) {
			return fmt.Errorf("client %d has written %d, its row says %s", i, s.acked[i].Load(), f)
		}
	}
	return nil
}
