package lsn_test

import (
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgroute/pgroute/lsn"
)

// TestAdvanceDuringRegistration stops a registration after it saw that its
// target is not reached and before it is seen itself. The Advance that comes
// then cannot know of it, so the registration must look again.
func TestAdvanceDuringRegistration(t *testing.T) {
	var m lsn.Watermark
	r := new(recorder)
	release := m.Hold()
	registered := make(chan bool, 1)
	go func() { registered <- m.Notify(10, r, 1) }() // ends when the lock is released; awaited below
	for buf := make([]byte, 1<<16); ; runtime.Gosched() {
		stacks := string(buf[:runtime.Stack(buf, true)])
		if strings.Contains(stacks, "[sync.Mutex.Lock") && strings.Contains(stacks, "Watermark).Notify") {
			break
		}
	}
	m.Advance(10) // takes no lock, because nobody waits yet
	release()
	if <-registered {
		t.Error("a target that is reached was registered: nobody will wake it")
	}
	if _, waits := m.Lowest(); waits {
		t.Error("somebody seems to wait for it")
	}
	wantWakes(t, r)
}

// TestNoWakeUpIsLost races each registration against the one Advance that
// reaches it: nothing comes afterwards that could repair a lost wake-up. All
// the while somebody asks for target 0, which is always reached and must not
// hide the others while it is looked at.
func TestNoWakeUpIsLost(t *testing.T) {
	// The race detector, or a machine with one processor to spare, makes a
	// round a thousand times slower: then fewer must do.
	const rounds = 20000
	deadline := time.Now().Add(2 * time.Second)
	var m lsn.Watermark
	var woken atomic.Int64
	w := &waiterFunc{func(_ uint64, err error) {
		if err != nil {
			t.Errorf("woken with %v", err)
		}
		woken.Add(1)
	}}
	// Spinning brings the two closer together than channels would.
	var round, advanced atomic.Int64
	var advancing sync.WaitGroup
	advancing.Go(func() { // until round is negative; the test waits for it below
		for last := int64(0); ; {
			switch now := round.Load(); {
			case now < 0:
				return
			case now == last:
				runtime.Gosched()
			default:
				m.Advance(lsn.LSN(now))
				advanced.Store(now)
				last = now
			}
		}
	})
	registered := int64(0)
	done := int64(0)
	for i := int64(1); i <= rounds && time.Now().Before(deadline); i++ {
		early := i%2 == 0
		if early && m.Notify(lsn.LSN(i), w, uint64(i)) {
			registered++
		}
		round.Store(i)
		if !early && m.Notify(lsn.LSN(i), w, uint64(i)) {
			registered++
		}
		for spins := 1; advanced.Load() != i; spins++ {
			m.Notify(0, w, 0)
			if spins%20 == 0 {
				runtime.Gosched()
			}
		}
		if _, waits := m.Lowest(); waits || registered != woken.Load() || m.Waiting() != 0 {
			t.Errorf("round %d: %d registered, %d woken, %d wait", i, registered, woken.Load(), m.Waiting())
			break
		}
		done = i
	}
	round.Store(-1)
	advancing.Wait()
	t.Logf("%d of %d registrations came before their Advance", registered, done)
}

// counter is a Waiter that counts its calls for each registration.
type counter struct {
	woken     []atomic.Int32
	cancelled []bool
	refused   []bool // reached already when it was registered
}

func (c *counter) Wake(seq uint64, _ error) { c.woken[seq].Add(1) }

// TestEveryRegistrationEndsOnce lets registrations, cancellations, advances
// and resets run against each other, then closes: each registration must have
// been woken exactly once, or cancelled and never woken.
func TestEveryRegistrationEndsOnce(t *testing.T) {
	const waiters, each, span = 6, 4000, 64
	var m lsn.Watermark
	var hooks atomic.Int64
	m.OnWait = func() { hooks.Add(1) }

	counters := make([]*counter, waiters)
	var registering sync.WaitGroup
	for i := range counters {
		c := &counter{woken: make([]atomic.Int32, each), cancelled: make([]bool, each), refused: make([]bool, each)}
		counters[i] = c
		// Ends by itself; the test waits for it below.
		registering.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 2))
			for seq := range uint64(each) {
				c.refused[seq] = !m.Notify(m.Load()+lsn.LSN(rng.IntN(span)), c, seq)
				if rng.IntN(3) == 0 {
					old := uint64(rng.IntN(int(seq) + 1))
					c.cancelled[old] = m.Cancel(c, old) || c.cancelled[old]
				}
			}
		})
	}
	var stop atomic.Bool
	var moving sync.WaitGroup
	moving.Go(func() { // until stop; the test waits for it below
		rng := rand.New(rand.NewPCG(1, 3))
		for !stop.Load() {
			m.Advance(m.Load() + lsn.LSN(rng.IntN(span)))
			if rng.IntN(200) == 0 {
				m.Reset(errGone)
			}
		}
	})
	moving.Go(func() { // a second source of both, until stop
		rng := rand.New(rand.NewPCG(1, 4))
		for !stop.Load() {
			m.Advance(m.Load() + 1)
			m.Waiting()
			m.Lowest()
			m.Highest()
			if rng.IntN(500) == 0 {
				m.Reset(nil)
			}
		}
	})
	registering.Wait()
	stop.Store(true)
	moving.Wait()
	m.Close(nil)

	var registered, cancelled int64
	for i, c := range counters {
		for seq := range c.woken {
			want := int32(1)
			if c.refused[seq] || c.cancelled[seq] {
				want = 0
			}
			if got := c.woken[seq].Load(); got != want {
				t.Fatalf("waiter %d seq %d: woken %d times, want %d (refused %v, cancelled %v)",
					i, seq, got, want, c.refused[seq], c.cancelled[seq])
			}
			if !c.refused[seq] {
				registered++
			}
			if c.cancelled[seq] {
				cancelled++
			}
		}
	}
	if hooks.Load() != registered {
		t.Errorf("the hook was called %d times for %d registrations", hooks.Load(), registered)
	}
	if m.Waiting() != 0 {
		t.Errorf("%d wait after Close", m.Waiting())
	}
	t.Logf("%d registered, %d of them cancelled", registered, cancelled)
	if registered == 0 || cancelled == 0 {
		t.Error("nothing was tested")
	}
}

// TestCloseRacesRegistration demands an end for whoever comes around a Close.
func TestCloseRacesRegistration(t *testing.T) {
	for range 2000 {
		var m lsn.Watermark
		c := &counter{woken: make([]atomic.Int32, 2)}
		var both sync.WaitGroup
		for seq := range uint64(2) {
			both.Go(func() {
				if !m.Notify(10, c, seq) {
					t.Error("a target was reached that nobody advanced to")
				}
			})
		}
		both.Go(func() { m.Close(errGone) })
		both.Wait()
		if a, b := c.woken[0].Load(), c.woken[1].Load(); a != 1 || b != 1 {
			t.Fatalf("woken %d and %d times", a, b)
		}
	}
}
