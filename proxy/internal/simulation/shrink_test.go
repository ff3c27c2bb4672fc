package simulation

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// shrink leaves out of a schedule whatever is not needed to go wrong: first
// large parts of its events, then smaller ones, single ones, at last pairs. Any
// failure will do; the events that are left keep their times.
func shrink(t *testing.T, p *plan, tries int) (*plan, result) {
	fails := func(events []event) bool {
		if tries--; tries < 0 {
			return false
		}
		q := *p
		q.events = events
		if res := play(t, &q, false); res.failure != "" {
			return true
		}
		return false
	}
	events := slices.Clone(p.events)
	for part := (len(events) + 1) / 2; part > 0; {
		smaller := false
		for at := 0; at < len(events); {
			end := min(at+part, len(events))
			less := slices.Concat(events[:at], events[end:])
			if fails(less) {
				events, smaller = less, true
			} else {
				at = end
			}
		}
		if part == 1 && !smaller {
			if less := withoutPair(events, fails); less != nil {
				events = less
				continue
			}
			break
		}
		if !smaller || part > len(events) {
			part = max(part/2, 1)
		}
	}
	q := *p
	q.events = events
	return &q, play(t, &q, true)
}

// withoutPair leaves out two events, such as a fault and what ends it, and returns
// nil if all are needed.
func withoutPair(events []event, fails func([]event) bool) []event {
	for i := range events {
		for k := i + 1; k < len(events); k++ {
			if less := slices.Concat(events[:i], events[i+1:k], events[k+1:]); fails(less) {
				return less
			}
		}
	}
	return nil
}

// report tells what went wrong in a schedule: its configuration, its events, and
// what happened from when the clients came.
func report(p *plan, res result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nIts %d events, with %s:\n", res.failure, len(p.events), p)
	for i := range p.events {
		fmt.Fprintf(&b, "%12s  %s\n", stamp(settleTime+p.events[i].at), &p.events[i])
	}
	b.WriteString("\nWhat happened:\n")
	for _, line := range res.trace {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.String()
}
