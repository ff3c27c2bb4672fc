package simulation

import (
	"flag"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

var (
	schedules = flag.Int("simulation.schedules", 0, "how many schedules to play; 0: as many as simulation.for allows")
	seed      = flag.Uint64("simulation.seed", 1, "the seed of the first")
	twice     = flag.Int("simulation.twice", 200, "how many schedules to play twice")
	lasting   = flag.Duration("simulation.for", 20*time.Second, "how long to play, if simulation.schedules does not say")
)

func TestMain(m *testing.M) {
	// One processor: what runs is what the driver has let run.
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(800)
	flag.Parse()
	os.Exit(m.Run())
}

// TestSchedules plays schedules until one shows something that must not be.
func TestSchedules(t *testing.T) {
	began := time.Now()
	var all coverage
	played, events := 0, 0
	var longest time.Duration
	for s := *seed; ; s++ {
		if *schedules > 0 && played == *schedules || *schedules == 0 && time.Since(began) > *lasting {
			break
		}
		p := newPlan(s)
		res := play(t, p, false)
		played++
		events += len(p.events)
		all.merge(&res.cover)
		longest = max(longest, res.longest)
		if res.failure != "" {
			small, res := shrink(t, p, 300)
			t.Errorf("seed %d: %s\nRepeat it with: go test ./proxy/internal/simulation -run TestSchedules -simulation.seed %d -simulation.schedules 1", s,
				report(small, res), s)
			break
		}
	}
	took := time.Since(began)
	t.Logf("%d schedules of %d events on average in %s: %.0f schedules per second, %.0f events per second; the longest statement took %s\n%s", played, events/max(played, 1),
		took.Round(time.Millisecond), float64(played)/took.Seconds(), float64(events)/took.Seconds(), longest, &all)
}
