//go:build !pgroute_mutants

package client

// Each of these removes one rule, in test builds only: see mutants_on.go.

func mutantUnguardedAlign() bool { return false }
func mutantCheckInside() bool    { return false }
