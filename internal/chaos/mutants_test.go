//go:build pgroute_mutants

package chaos_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// mutants are the rules that the rig can see the loss of. The others are those
// of tests that make the rare moment that they are for.
var mutants = []struct {
	name string
	// sure says that the rig must notice within a run; else it may.
	sure bool
	// kinds of faults that bring it to light; none means all.
	kinds []string
	// levels at which clients read; none means the usual ones. The floor that
	// clients share also grows with strong reads, which hides what a write
	// forgets.
	levels []string
}{
	{"NoFloor", true, replaying, nil},
	{"NoTicket", true, replaying, quiet},
	{"NoConnectTicket", false, []string{"replay delayed", "replay stopped", "kill -9 proxy"}, quiet},
	{"FreeMove", false, []string{"replay delayed", "replay stopped", "receiver stopped", "replica hangs", "replica cut off", "kill -9 replica"}, quiet},
	{"TimelineIgnored", false, nil, nil},
	{"RedoWrite", true, []string{"kill -9 primary amid COMMITs"}, nil},
	{"BracketIgnored", true, []string{switchover}, nil},
	// While the synchronous standby is away the other replica shows what the
	// primary still hides.
	{"NoGuard", true, []string{"receiver stopped", "replica hangs"}, nil},
}

// quiet are levels that raise no floor by themselves.
var quiet = []string{"session", "eventual"}

// replaying are the faults that make replicas lag and nothing else.
var replaying = []string{"replay delayed", "replay stopped", "receiver stopped"}

// TestMutants takes away one rule after the other from the proxies, and tells
// after what time the rig noticed.
func TestMutants(t *testing.T) {
	l := openLab(t, labOptions{sync: true, tags: "pgroute_mutants"})
	lasts, seed := 40*time.Second, *seedFlag
	if *forFlag != 0 {
		lasts = *forFlag
	}
	if seed == 0 {
		seed = rand.Uint64N(1e6) + 1
	}
	var table strings.Builder
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			if err := l.restart(t.Context(), "PGROUTE_MUTANT="+m.name); err != nil {
				t.Fatal(err)
			}
			r := l.run(t, plan{seed: seed, lasts: lasts, clients: *clientsFlag, rate: *rateFlag, levels: m.levels, mutant: m.name, kinds: m.kinds, logf: t.Logf})
			if _, err := r.save(*outFlag); err != nil {
				t.Error(err)
			}
			text := "not noticed within " + lasts.String()
			if at, what, ok := r.first(); ok {
				text = fmt.Sprintf("noticed after %v: %s", at.Round(time.Millisecond), what)
			} else if m.sure {
				t.Errorf("nobody noticed that the rule %s is gone; the seed is %d", m.name, seed)
			}
			for _, what := range r.Wrong {
				t.Errorf("%s", what)
			}
			fmt.Fprintf(&table, "%-18s %s\n", m.name, text)
		})
	}
	t.Logf("seed %d, %v each:\n%s", seed, lasts, table.String())
}

// TestMutantsOfLeadership: a proxy that trusts whom ZooKeeper named last writes
// to the old primary when it sees nobody else.
func TestMutantsOfLeadership(t *testing.T) {
	l := openLab(t, labOptions{tags: "pgroute_mutants", env: []string{"PGROUTE_MUTANT=LeadershipIgnored"}})
	if l.network == nil {
		t.Skip("needs a network of its own: ", l.why)
	}
	broken := oldPrimary(t, l, false)
	if len(broken) == 0 {
		t.Fatal("nobody noticed that the rule LeadershipIgnored is gone")
	}
	t.Logf("noticed: %d times, first: %s", len(broken), broken[0])
}

// restart starts all proxies again with other variables of the environment.
func (l *lab) restart(ctx context.Context, env ...string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, p := range l.proxies {
		p.env = env
		if err := p.Kill(); err != nil {
			return err
		}
		if err := p.start(); err != nil {
			return err
		}
		if err := until(ctx, p.Name+" is ready", func() error { _, err := p.status(ctx); return err }); err != nil {
			return err
		}
	}
	return nil
}

// first is when the first finding could be seen, since the clients began.
func (r *result) first() (at time.Duration, what string, ok bool) {
	for _, f := range r.Report.Findings {
		if len(f.Ops) == 0 {
			continue
		}
		if end := f.Ops[len(f.Ops)-1].End; !ok || end < at {
			at, what, ok = end, f.Kind+" at "+f.Level+", in "+f.Workload, true
		}
	}
	return at, what, ok
}
