package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// A sheet is one load with the rounds of all targets.
type sheet struct {
	load
	Targets []*column `json:"targets"`
	Ratios  []ratio   `json:"ratios"`
}

// A column is what one target did under a load.
type column struct {
	Target string  `json:"target"`
	Label  string  `json:"label"`
	Rounds []round `json:"rounds"`
	TPS    spread  `json:"tps"`
	P50    spread  `json:"p50_us"`
	P99    spread  `json:"p99_us"`
	CPU    spread  `json:"cpu_us"`
	// Added is the median latency above the direct connection's of the same
	// round.
	Added  spread `json:"added_p50_us"`
	Failed int    `json:"failed_rounds"`
}

// A ratio compares a column with PgBouncer's, round by round.
type ratio struct {
	Target string `json:"target"`
	TPS    spread `json:"tps"`
	P50    spread `json:"p50"`
	P99    spread `json:"p99"`
	CPU    spread `json:"cpu"`
	// Added divides the medians of the added latencies; 0 when unknown.
	Added float64 `json:"added_p50"`
}

func newSheet(l load, targets []*target) *sheet {
	s := &sheet{load: l}
	for _, t := range targets {
		s.Targets = append(s.Targets, &column{Target: t.name, Label: t.servers[l.Protocol].label})
	}
	return s
}

// column finds a target's column, nil if it is not measured.
func (s *sheet) column(target string) *column {
	for _, c := range s.Targets {
		if c.Target == target {
			return c
		}
	}
	return nil
}

// sum fills in what follows from the rounds.
func (s *sheet) sum() {
	base, bouncer := s.column(direct), s.column(pgbouncer)
	for _, c := range s.Targets {
		c.TPS = c.over(func(r round) float64 { return r.TPS })
		c.P50 = c.over(func(r round) float64 { return r.P50 })
		c.P99 = c.over(func(r round) float64 { return r.P99 })
		c.CPU = c.over(func(r round) float64 { return r.CPU })
		c.Failed = 0
		for _, r := range c.Rounds {
			if r.Failure != "" {
				c.Failed++
			}
		}
		if base != nil && c != base {
			c.Added = pair(c, base, func(a, b round) float64 { return a.P50 - b.P50 })
		}
	}
	if bouncer == nil {
		return
	}
	for _, c := range s.Targets {
		if c.Target != pgrouteSession && c.Target != pgroutePrimary {
			continue
		}
		r := ratio{
			Target: c.Target,
			TPS:    pair(c, bouncer, func(a, b round) float64 { return a.TPS / b.TPS }),
			P50:    pair(c, bouncer, func(a, b round) float64 { return a.P50 / b.P50 }),
			P99:    pair(c, bouncer, func(a, b round) float64 { return a.P99 / b.P99 }),
			CPU:    pair(c, bouncer, func(a, b round) float64 { return a.CPU / b.CPU }),
		}
		if bouncer.Added.Median > 0 {
			r.Added = c.Added.Median / bouncer.Added.Median
		}
		s.Ratios = append(s.Ratios, r)
	}
}

// over collects one number of every round that counts.
func (c *column) over(of func(round) float64) spread {
	var values []float64
	for _, r := range c.Rounds {
		if r.Failure == "" {
			values = append(values, of(r))
		}
	}
	return spreadOf(values)
}

// pair compares two columns round by round, where both rounds count.
func pair(a, b *column, of func(a, b round) float64) spread {
	var values []float64
	for i := range min(len(a.Rounds), len(b.Rounds)) {
		if a.Rounds[i].Failure == "" && b.Rounds[i].Failure == "" {
			values = append(values, of(a.Rounds[i], b.Rounds[i]))
		}
	}
	return spreadOf(values)
}

// print writes the sheet as a table: medians, with the range in parentheses.
func (s *sheet) print(to io.Writer) {
	fmt.Fprintf(to, "\n%s\n", s.load)
	w := tabwriter.NewWriter(to, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "  \ttps\tp50 µs\tadded µs\tp99 µs\tproxy CPU µs/tx\t")
	for _, c := range s.Targets {
		cpu := c.CPU.format(1)
		if c.Target == direct {
			cpu = "-"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Target, c.TPS.format(0), c.P50.format(0), c.Added.format(0),
			c.P99.format(0), cpu, c.Label)
	}
	for _, r := range s.Ratios {
		added := "-"
		if r.Added != 0 {
			added = fmt.Sprintf("%.2f", r.Added)
		}
		fmt.Fprintf(w, "  %s / pgbouncer\t%s\t%s\t%s\t%s\t%s\t\n", r.Target, r.TPS.format(2), r.P50.format(2), added,
			r.P99.format(2), r.CPU.format(2))
	}
	_ = w.Flush() // the terminal's errors are nobody's
	for _, c := range s.Targets {
		for i, r := range c.Rounds {
			if r.Failure != "" {
				fmt.Fprintf(to, "  %s, round %d FAILED: %s\n", c.Target, i+1, r.Failure)
			}
		}
	}
}
