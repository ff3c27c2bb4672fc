package chaos_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pgroute/pgroute/internal/verify"
)

// result is what is left of a run.
type result struct {
	Mode        string         `json:"mode"`
	Seed        uint64         `json:"seed"`
	For         time.Duration  `json:"for"`
	Elapsed     time.Duration  `json:"elapsed"`
	Healed      time.Duration  `json:"healed"` // when the nemesis had put everything right
	Alive       time.Duration  `json:"alive"`  // how long after that all clients had read and written
	Origin      time.Duration  `json:"origin"` // when the clocks of the report began
	Mutant      string         `json:"mutant,omitempty"`
	Limits      []string       `json:"limits,omitempty"` // what this machine kept the rig from doing
	Faults      map[string]int `json:"faults"`           // that came about, by kind
	Failed      map[string]int `json:"failed"`           // that did not
	Never       []string       `json:"never"`            // kinds of which none came about
	Wrong       []string       `json:"wrong,omitempty"`  // what is wrong beside the report's findings
	Timelines   int            `json:"timelines"`        // the last timeline
	Report      *verify.Report `json:"report"`
	Events      []*event       `json:"events"`
	Samples     []sample       `json:"samples"`
	BucketWidth time.Duration  `json:"bucket_width"`
	Buckets     []*bucket      `json:"buckets"`

	journal *journal
}

func (r *result) title() string {
	return fmt.Sprintf("pgroute under chaos: %s, seed %d, %v", r.Mode, r.Seed, r.For.Round(time.Second))
}

func (r *result) subtitle() string {
	faults := 0
	for _, n := range r.Faults {
		faults += n
	}
	s := fmt.Sprintf("%d faults, %d operations of %d clients, %d timelines; ", faults, r.Report.Ops, r.Report.Clients, r.Timelines)
	if r.Mutant != "" {
		s = "without a rule: " + r.Mutant + "; " + s
	}
	if n := len(r.Report.Detours); n > 0 {
		s += fmt.Sprintf("went back to a history that it had left %d times; ", n)
	}
	if r.ok() {
		return s + "nothing found"
	}
	return s + fmt.Sprintf("%d findings", len(r.Report.Findings)+len(r.Wrong))
}

func (r *result) ok() bool { return r.Report.OK() && len(r.Wrong) == 0 }

func (r *result) nodes() (names []string) {
	for i := range members {
		names = append(names, fmt.Sprintf("pg%d", i+1))
	}
	return names
}

func (r *result) samplesOf(node string) (list []sample) {
	for _, s := range r.Samples {
		if s.Node == node {
			list = append(list, s)
		}
	}
	return list
}

// writeText writes the summary.
func (r *result) writeText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", r.title(), r.subtitle())
	if r.Alive > 0 {
		fmt.Fprintf(&b, "all healed after %v; all clients read and wrote again within %v of that\n", r.Healed.Round(time.Millisecond), r.Alive.Round(time.Millisecond))
	}
	for _, limit := range r.Limits {
		fmt.Fprintf(&b, "not done: %s\n", limit)
	}
	b.WriteString("\nfaults\n")
	for _, kind := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(&b, "  %5d  %s\n", r.Faults[kind], kind)
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Failed)) {
		fmt.Fprintf(&b, "  failed %d of %d times: %s\n", r.Failed[kind], r.Failed[kind]+r.Faults[kind], kind)
	}
	if len(r.Never) > 0 {
		fmt.Fprintf(&b, "  never: %s\n", strings.Join(r.Never, ", "))
	}
	for _, what := range r.Wrong {
		fmt.Fprintf(&b, "\nWRONG: %s\n", what)
	}
	b.WriteString("\n")
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	return r.Report.WriteText(w)
}

func (r *result) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// save writes the three files, and returns where they are without their
// endings.
func (r *result) save(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("save the result: %w", err)
	}
	name := fmt.Sprintf("%s-%d", r.Mode, r.Seed)
	if r.Mutant != "" {
		name += "-" + r.Mutant
	}
	base := filepath.Join(dir, name)
	for ending, write := range map[string]func(io.Writer) error{
		".txt": r.writeText, ".json": r.writeJSON, ".svg": func(w io.Writer) error { return writeSVG(w, r) },
	} {
		if err := saveFile(base+ending, write); err != nil {
			return "", err
		}
	}
	return base, nil
}

func saveFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("save the result: %w", err)
	}
	return errors.Join(write(f), f.Close())
}
