package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A report is everything that one run found. It is written as JSON.
type report struct {
	Started   time.Time        `json:"started"`
	System    string           `json:"system"`
	CPUs      int              `json:"cpus"`
	Load      string           `json:"load_average_at_start"`
	Go        string           `json:"go"`
	Postgres  string           `json:"postgresql"`
	PgBouncer string           `json:"pgbouncer,omitempty"`
	Pool      int              `json:"pool_size"`
	Scale     int              `json:"scale"`
	Seconds   int              `json:"seconds"`
	Rounds    int              `json:"rounds"`
	Speed     []*sheet         `json:"speed,omitempty"`
	Peaks     map[string]int64 `json:"peak_memory_bytes,omitempty"`
	Idle      []*idleResult    `json:"idle_clients,omitempty"`
	Streams   []*streamResult  `json:"streams,omitempty"`
	Goals     []goal           `json:"goals,omitempty"`
}

func newReport(l *lab) *report {
	r := &report{
		Started: time.Now().UTC(), System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version(),
		Postgres: l.server, Pool: l.opts.pool, Scale: l.opts.scale, Seconds: l.opts.seconds, Rounds: l.opts.rounds,
		Peaks: make(map[string]int64),
	}
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		r.Load = strings.Join(strings.Fields(string(data))[:3], " ")
	}
	if l.bouncer.command != nil {
		r.PgBouncer = fmt.Sprintf("%s (%s)", l.bouncer.version(), l.bouncer.note)
	}
	return r
}

func (r *report) printHead(to io.Writer) {
	fmt.Fprintf(to, "PostgreSQL %s, %s, %s, %d CPUs, load average %s\n", r.Postgres, r.Go, r.System, r.CPUs, r.Load)
	if r.PgBouncer != "" {
		fmt.Fprintf(to, "PgBouncer %s\n", r.PgBouncer)
	}
	fmt.Fprintf(to, "pools of %d server connections in both proxies; durable servers; pgbench at scale %d\n", r.Pool, r.Scale)
	fmt.Fprintln(to, "medians of the rounds (smallest..largest); ratios are formed round by round")
}

// notePeaks reads the proxies' peak memory once all rounds are over.
func (r *report) notePeaks(targets []*target) error {
	fmt.Println("\npeak memory over all rounds")
	for _, t := range targets {
		for _, protocol := range allProtocols {
			e := t.servers[protocol]
			if e.proxy == nil || r.Peaks[e.proxy.name] != 0 {
				continue
			}
			m, err := e.proxy.memory()
			if err != nil {
				return err
			}
			r.Peaks[e.proxy.name] = m.peak
			fmt.Printf("  %-22s %5.1f MiB\n", e.proxy.name, mib(m.peak))
		}
	}
	return nil
}

// write writes the report as JSON.
func (r *report) write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// failures is an error if a round failed.
func (r *report) failures() error {
	failed := 0
	for _, s := range r.Speed {
		for _, c := range s.Targets {
			failed += c.Failed
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d rounds failed", failed)
	}
	return nil
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
