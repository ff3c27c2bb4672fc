package router_test

import (
	"testing"
	"time"

	"github.com/pgroute/pgroute/router"
)

// A router asks for the primary's position no more often than its pace, also
// when somebody always waits for it, and who waits gets an answer all the same.
func TestPositionPaceBoundsTheCalls(t *testing.T) {
	for _, pace := range []time.Duration{0, 5 * time.Millisecond} {
		run(t, newCluster("a"), router.Config{PositionPace: pace, TicketPace: -1}, func(w *world) {
			began, before, answers := time.Now(), w.r.Stats().PositionCalls, 0
			for time.Since(began) < time.Second {
				asked := time.Now()
				if _, err := w.r.WaitTicket(w.Context(), w.r.Ticket()); err != nil {
					w.Fatal(err)
				}
				if took := time.Since(asked); took > pace+2*w.servers["p"].rtt {
					w.Errorf("pace %v: answered after %v", pace, took)
				}
				answers++
			}
			calls := w.r.Stats().PositionCalls - before
			if pace > 0 && calls > uint64(time.Second/pace)+1 || pace == 0 && calls < 1000 || answers < int(calls)/2 {
				w.Errorf("pace %v: %d calls and %d answers in a second", pace, calls, answers)
			}
		})
	}
}
