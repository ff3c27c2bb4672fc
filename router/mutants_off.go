//go:build !pgroute_mutants

package router

// Each of these removes one rule, in test builds only: see mutants_on.go. Here
// they are constant, so that the compiler removes the code behind them.

func mutantNoFloor() bool           { return false }
func mutantNoTicket() bool          { return false }
func mutantFlushAlways() bool       { return false }
func mutantRawInsert() bool         { return false }
func mutantWatermarkSurvives() bool { return false }
func mutantTimelineIgnored() bool   { return false }
func mutantNoConnectTicket() bool   { return false }
func mutantNoNotifyTicket() bool    { return false }
func mutantFreeMove() bool          { return false }
func mutantNoGuard() bool           { return false }
func mutantNoReuseGuard() bool      { return false }
func mutantLeadershipIgnored() bool { return false }
func mutantBracketIgnored() bool    { return false }
