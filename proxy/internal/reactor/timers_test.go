package reactor

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestTimersComeInOrder and prune loses none that somebody waits for.
func TestTimersComeInOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	start := time.Unix(0, 0)
	for range 200 {
		l := &Loop{}
		clients := make([]*Client, 20)
		due := map[*Client]time.Time{}
		for i := range clients {
			clients[i] = &Client{}
		}
		for range 2000 {
			c := clients[rnd.IntN(len(clients))]
			switch rnd.IntN(10) {
			case 0:
				c.timer = 0 // what it waited for has come
				delete(due, c)
			case 1:
				if rnd.IntN(20) == 0 {
					c.dead = true
					delete(due, c)
				}
			default:
				at := start.Add(time.Duration(rnd.IntN(1000)) * time.Second)
				l.arm(c, at)
				if !c.dead {
					due[c] = at
				}
			}
			if len(l.timers) > 300 {
				t.Fatalf("%d timers for %d clients", len(l.timers), len(clients))
			}
		}
		var times []time.Time
		for len(l.timers) > 0 {
			x := l.timers.pop()
			times = append(times, x.at)
			if c := x.client; !c.dead && c.timer == x.seq {
				if !due[c].Equal(x.at) {
					t.Fatalf("a timer is due at %v, it was set to %v", x.at, due[c])
				}
				delete(due, c)
			}
		}
		if len(due) > 0 {
			t.Fatalf("%d timers are lost", len(due))
		}
		if !slices.IsSortedFunc(times, time.Time.Compare) {
			t.Fatal("timers come out of order")
		}
	}
}
