package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

const summary = `transaction type: <builtin: select only>
number of clients: 16
number of transactions actually processed: 81234
number of failed transactions: 0 (0.000%)
latency average = 0.985 ms
initial connection time = 12.3 ms
tps = 16248.123456 (without initial connection time)
`

func TestSummaryGivesTransactionsAndRate(t *testing.T) {
	r, err := parseSummary(summary)
	if err != nil || r.Transactions != 81234 || r.TPS != 16248.123456 {
		t.Fatalf("got %+v, %v", r, err)
	}
}

func TestSummaryOfARunThatDoesNotCount(t *testing.T) {
	for name, out := range map[string]string{
		"no result":              "pgbench: error: connection failed\n",
		"failed transactions":    strings.Replace(summary, "failed transactions: 0", "failed transactions: 3", 1),
		"nothing processed":      strings.Replace(summary, "81234", "0", 1),
		"more than a number has": strings.Replace(summary, "81234", strings.Repeat("9", 40), 1),
	} {
		if r, err := parseSummary(out); err == nil {
			t.Errorf("%s: got %+v", name, r)
		}
	}
}

func TestLogGivesThirdColumn(t *testing.T) {
	got, err := parseLog([]int{7}, strings.NewReader("0 199 2241 0 1175850568 995598\n1 200 180 0 1175850568 998079\n"))
	if err != nil || !slices.Equal(got, []int{7, 2241, 180}) {
		t.Fatalf("got %v, %v", got, err)
	}
	for _, bad := range []string{"0 1 2\n", "0 199 failed 0 1175850568 998079\n"} {
		if got, err := parseLog(nil, strings.NewReader(bad)); err == nil {
			t.Errorf("%q: got %v", bad, got)
		}
	}
}

func TestQuantileIsTheNearestRank(t *testing.T) {
	values := make([]int, 100)
	for i := range values {
		values[i] = i + 1
	}
	for q, want := range map[float64]float64{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %v: got %v, want %v", q, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   spread
	}{
		{nil, spread{}},
		{[]float64{3, 1, 2}, spread{2, 1, 3}},
		{[]float64{4, 1, 2, 3}, spread{2.5, 1, 4}},
		{[]float64{math.NaN(), 5, math.Inf(1)}, spread{5, 5, 5}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("%v: got %+v, want %+v", c.values, got, c.want)
		}
	}
}

func TestStatusGivesMemory(t *testing.T) {
	m, err := parseStatus("Name:\tx\nVmHWM:\t   15000 kB\nVmRSS:\t   12000 kB\nThreads:\t9\n")
	if err != nil || m != (memory{now: 12000 << 10, peak: 15000 << 10}) {
		t.Fatalf("got %+v, %v", m, err)
	}
	for _, bad := range []string{"", "VmHWM:\tx kB\nVmRSS:\t1 kB\n", "VmRSS:\t1 kB\n"} {
		if m, err := parseStatus(bad); err == nil {
			t.Errorf("%q: got %+v", bad, m)
		}
	}
}

func TestProcessorTimeGrows(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Skip(err)
	}
	after := before
	for range 1 << 20 { // some thousand rounds are enough
		if after, err = cpuTime(os.Getpid()); err != nil || after > before {
			break
		}
	}
	if err != nil || after <= before {
		t.Fatalf("from %v to %v, %v", before, after, err)
	}
}

