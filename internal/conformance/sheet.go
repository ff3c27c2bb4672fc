package main

import (
	"fmt"
	"io"
	"strings"
)

// A sheet holds the outcomes of all suites, side by side.
type sheet struct {
	rows []row
	left []string // suites that were left out, and why
}

// A row is one suite: directly, and in one round through pgroute.
type row struct {
	suite           string
	direct, proxied outcomes
	reads           reads
}

func newSheet() *sheet { return &sheet{} }

func (s *sheet) add(suite string, direct, proxied outcomes, r reads) {
	s.rows = append(s.rows, row{suite, direct, proxied, r})
}

func (s *sheet) leaveOut(suite, reason string) {
	s.left = append(s.left, suite+": "+reason)
}

// A difference is a test that ended otherwise through pgroute.
type difference struct {
	suite, test     string
	direct, proxied outcome // empty if it did not run
	reason          string  // why that has to be, from the list of known ones
}

// differences are those of a row, in the order of the tests' names.
func (r *row) differences() []difference {
	var all []difference
	union := make(outcomes)
	for _, o := range []outcomes{r.direct, r.proxied} {
		for name := range o {
			union[name] = ""
		}
	}
	for _, name := range union.names() {
		if r.direct[name] != r.proxied[name] {
			all = append(all, difference{r.suite, name, r.direct[name], r.proxied[name], known[r.suite+" "+name]})
		}
	}
	return all
}

// unexpected says whether something that passes directly does not pass through
// pgroute, and nobody said why.
func (s *sheet) unexpected() bool {
	for i := range s.rows {
		for _, d := range s.rows[i].differences() {
			if d.direct == passed && d.reason == "" {
				return true
			}
		}
	}
	return false
}

func (s *sheet) print(w io.Writer) {
	fmt.Fprintf(w, "\n%-16s %24s %24s %22s\n", "", "directly", "through pgroute", "reads on")
	fmt.Fprintf(w, "%-16s %8s %7s %7s %8s %7s %7s %11s %10s\n", "suite", "passed", "failed", "skipped", "passed", "failed", "skipped", "replicas", "primary")
	for i := range s.rows {
		r := &s.rows[i]
		fmt.Fprintf(w, "%-16s %8d %7d %7d %8d %7d %7d %11d %10d\n", r.suite,
			r.direct.count(passed), r.direct.count(failed), r.direct.count(skipped),
			r.proxied.count(passed), r.proxied.count(failed), r.proxied.count(skipped), r.reads.replica, r.reads.primary)
	}
	for _, left := range s.left {
		fmt.Fprintln(w, "not run: "+left)
	}
	for i := range s.rows {
		r := &s.rows[i]
		if fails := r.failures(); len(fails) > 0 {
			fmt.Fprintf(w, "\n%s, failed both ways: %s\n", r.suite, strings.Join(fails, " "))
		}
		for _, d := range r.differences() {
			fmt.Fprintf(w, "\n%s %s: %s directly, %s through pgroute", d.suite, d.test, orNone(d.direct), orNone(d.proxied))
			if d.reason != "" {
				fmt.Fprintf(w, " (known: %s)", d.reason)
			}
			fmt.Fprintln(w)
		}
	}
}

// failures are the tests that fail either way.
func (r *row) failures() []string {
	var names []string
	for _, name := range r.direct.names() {
		if r.direct[name] == failed && r.proxied[name] == failed {
			names = append(names, name)
		}
	}
	return names
}

func orNone(o outcome) outcome {
	if o == "" {
		return "not run"
	}
	return o
}
