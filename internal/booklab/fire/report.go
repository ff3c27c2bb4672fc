package fire

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is the score of a run as a table.
func Report(h *History, took time.Duration) string {
	var outcomes [4]int
	retries := 0
	for i := range h.Attempts {
		outcomes[h.Attempts[i].Outcome]++
		retries += h.Attempts[i].Retries
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "attempts\tbooked\trefused\tretries\tsent again\tunknown\todd\ttook\tattempts/s\t")
	fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%v\t%.0f\t\n", len(h.Attempts), outcomes[Booked], outcomes[Refused], retries, len(h.Replays),
		outcomes[Unknown], outcomes[Odd], took.Round(time.Second), float64(len(h.Attempts))/took.Seconds())
	_ = w.Flush() // a Builder never fails
	fmt.Fprintln(&b)
	fmt.Fprintln(w, "looks at\tlooks\tstale\ton replicas\ton the primary\t")
	for _, level := range []string{strongLevel, sessionLevel, eventualLevel} {
		var looks, stale, replicas int
		for i := range h.Looks {
			l := &h.Looks[i]
			if l.Level != level {
				continue
			}
			looks++
			if !l.Taken {
				stale++
			}
			if l.Route.Role == "replica" {
				replicas++
			}
		}
		name := level
		if level == sessionLevel {
			name += " + token"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t\n", name, looks, stale, replicas, looks-replicas)
	}
	fmt.Fprintf(w, "unanswered\t%d\t\t\t\t\n", h.Unanswered)
	_ = w.Flush() // a Builder never fails
	names := make([]string, len(h.Faults))
	for i, f := range h.Faults {
		names[i] = f.Name
	}
	fmt.Fprintf(&b, "faults: %s\n", strings.Join(names, ", "))
	return b.String()
}
