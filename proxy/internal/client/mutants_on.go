//go:build pgroute_mutants

package client

// Mutants are the rules that a test build can switch off, one at a time, to
// show that the tests catch it. Set them before the first client comes.
var Mutants struct {
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

func mutantUnguardedAlign() bool { return Mutants.UnguardedAlign }
func mutantCheckInside() bool    { return Mutants.CheckInside }
func mutantNoAlign() bool        { return Mutants.NoAlign }
func mutantNoTaint() bool        { return Mutants.NoTaint }
func mutantNoPin() bool          { return Mutants.NoPin }
func mutantShortKeys() bool      { return Mutants.ShortKeys }
func mutantSharedUnnamed() bool  { return Mutants.SharedUnnamed }
func mutantKeptSettings() bool   { return Mutants.KeptSettings }
func mutantNoTicket() bool       { return Mutants.NoTicket }
func mutantRedoWrite() bool      { return Mutants.RedoWrite }
