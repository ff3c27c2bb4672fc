package router_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// simulation is a cluster at work: clients write and read through the router,
// replicas replay by fits and starts and restart behind where they were, and
// every answer is compared with what its reader had to see. An answer is the
// position up to which the server showed it the data.
type simulation struct {
	*world

	mu       sync.Mutex // guards the fields below
	rnd      *rand.Rand
	acked    lsn.LSN // acknowledged to anyone
	shown    map[string]lsn.LSN
	backends map[string][]*backendConn
	bad      []string

	reads, onReplicas, waited, moves atomic.Int64
}

// backendConn is one connection for clients.
type backendConn struct {
	life   uint64
	dialed uint64
	own    lsn.LSN
}

func (s *simulation) n(most int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rnd.IntN(most)
}

// commit writes n bytes of WAL, sometimes without a flush, and returns where
// they end.
func (s *simulation) commit() lsn.LSN {
	bytes, sync := lsn.LSN(8+8*s.n(20)), s.n(4) > 0
	var end lsn.LSN
	s.servers["p"].set(func(st *router.Status) {
		if st.Insert += bytes; st.Insert%8192 < 48 {
			st.Insert += 48 // no record ends in a page's header
		}
		if end = st.Insert; sync {
			st.Flush = st.Insert
		}
	})
	return end
}

// boundary returns where a record may end that ends at l or a little before:
// nothing is replayed up to the inside of a page's header.
func boundary(l lsn.LSN) lsn.LSN {
	if off := l % 8192; off < 48 {
		return l - off
	}
	return l
}

// replayLoop moves a replica on until ctx is done.
func (s *simulation) replayLoop(ctx context.Context, name string) {
	replica, p := s.servers[name], s.servers["p"]
	for ctx.Err() == nil {
		switch {
		case s.n(1000) == 0: // restart behind where it was
			replica.restart(func(st *router.Status) { st.Replay = boundary(st.Replay - min(st.Replay-1000, lsn.LSN(s.n(2000)))) })
			s.mu.Lock()
			s.shown[name] = 0
			s.mu.Unlock()
			// Long enough to be found again while it is still behind.
			time.Sleep(time.Duration(s.n(300)) * time.Millisecond)
		case s.n(20) == 0: // replay stands still
			time.Sleep(time.Duration(s.n(40)) * time.Millisecond)
		default:
			var flush lsn.LSN
			p.set(func(st *router.Status) { flush = st.Flush })
			part := lsn.LSN(s.n(4))
			replica.set(func(st *router.Status) {
				if st.Replay < flush {
					st.Replay = boundary(st.Replay + (flush-st.Replay)*part/4 + 1)
				}
			})
		}
		time.Sleep(time.Duration(s.n(1500)) * time.Microsecond)
	}
}

