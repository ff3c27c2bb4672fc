package simulation

import (
	"slices"
	"testing"
)

// TestSameSeedSameTrace plays each schedule twice: everything that happens must
// happen again, at the same times and in the same order.
func TestSameSeedSameTrace(t *testing.T) {
	for s := range uint64(*twice) {
		p := newPlan(s + 1)
		a, b := play(t, p, false), play(t, newPlan(s+1), true)
		if a.hash == b.hash {
			continue
		}
		c := play(t, p, true)
		i := 0
		for i < min(len(b.trace), len(c.trace)) && b.trace[i] == c.trace[i] {
			i++
		}
		t.Fatalf("seed %d: two runs differ: %x, %x and %x, from line %d on:\n%v\n%v", s+1, a.hash, b.hash, c.hash, i, line(b.trace, i), line(c.trace, i))
	}
}

func line(trace []string, i int) string {
	if i < len(trace) {
		return trace[i]
	}
	return "(its end)"
}

// TestSeedsDiffer shows that the hash tells schedules apart.
func TestSeedsDiffer(t *testing.T) {
	var seen []uint64
	for s := range uint64(20) {
		h := play(t, newPlan(s+1), false).hash
		if slices.Contains(seen, h) {
			t.Errorf("seed %d: another schedule has had the same hash", s+1)
		}
		seen = append(seen, h)
	}
}
