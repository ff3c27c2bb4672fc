//go:build !pgroute_mutants

package client

// Each of these removes one rule, in test builds only: see mutants_on.go.

func mutantUnguardedAlign() bool { return false }
func mutantCheckInside() bool    { return false }
func mutantNoAlign() bool        { return false }
func mutantNoTaint() bool        { return false }
func mutantNoPin() bool          { return false }
func mutantShortKeys() bool      { return false }
func mutantSharedUnnamed() bool  { return false }
func mutantKeptSettings() bool   { return false }
func mutantNoTicket() bool       { return false }
func mutantRedoWrite() bool      { return false }
