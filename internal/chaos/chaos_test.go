package chaos_test

import (
	"flag"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

var (
	forFlag      = flag.Duration("chaos.for", 0, "how long the nemesis works in each mode")
	seedFlag     = flag.Uint64("chaos.seed", 0, "decides what the nemesis does; 0 means any")
	modeFlag     = flag.String("chaos.mode", "both", "sync (Patroni's synchronous mode: no acknowledged write may be missing), async, or both")
	ciFlag       = flag.Bool("chaos.ci", false, "three minutes if -chaos.for says nothing else: half of it in each mode")
	clientsFlag  = flag.Int("chaos.clients", 12, "clients at work")
	rateFlag     = flag.Int("chaos.rate", 400, "operations per second of all clients")
	outFlag      = flag.String("chaos.out", "../../build/chaos", "where the summary, the report and the picture go")
	raceFlag     = flag.Bool("chaos.race", false, "build the proxies with the race detector")
	loopbackFlag = flag.Bool("chaos.loopback", false, "no network of its own, as without root")
	kindsFlag    = flag.String("chaos.kinds", "", "the kinds of faults, with commas between (default all)")
	levelsFlag   = flag.String("chaos.levels", "", "the levels at which clients read, with commas between (default verify's)")
)

// TestChaos runs the rig. A broken promise fails it.
func TestChaos(t *testing.T) {
	lasts := wanted(t)
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64N(1e6) + 1
	}
	known := false
	for _, mode := range []string{"sync", "async"} {
		if *modeFlag == mode || *modeFlag == "both" {
			known = true
			t.Run(mode, func(t *testing.T) { chaos(t, mode, seed, lasts) })
		}
	}
	if !known {
		t.Fatalf("-chaos.mode %s is none of sync, async and both", *modeFlag)
	}
}

// wanted is how long the nemesis works in each mode. Nobody is to wait for it
// who does not ask for it.
func wanted(t *testing.T) time.Duration {
	t.Helper()
	switch {
	case *forFlag > 0:
		return *forFlag
	case *ciFlag:
		return 90 * time.Second
	}
	t.Skip("takes minutes: with -chaos.ci or -chaos.for")
	return 0
}

func chaos(t *testing.T, mode string, seed uint64, lasts time.Duration) {
	l := openLab(t, labOptions{sync: mode == "sync", race: *raceFlag})
	t.Logf("%s, seed %d: the cluster is up after %v", mode, seed, time.Since(l.launched).Round(time.Millisecond))
	r := l.run(t, plan{seed: seed, lasts: lasts, clients: *clientsFlag, rate: *rateFlag, levels: words(*levelsFlag), kinds: words(*kindsFlag), logf: t.Logf})
	base := report(t, r)
	if !r.ok() {
		l.saveLogs(base)
		t.Errorf("%d findings; the seed is %d", len(r.Report.Findings)+len(r.Wrong), seed)
	}
}

// words are the words of a list, none of an empty one.
func words(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// report shows the summary and saves everything. It returns how the names of the
// files begin.
func report(t *testing.T, r *result) (base string) {
	t.Helper()
	var b strings.Builder
	if err := r.writeText(&b); err != nil {
		t.Error(err)
	}
	t.Log("\n" + b.String())
	base, err := r.save(*outFlag)
	if err != nil {
		t.Error(err)
	}
	t.Logf("saved in %s.txt, .json and .svg", base)
	return base
}

// saveLogs keeps what all have logged, to find out where a finding comes from.
func (l *lab) saveLogs(base string) {
	const whole = 1 << 30
	logs := map[string]string{}
	for _, m := range l.patroni.Members() {
		logs[m.Name] = m.LogTail(whole)
	}
	for _, p := range l.proxies {
		logs[p.Name] = p.LogTail(whole)
	}
	for name, text := range logs {
		if err := os.WriteFile(base+"-"+name+".log", []byte(text), 0o644); err != nil {
			l.t.Error(err)
		}
	}
}
