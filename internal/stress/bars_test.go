package stress_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// What -stress.strict holds TestSwitchover and TestFailovers to.
var (
	pauseMoreFlag = flag.Duration("stress.pause-more", 250*time.Millisecond, "how much longer than the cluster's own gap the longest pause of a client may be in a switchover")
	resolvedFlag  = flag.Int("stress.resolved", 95, "of 100 COMMITs with a number that have no answer, how many are resolved at least")
	resumeFlag    = flag.Duration("stress.resume", 300*time.Millisecond, "how soon 95 of 100 clients whose COMMITs wait for no replica write again once a new primary accepts writes")
)

// heldUp is what one switchover came to.
type heldUp struct {
	own, pause time.Duration // the cluster's gap, and the longest pause of a client
	who        string
}

// tooLong lists the switchovers in which a client was held up by more than most
// beyond the cluster's own gap.
func tooLong(list []heldUp, most time.Duration) (over []string) {
	for i, h := range list {
		if more := h.pause - h.own; more > most {
			over = append(over, fmt.Sprintf("switchover %d: a %s paused for %v, the cluster's own gap was %v: %v more, %v may be", i+1, h.who,
				h.pause.Round(time.Millisecond), h.own.Round(time.Millisecond), more.Round(time.Millisecond), most))
		}
	}
	return over
}

// firstDone is how long after a time the first of the deeds that wrote since
// then was acknowledged, patience if none was.
func firstDone(deeds []deed, after time.Time) time.Duration {
	least := patience
	for i := len(deeds) - 1; i >= 0 && deeds[i].at.After(after); i-- {
		if deeds[i].told == toldDone && deeds[i].wrote.After(after) {
			least = deeds[i].at.Sub(after)
		}
	}
	return least
}

// shortOf lists what failovers do not reach of what is asked for. The first
// writes are sorted.
func shortOf(known, asked uint64, firsts []time.Duration) (list []string) {
	if known*100 < asked*uint64(*resolvedFlag) {
		list = append(list, fmt.Sprintf("%d of %d COMMITs without an answer were resolved, less than %d %%", known, asked, *resolvedFlag))
	}
	if got := quantile(firsts, 95); got > *resumeFlag {
		list = append(list, fmt.Sprintf("95 %% of the clients wrote again within %v after a new primary accepted writes, %v is asked for", got, *resumeFlag))
	}
	return list
}

func TestTooLongPausesAreListed(t *testing.T) {
	const ms = time.Millisecond
	got := tooLong([]heldUp{{own: 900 * ms, pause: 1150 * ms, who: "client"}, {own: 900 * ms, pause: 1151 * ms, who: "pgbench"}, {own: 900 * ms}, {pause: 400 * ms, who: "visitor"}}, 250*ms)
	if len(got) != 2 || !strings.HasPrefix(got[0], "switchover 2: a pgbench paused for 1.151s") || !strings.HasPrefix(got[1], "switchover 4: a visitor") {
		t.Errorf("listed are %q", got)
	}
}

// Each client is judged by its own first acknowledged write.
func TestFirstDone(t *testing.T) {
	began := time.Now()
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	deeds := []deed{
		{wrote: at(-6), at: at(-5)},
		{wrote: at(-4), at: at(5)}, // the COMMIT of what the former primary wrote
		{told: toldResolved, at: at(10)},
		{told: toldAmbiguous, at: at(20)},
		{wrote: at(29), at: at(30)},
		{wrote: at(39), at: at(40)},
	}
	if got := firstDone(deeds, began); got != 30*time.Millisecond {
		t.Errorf("the first write is told %v later", got)
	}
	if got := firstDone(deeds[:4], began); got != patience {
		t.Errorf("no write is told %v later", got)
	}
}

func TestShortOf(t *testing.T) {
	firsts := func(slow int) []time.Duration {
		list := slices.Repeat([]time.Duration{300 * time.Millisecond}, 100)
		for i := range slow {
			list[len(list)-1-i] = 301 * time.Millisecond
		}
		return list
	}
	for _, x := range []struct {
		known, asked uint64
		firsts       []time.Duration
		want         int
	}{
		{95, 100, firsts(5), 0},
		{0, 0, firsts(0), 0}, // nothing was in doubt
		{94, 100, firsts(0), 1},
		{0, 1, firsts(0), 1},
		{95, 100, firsts(6), 1},
		{94, 100, firsts(100), 2},
	} {
		if got := shortOf(x.known, x.asked, x.firsts); len(got) != x.want {
			t.Errorf("%d of %d, p95 %v: %q", x.known, x.asked, quantile(x.firsts, 95), got)
		}
	}
}

func TestWorseWakeUpsAreTold(t *testing.T) {
	var polled, alike, late latencies
	for i := range 100 {
		d := time.Duration(i) * time.Microsecond
		polled.add(d)
		alike.add(d + 100*time.Microsecond)
		if i > 95 {
			d += 101 * time.Microsecond
		}
		late.add(d)
	}
	if got := worse(&alike, &polled, 100*time.Microsecond); len(got) != 0 {
		t.Errorf("told of wake-ups that are no worse is %q", got)
	}
	if got := worse(&late, &polled, 100*time.Microsecond); len(got) != 1 || !strings.HasPrefix(got[0], "99% ") {
		t.Errorf("told of late ones is %q", got)
	}
}
