//go:build pgroute_mutants

package stress_test

import (
	"testing"

	"github.com/pgroute/pgroute/router"
)

// TestReplicaToPrimaryUnguarded tells how many reads go back without the guard.
// That it is noticed is for TestMutants to show, where it does not take luck.
func TestReplicaToPrimaryUnguarded(t *testing.T) {
	for _, mode := range []string{"asynchronous", "synchronous"} {
		t.Run(mode, func(t *testing.T) {
			router.Mutants.NoGuard = true
			// The proxy of the test ends before: cleanups run in reverse.
			t.Cleanup(func() { router.Mutants.NoGuard = false })
			back := replicaToPrimary(t, mode == "synchronous", *guardFlag)
			t.Logf("%d reads on the primary went back", len(back))
		})
	}
}