// show answers a read on a backend, nil for the primary. It is false if the
// connection has died.
func (s *simulation) show(name string, b *backendConn) (lsn.LSN, bool) {
	srv := s.servers[name]
	early := lsn.LSN(s.n(100))
	var insert lsn.LSN
	s.servers["p"].set(func(st *router.Status) { insert = st.Insert })
	if b == nil {
		return insert, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if b.life != srv.life {
		return 0, false
	}
	// A replica shows a commit a moment before its replay position says so.
	s.shown[name] = max(s.shown[name], srv.st.Replay, min(insert, srv.st.Replay+early))
	return s.shown[name], true
}

// lease returns a backend of n that covers f, or nil.
func (s *simulation) lease(n *router.Node, f router.Floor) *backendConn {
	srv := s.servers[n.Name]
	for range 3 {
		s.mu.Lock()
		var b *backendConn
		if list := s.backends[n.Name]; len(list) > 0 && s.rnd.IntN(20) > 0 {
			b = list[s.rnd.IntN(len(list))]
		}
		s.mu.Unlock()
		if b == nil {
			b = new(backendConn)
			srv.set(func(*router.Status) { b.life = srv.life })
			time.Sleep(100 * time.Microsecond)
			b.dialed = n.Asked()
			alive := false
			srv.set(func(st *router.Status) { b.own, alive = st.Replay, srv.life == b.life })
			if !alive {
				continue
			}
			s.mu.Lock()
			s.backends[n.Name] = append(s.backends[n.Name], b)
			if len(s.backends[n.Name]) > 10 {
				s.backends[n.Name] = s.backends[n.Name][1:]
			}
			s.mu.Unlock()
		}
		if n.Covers(f, b.dialed, b.own) {
			return b
		}
		var q router.Request
		w := newWaiter()
		if !s.r.AwaitReading(&q, n, b.dialed, w) {
			<-w.wakes
		}
	}
	return nil
}

// read routes one read, runs it and returns what it showed.
func (s *simulation) read(c *client) (lsn.LSN, string) {
	c.Exclude = 0
	for {
		d := c.decide()
		if d.Err != nil {
			return 0, "error " + refusal(d.Err).Code
		}
		if d.Role == router.RolePrimary {
			l, _ := s.show("p", nil)
			c.SawPrimary()
			d.Done()
			return l, describe(d)
		}
		b := s.lease(d.Node, d.Floor)
		if b == nil {
			d.Done()
			c.Exclude.Add(d.Node)
			continue
		}
		time.Sleep(time.Duration(s.n(200)) * time.Microsecond)
		l, ok := s.show(d.Node.Name, b)
		if !ok {
			s.mu.Lock()
			s.backends[d.Node.Name] = nil
			s.mu.Unlock()
			d.Done()
			c.Exclude.Add(d.Node)
			continue
		}
		c.SawReplica(d.Node)
		d.Done()
		s.onReplicas.Add(1)
		if d.Reason == router.ReasonWaited {
			s.waited.Add(1)
		}
		return l, describe(d)
	}
}

// clientLoop writes and reads, and complains about every answer that is too
// old. session holds what was acknowledged to the clients of its session.
func (s *simulation) clientLoop(ctx context.Context, share *router.Session, session *atomic.Uint64) {
	c := s.client(share)
	c.Wait = 20 * time.Millisecond
	s.mu.Lock()
	connected := s.acked
	s.mu.Unlock()
	seen, last := lsn.LSN(0), ""
	for i := 0; ctx.Err() == nil; i++ {
		if s.n(200) == 0 { // reconnect
			c.Init(s.r, share, true)
			seen = 0
			s.mu.Lock()
			connected = s.acked
			s.mu.Unlock()
		}
		if s.n(3) == 0 {
			l := s.commit()
			time.Sleep(50 * time.Microsecond)
			c.Wrote()
			// From here on the client may know.
			s.mu.Lock()
			s.acked = max(s.acked, l)
			s.mu.Unlock()
			for old := session.Load(); old < uint64(l) && !session.CompareAndSwap(old, uint64(l)); old = session.Load() {
			}
			seen = max(seen, l)
		}
		must := max(connected, lsn.LSN(session.Load()), seen)
		if c.Level = router.LevelSession; s.n(10) == 0 {
			c.Level = router.LevelStrong
			s.mu.Lock()
			must = max(must, s.acked)
			s.mu.Unlock()
		}
		l, how := s.read(c)
		s.reads.Add(1)
		if l == 0 {
			continue
		}
		if l < must {
			s.mu.Lock()
			s.bad = append(s.bad, fmt.Sprintf("a %s read by %s showed %s, had to show %s (connect %s, session %d, seen %s by %s)",
				c.Level, how, l, must, connected, session.Load(), seen, last))
			s.mu.Unlock()
		}
		if how[:1] != (last + " ")[:1] {
			s.moves.Add(1)
		}
		seen, last = max(seen, l), how
		time.Sleep(time.Duration(s.n(1000)) * time.Microsecond)
	}
}

// simulate lets a cluster work for a while and returns what went wrong.
func simulate(t *testing.T, seed uint64, d time.Duration) (bad []string) {
	run(t, newCluster("a", "b"), router.Config{}, func(w *world) {
		s := &simulation{world: w, rnd: rand.New(rand.NewPCG(seed, 1)), shown: make(map[string]lsn.LSN),
			backends: make(map[string][]*backendConn)}
		s.acked = 1000
		ctx, cancel := context.WithTimeout(w.Context(), d)
		defer cancel()
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b"} {
			wg.Go(func() { s.replayLoop(ctx, name) })
		}
		for range 2 {
			share, session := router.NewSession(), new(atomic.Uint64)
			for range 4 {
				wg.Go(func() { s.clientLoop(ctx, share, session) })
			}
		}
		wg.Wait()
		t.Logf("%d reads, %d on replicas, %d of them waited, %d moves, %+v", s.reads.Load(), s.onReplicas.Load(), s.waited.Load(),
			s.moves.Load(), w.r.Stats())
		// A mutant that is caught need not have moved much.
		if len(s.bad) == 0 && (s.reads.Load() < 1000 || s.onReplicas.Load()*5 < s.reads.Load() || s.moves.Load() < 100) {
			t.Error("the simulation proves nothing")
		}
		bad = s.bad
	})
	return bad
}

func TestNeverStaleInSimulation(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bad := simulate(t, seed, 10*time.Second)
			for _, text := range bad[:min(len(bad), 5)] {
				t.Error(text)
			}
		})
	}
}
