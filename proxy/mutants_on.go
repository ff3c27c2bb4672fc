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
	// NoAlign: a backend keeps the settings that somebody else has set.
	NoAlign bool
	// NoTaint: a backend is not cleaned, whatever was done on it.
	NoTaint bool
	// NoPin: nothing binds a client to its backend.
	NoPin bool
	// ShortKeys: prepared statements that begin alike are taken for the same.
	ShortKeys bool
	// SharedUnnamed: whatever unnamed statement a backend has will do.
	SharedUnnamed bool
	// KeptSettings: what a transaction has set stays after its ROLLBACK.
	KeptSettings bool
	// NoTicket: a write is acknowledged before its session has a ticket.
	NoTicket bool
	// RedoWrite: a write whose server went away is run again elsewhere.
	RedoWrite bool
}

// Mutants returns the switches. Set them while no Server runs.
func Mutants() *MutantSwitches { return &client.Mutants }
