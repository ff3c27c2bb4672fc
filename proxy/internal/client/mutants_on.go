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
}

func mutantUnguardedAlign() bool { return Mutants.UnguardedAlign }
func mutantCheckInside() bool    { return Mutants.CheckInside }
