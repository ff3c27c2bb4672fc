package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

// A round is one run of pgbench against one target.
type round struct {
	Transactions int     `json:"transactions"`
	TPS          float64 `json:"tps"`
	P50          float64 `json:"p50_us"`
	P99          float64 `json:"p99_us"`
	// CPU is the proxy's processor time per transaction, 0 without a proxy.
	CPU float64 `json:"cpu_us"`
	// Failure is why the round does not count.
	Failure string `json:"failure,omitempty"`
}

// A load is what pgbench does in a round.
type load struct {
	Workload string `json:"workload"`
	Protocol string `json:"protocol"`
	Clients  int    `json:"clients"`
}

func (l load) String() string {
	name := map[string]string{selectOnly: "select-only", tpcb: "TPC-B-like"}[l.Workload]
	plural := "s"
	if l.Clients == 1 {
		plural = ""
	}
	return fmt.Sprintf("%s, %s, %d client%s", name, l.Protocol, l.Clients, plural)
}

// args are pgbench's. Only a part of the many short transactions is logged, so
// that writing the log does not become the work.
func (l load) args(seconds int) []string {
	args := []string{"-n", "-M", l.Protocol, "-c", strconv.Itoa(l.Clients), "-j", strconv.Itoa(min(l.Clients, 2)),
		"-T", strconv.Itoa(seconds), "-l"}
	if l.Workload == selectOnly {
		return append(args, "-S", "--sampling-rate=0.2")
	}
	return append(args, "-b", "tpcb-like")
}

// pgbenchGrace is how much longer than its -T pgbench may take.
const pgbenchGrace = 60 * time.Second

// runPgbench runs pgbench at HOST:PORT, with its log in a folder of its own
// below dir.
func runPgbench(ctx context.Context, dir, host string, port, seconds int, l load) (round, error) {
	logs, err := os.MkdirTemp(dir, "log-")
	if err != nil {
		return round{}, fmt.Errorf("make a folder for pgbench: %w", err)
	}
	defer os.RemoveAll(logs)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+pgbenchGrace)
	defer cancel()
	args := append(l.args(seconds), "--log-prefix="+filepath.Join(logs, "l"))
	out, err := pgbench(ctx, host, port, args...)
	if err != nil {
		return round{}, err
	}
	r, err := parseSummary(out)
	if err != nil {
		return round{}, err
	}
	latencies, err := readLogs(logs)
	if err != nil {
		return round{}, err
	}
	r.P50, r.P99 = quantile(latencies, 0.50), quantile(latencies, 0.99)
	return r, nil
}

// pgbench runs pgbench as the application's user and returns what it printed.
func pgbench(ctx context.Context, host string, port int, args ...string) (string, error) {
	path, err := cluster.Tool("pgbench")
	if err != nil {
		return "", err
	}
	args = append(slices.Clone(args), "-h", host, "-p", strconv.Itoa(port), "-U", cluster.AppUser, cluster.AppDatabase)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH"), "PGSSLMODE=disable", "PGGSSENCMODE=disable", "PGCONNECT_TIMEOUT=10"}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = orphanSignal()
	out, err := cmd.CombinedOutput()
	if err != nil {
		text := bytes.TrimSpace(out)
		return "", fmt.Errorf("pgbench %s: %w: %s", strings.Join(args, " "), err, text[max(0, len(text)-600):])
	}
	return string(out), nil
}

var (
	processedLine = regexp.MustCompile(`(?m)^number of transactions actually processed: (\d+)`)
	failedLine    = regexp.MustCompile(`(?m)^number of failed transactions: (\d+)`)
	tpsLine       = regexp.MustCompile(`(?m)^tps = ([0-9.]+) \(without initial connection time\)`)
)

// parseSummary reads what pgbench prints at the end.
func parseSummary(out string) (round, error) {
	processed, tps := processedLine.FindStringSubmatch(out), tpsLine.FindStringSubmatch(out)
	if processed == nil || tps == nil {
		return round{}, fmt.Errorf("pgbench printed no result: %s", strings.TrimSpace(out))
	}
	if failed := failedLine.FindStringSubmatch(out); failed != nil && failed[1] != "0" {
		return round{}, fmt.Errorf("%s transactions failed", failed[1])
	}
	var r round
	var err, err2 error
	r.Transactions, err = strconv.Atoi(processed[1])
	r.TPS, err2 = strconv.ParseFloat(tps[1], 64)
	if err := errors.Join(err, err2); err != nil {
		return round{}, fmt.Errorf("read pgbench's result: %w", err)
	}
	if r.Transactions == 0 {
		return round{}, errors.New("pgbench processed no transaction")
	}
	return r, nil
}

// readLogs returns the latencies of all logs in dir, in microseconds, sorted.
func readLogs(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read pgbench's logs: %w", err)
	}
	var all []int
	for _, entry := range entries {
		f, err := os.Open(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read pgbench's logs: %w", err)
		}
		all, err = parseLog(all, f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("read pgbench's log %s: %w", entry.Name(), err)
		}
	}
	slices.Sort(all)
	return all, nil
}

// parseLog appends the third column of each line: client, transaction, latency.
func parseLog(to []int, r io.Reader) ([]int, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 {
			return nil, fmt.Errorf("%q is no line of pgbench's log", lines.Text())
		}
		latency, err := strconv.Atoi(fields[2])
		if err != nil {
			return nil, fmt.Errorf("%q is no latency", fields[2])
		}
		to = append(to, latency)
	}
	return to, lines.Err()
}
