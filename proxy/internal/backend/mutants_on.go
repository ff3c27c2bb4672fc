//go:build pgroute_mutants

package backend

// Mutants are the rules that a test build can switch off, one at a time, to
// show that the tests catch it.
var Mutants struct {
	// EpochIgnored: a backend takes writes whenever it was dialled, and a
	// decision holds for ever.
	EpochIgnored bool
}

func mutantEpochIgnored() bool { return Mutants.EpochIgnored }
