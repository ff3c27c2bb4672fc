//go:build !pgroute_mutants

package backend

// Each of these removes one rule, in test builds only: see mutants_on.go.

func mutantEpochIgnored() bool { return false }
