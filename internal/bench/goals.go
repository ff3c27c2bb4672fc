package main

import (
	"fmt"
	"io"
)

// A goal is a number that the project has promised itself.
type goal struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	// AtLeast turns the limit around.
	AtLeast bool `json:"at_least,omitempty"`
	Met     bool `json:"met"`
}

const (
	cpuAtPrimary  = 1.25 // × PgBouncer's, at goalClients
	cpuAtSession  = 1.35
	leastTPS      = 0.95
	addedLatency  = 1.20 // × what PgBouncer adds, at one client
	goalClients   = 16
	idleKiB       = 8.0
	streamPeakMiB = 64.0
)

// judge compares what was measured with the goals. What was not measured is
// not judged.
func (r *report) judge() {
	for _, s := range r.Speed {
		for _, ra := range s.Ratios {
			where := fmt.Sprintf("%s, %s", ra.Target, s.load)
			switch {
			case s.Clients == goalClients && s.Protocol != "extended":
				limit := cpuAtSession
				if ra.Target == pgroutePrimary {
					limit = cpuAtPrimary
				}
				if ra.TPS != (spread{}) { // else no pair of rounds counts
					r.atMost("CPU / PgBouncer's: "+where, ra.CPU.Median, limit)
					r.atLeast("tps / PgBouncer's: "+where, ra.TPS.Median, leastTPS)
				}
			case s.Clients == 1 && ra.Added != 0:
				r.atMost("added latency / PgBouncer's: "+where, ra.Added, addedLatency)
			}
		}
	}
	for _, m := range r.Idle {
		if m.Target != pgbouncer {
			r.atMost(fmt.Sprintf("KiB per idle client: %s, %d clients", m.Target, m.Clients), m.PerClient/1024, idleKiB)
		}
	}
	for _, m := range r.Streams {
		r.atMost("peak MiB: "+m.Name, mib(m.Peak), streamPeakMiB)
	}
}

func (r *report) atMost(name string, value, limit float64) {
	r.Goals = append(r.Goals, goal{Name: name, Value: value, Limit: limit, Met: value <= limit})
}

func (r *report) atLeast(name string, value, limit float64) {
	r.Goals = append(r.Goals, goal{Name: name, Value: value, Limit: limit, AtLeast: true, Met: value >= limit})
}

func (r *report) printGoals(to io.Writer) {
	if len(r.Goals) == 0 {
		return
	}
	fmt.Fprintln(to, "\ngoals")
	for _, g := range r.Goals {
		verdict, sign := "missed", "≤"
		if g.Met {
			verdict = "met"
		}
		if g.AtLeast {
			sign = "≥"
		}
		fmt.Fprintf(to, "  %-6s %7.2f %s %.2f  %s\n", verdict, g.Value, sign, g.Limit, g.Name)
	}
}
