//go:build pgroute_mutants

package soak_test

import (
	"testing"
	"time"

	"github.com/pgroute/pgroute/proxy"
)

// TestMutants takes away one rule after the other, and demands that a client
// notices it soon.
func TestMutants(t *testing.T) {
	m := proxy.Mutants()
	for name, mutant := range map[string]*bool{
		"NoAlign": &m.NoAlign, "UnguardedAlign": &m.UnguardedAlign, "NoTaint": &m.NoTaint, "NoPin": &m.NoPin,
		"ShortKeys": &m.ShortKeys, "SharedUnnamed": &m.SharedUnnamed, "KeptSettings": &m.KeptSettings,
	} {
		t.Run(name, func(t *testing.T) {
			*mutant = true
			// The proxy ends before: cleanups run in reverse.
			t.Cleanup(func() { *mutant = false })
			s, err := open(t, *clientsFlag, *poolFlag).soak(t, *clientsFlag, time.Minute)
			if s.leak == nil {
				t.Fatalf("nobody noticed within a minute: %v", err)
			}
			t.Logf("noticed after %v:\n%.600s", time.Since(s.began).Round(time.Millisecond), s.leak)
		})
	}
}
