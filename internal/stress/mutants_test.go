//go:build pgroute_mutants

package stress_test

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

var bothFlag = flag.Bool("stress.both", false, "let TestMutants run TestNeverStale and TestNeverBackwards too, without each rule")

// switches take away one rule each.
var switches = map[string]*bool{
	"NoFloor":           &router.Mutants.NoFloor,
	"NoTicket":          &router.Mutants.NoTicket,
	"FlushAlways":       &router.Mutants.FlushAlways,
	"RawInsert":         &router.Mutants.RawInsert,
	"WatermarkSurvives": &router.Mutants.WatermarkSurvives,
	"TimelineIgnored":   &router.Mutants.TimelineIgnored,
	"NoConnectTicket":   &router.Mutants.NoConnectTicket,
	"NoNotifyTicket":    &router.Mutants.NoNotifyTicket,
	"FreeMove":          &router.Mutants.FreeMove,
	"NoGuard":           &router.Mutants.NoGuard,
	"UnguardedAlign":    &proxy.Mutants().UnguardedAlign,
	"NoReuseGuard":      &router.Mutants.NoReuseGuard,
	"CheckInside":       &proxy.Mutants().CheckInside,
}

// TestMutants takes away one rule after the other and demands that its test
// notices, and that it finds nothing while the rule is there.
func TestMutants(t *testing.T) {
	c := startLab(t)
	var rows strings.Builder
	for _, r := range rules {
		sound, why := "not run", "not run"
		t.Run(r.mutant+"/kept", func(t *testing.T) {
			sound = "passes"
			if err := r.try(t, c); err != nil {
				sound = "FAILS"
				t.Errorf("the rule is kept, and yet: %v", err)
			}
		})
		t.Run(r.mutant+"/gone", func(t *testing.T) {
			why = "NOT CAUGHT"
			*switches[r.mutant] = true
			// The proxies of the test end before: cleanups run in reverse.
			t.Cleanup(func() { *switches[r.mutant] = false })
			err := r.try(t, c)
			var v violation
			if !errors.As(err, &v) {
				t.Errorf("nobody noticed that the rule is gone: %s: %v", r.says, err)
				return
			}
			why = string(v)
		})
		also := ""
		if *bothFlag {
			t.Run(r.mutant+"/stress", func(t *testing.T) {
				*switches[r.mutant] = true
				t.Cleanup(func() { *switches[r.mutant] = false })
				total, _ := neverStale(t, *pairsFlag)
				also = fmt.Sprintf("; TestNeverStale: %d stale", len(total.stale))
			})
			t.Run(r.mutant+"/moves", func(t *testing.T) {
				*switches[r.mutant] = true
				t.Cleanup(func() { *switches[r.mutant] = false })
				also += fmt.Sprintf("; TestNeverBackwards: %d backward", len(neverBackwards(t, *movesFlag).back))
			})
		}
		fmt.Fprintf(&rows, "%-18s %-66s TestRules/%-18s %-7s %s%s\n", r.mutant, r.says, r.mutant, sound, why, also)
	}
	t.Logf("\n%-18s %-66s %-28s %-7s %s\n%s", "mutant", "rule", "test", "with it", "without it", rows.String())
	if len(switches) != len(rules) {
		t.Errorf("%d switches, %d rules", len(switches), len(rules))
	}
}
