package verify

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// maxTrace is how many operations of a finding are printed.
const maxTrace = 12

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d operations in %v by %d clients over %d connections through %s; seed %d\n\n",
		r.Ops, r.Elapsed.Round(time.Millisecond), r.Clients, r.Processes, strings.Join(r.Targets, ", "), r.Seed)
	r.writeCounts(&b)
	r.writeRoutes(&b)
	r.writeEvents(&b)
	r.writeChecks(&b)
	for _, f := range r.Findings {
		f.write(&b)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	r.writeVerdict(&b)
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func table(b *bytes.Buffer, rows func(w io.Writer)) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	rows(w)
	_ = w.Flush() // a buffer takes everything
	b.WriteByte('\n')
}

func (r *Report) writeCounts(b *bytes.Buffer) {
	table(b, func(w io.Writer) {
		fmt.Fprintln(w, "workload\toperation\tat\tok\tfailed\tunknown\tp50\tp95\tp99\tmax\t")
		for _, c := range r.Counts {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t\n", dash(c.Workload), c.Kind, dash(c.Level), c.OK, c.Failed, c.Unknown,
				short(c.Latency.P50), short(c.Latency.P95), short(c.Latency.P99), short(c.Latency.Max))
		}
	})
}

func (r *Report) writeRoutes(b *bytes.Buffer) {
	table(b, func(w io.Writer) {
		fmt.Fprintln(w, "reads at\ton\trole\treason\treads\t")
		for _, route := range r.Routes {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t\n", route.Level, dash(route.Node), dash(route.Role), dash(route.Reason), route.Reads)
		}
	})
}

// writeEvents writes what was out of the ordinary.
func (r *Report) writeEvents(b *bytes.Buffer) {
	fmt.Fprintf(b, "longest time without an answer: reads %s (from %s on), writes %s (from %s on)\n",
		short(r.ReadPause.Length), short(r.ReadPause.From), short(r.WritePause.Length), short(r.WritePause.From))
	for _, code := range slices.Sorted(maps.Keys(r.Errors)) {
		e, name := r.Errors[code], code
		if name == "" {
			name = "without SQLSTATE"
		}
		fmt.Fprintf(b, "errors %s: %d, such as: %s\n", name, e.Count, e.Example)
	}
	if r.Tokens > 0 {
		fmt.Fprintf(b, "tokens taken from another connection: %d, of which %d from another target\n", r.Tokens, r.Handed)
	}
	if r.Early > 0 {
		fmt.Fprintf(b, "reads on the primary that hid an unacknowledged commit which a replica had shown: %d\n", r.Early)
	}
	if l := r.Losses; l != (Losses{}) {
		fmt.Fprintf(b, "acknowledged writes that are missing: %d (told PR002: %d, PR003: %d, connection gone before: %d); PR002 %d times, PR003 %d times, %d of them for a write that is there\n",
			l.Lost, l.Told, l.MaybeTold, l.Gone, l.Warnings, l.MaybeWarnings, l.Needless)
	}
	for _, d := range r.Detours {
		fmt.Fprintln(b, d)
	}
	b.WriteByte('\n')
}

func (r *Report) writeChecks(b *bytes.Buffer) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "check\tlooked at\tresult")
	for _, c := range r.Checks {
		result := "ok"
		switch {
		case c.Findings > 0:
			result = fmt.Sprintf("WRONG: %d", c.Findings)
		case c.Looked == 0:
			result = "nothing to check"
		case c.Undecided > 0:
			result = fmt.Sprintf("NOT DECIDED: %d", c.Undecided)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\n", c.Name, c.Looked, result)
	}
	_ = w.Flush() // a buffer takes everything
	b.WriteByte('\n')
}

// write writes a finding with its trace.
func (f *Finding) write(b *bytes.Buffer) {
	fmt.Fprintf(b, "FINDING: %s", f.Kind)
	for _, s := range []string{f.Workload, f.Level} {
		if s != "" {
			fmt.Fprintf(b, ", %s", s)
		}
	}
	fmt.Fprintf(b, ": %s\n", f.What)
	for i, op := range f.Ops {
		if i == maxTrace {
			fmt.Fprintf(b, "  … and %d more\n", len(f.Ops)-i)
			break
		}
		fmt.Fprintf(b, "  %s\n", op)
	}
	b.WriteByte('\n')
}

func (r *Report) writeVerdict(b *bytes.Buffer) {
	if r.OK() {
		fmt.Fprint(b, "nothing was found")
		if n := r.Undecided(); n > 0 {
			fmt.Fprintf(b, ", but %d checks were not decided", n)
		}
		fmt.Fprintln(b)
		return
	}
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(r.Found)) {
		kinds = append(kinds, fmt.Sprintf("%s (%d)", kind, r.Found[kind]))
	}
	fmt.Fprintf(b, "FOUND: %s\n", strings.Join(kinds, ", "))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// short rounds a duration to what people read.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
