package simulation

import (
	"slices"
	"testing"
)

// TestSameSeedSameTrace plays each schedule twice: everything that happens must
// happen again, at the same times and in the same order.
func TestSameSeedSameTrace(t *testing.T) {
	for s := range uint64(*twice) {
		// The kernel may stop a thread for so long that the runtime preempts what
		// should have gone on (10 ms): on a busy machine, or under the race
		// detector, a play may be disturbed. Two of few must be the same.
		var plays []result
		same := false
		for len(plays) < 5 && !same {
			last := play(t, newPlan(s+1), len(plays) > 0)
			same = slices.ContainsFunc(plays, func(p result) bool { return p.hash == last.hash })
			plays = append(plays, last)
		}
		if same {
			continue
		}
		b, c := plays[1], plays[2]
		i := 0
		for i < min(len(b.trace), len(c.trace)) && b.trace[i] == c.trace[i] {
			i++
		}
		t.Fatalf("seed %d: no two of %d runs are the same; two of them differ from line %d on:\n%v\n%v", s+1, len(plays), i, line(b.trace, i), line(c.trace, i))
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
