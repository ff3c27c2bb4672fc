//go:build pgroute_mutants

package proxy

import "github.com/pgroute/pgroute/proxy/internal/client"

// MutantSwitches are the rules of the data plane that a test build can switch
// off, one at a time, to show that the tests catch it. Those of the router are
// in router.Mutants.
type MutantSwitches = struct {
	// UnguardedAlign: the client's bytes do not wait for its settings.
	UnguardedAlign bool
	// CheckInside: REPEATABLE READ takes its snapshot before the floor is
	// checked.
	CheckInside bool
}

// Mutants returns the switches. Set them while no Server runs.
func Mutants() *MutantSwitches { return &client.Mutants }