// TestRatiosAreFormedRoundByRound: between the rounds the machine became half
// as fast for everybody, which no ratio may show.
func TestRatiosAreFormedRoundByRound(t *testing.T) {
	made := func(name string, tps, p50, cpu float64) *column {
		c := &column{Target: name}
		for _, slow := range []float64{1, 2, 1.5} {
			c.Rounds = append(c.Rounds, round{Transactions: 1, TPS: tps / slow, P50: p50 * slow, P99: p50 * slow, CPU: cpu * slow})
		}
		return c
	}
	s := &sheet{load: load{Workload: selectOnly, Protocol: "simple", Clients: 16}, Targets: []*column{
		made(direct, 1000, 50, 0), made(pgroutePrimary, 900, 80, 12), made(pgbouncer, 1000, 70, 10),
	}}
	s.sum()
	if len(s.Ratios) != 1 {
		t.Fatalf("%d ratios", len(s.Ratios))
	}
	r := s.Ratios[0]
	if near(r.TPS.Min, 0.9) && near(r.TPS.Max, 0.9) && near(r.CPU.Min, 1.2) && near(r.CPU.Max, 1.2) && near(r.Added, 1.5) {
		return
	}
	t.Fatalf("got %+v", r)
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

// TestFailedRoundsDoNotCount: neither in a column nor in a ratio, and a load
// whose rounds all failed meets no goal.
func TestFailedRoundsDoNotCount(t *testing.T) {
	good, bad := round{Transactions: 1, TPS: 10, P50: 5, P99: 5, CPU: 2}, round{Failure: "no"}
	s := &sheet{load: load{Workload: selectOnly, Protocol: "simple", Clients: goalClients}, Targets: []*column{
		{Target: pgrouteSession, Rounds: []round{bad, good}}, {Target: pgroutePrimary, Rounds: []round{bad, bad}},
		{Target: pgbouncer, Rounds: []round{good, good}},
	}}
	s.sum()
	if c := s.column(pgrouteSession); c.Failed != 1 || c.TPS.Median != 10 {
		t.Errorf("got %+v", c)
	}
	rep := &report{Speed: []*sheet{s}}
	rep.judge()
	if len(rep.Goals) != 2 || !rep.Goals[0].Met || !rep.Goals[1].Met {
		t.Errorf("goals: %+v", rep.Goals)
	}
	if err := rep.failures(); err == nil {
		t.Error("failed rounds are no failure")
	}
	var table bytes.Buffer
	s.print(&table)
	if !strings.Contains(table.String(), "pgroute-session, round 1 FAILED: no") {
		t.Errorf("the table hides the failure:\n%s", &table)
	}
	if _, err := json.Marshal(rep); err != nil {
		t.Errorf("no JSON: %v", err)
	}
}

func TestOptions(t *testing.T) {
	o, err := parseOptions([]string{"--quick", "--rounds", "7"})
	if err != nil || o.rounds != 7 || o.seconds != 2 || o.mem || !slices.Equal(o.clients, []int{1, 16}) {
		t.Errorf("--quick: %+v, %v", o, err)
	}
	o, err = parseOptions(nil)
	if err != nil || !o.speed || !o.mem || !o.stream || o.rounds < 5 || o.seconds < 5 {
		t.Errorf("none: %+v, %v", o, err)
	}
	for _, bad := range [][]string{{"--clients", "0"}, {"--clients", "a"}, {"--targets", "odyssey"}, {"--rounds", "0"}, {"x"}} {
		if _, err := parseOptions(bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

func TestBouncerVersion(t *testing.T) {
	for out, want := range map[string]string{
		"PgBouncer 1.24.1\nlibevent 2.1.12-stable\n": "PgBouncer 1.24",
		"PgBouncer version 1.5.4\n":                  "PgBouncer version 1.5",
	} {
		if got := bouncerLine.FindString(out); got != want {
			t.Errorf("%q: got %q", out, got)
		}
	}
	if (bouncer{major: 1, minor: 18}).prepares() || !(bouncer{major: 1, minor: 21}).prepares() {
		t.Error("prepared statements in transaction pooling came with 1.21")
	}
}

func TestReadUntil(t *testing.T) {
	const answer = "T\x00\x00\x00\x06xyD\x00\x00\x00\x05zZ\x00\x00\x00\x05I"
	if n, err := readUntil(bufio.NewReader(strings.NewReader(answer)), 'Z'); err != nil || n != int64(len(answer)) {
		t.Errorf("got %d, %v", n, err)
	}
	for name, bad := range map[string]string{
		"an error":    "E\x00\x00\x00\x11SERROR\x00C42P01\x00\x00",
		"cut off":     answer[:len(answer)-1],
		"too short":   "T\x00\x00\x00\x03",
		"a huge one":  "T\xff\xff\xff\xffx",
		"a bad error": "E\xff\xff\xff\xffS",
	} {
		if n, err := readUntil(bufio.NewReader(strings.NewReader(bad)), 'Z'); err == nil {
			t.Errorf("%s: got %d", name, n)
		}
	}
}

func FuzzReadUntil(f *testing.F) {
	f.Add([]byte("T\x00\x00\x00\x06xyZ\x00\x00\x00\x05I"))
	f.Add([]byte("E\x00\x00\x00\x11SERROR\x00C42P01\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := readUntil(bufio.NewReader(bytes.NewReader(data)), 'Z')
		if err == nil && (n < 5 || n > int64(len(data))) {
			t.Fatalf("%d of %d bytes", n, len(data))
		}
	})
}
