//go:build pgroute_mutants

package router

// Mutants are the rules that a test build can switch off, one at a time, to
// show that the tests catch it. Set them before New; never build with the tag
// pgroute_mutants for anything but tests.
var Mutants struct {
	// NoFloor: every replica covers every floor.
	NoFloor bool
	// NoTicket: a write takes no ticket.
	NoTicket bool
	// FlushAlways: tickets are answered with the flush position.
	FlushAlways bool
	// RawInsert: insert positions are not normalised.
	RawInsert bool
	// WatermarkSurvives: a watermark outlives its connection, and readings
	// count for backends that were dialled after them.
	WatermarkSurvives bool
	// TimelineIgnored: LSNs of different timelines are compared as numbers,
	// and a replica need not follow the current timeline.
	TimelineIgnored bool
	// NoConnectTicket: a client that connects takes no ticket.
	NoConnectTicket bool
	// NoNotifyTicket: a forwarded notification takes no ticket.
	NoNotifyTicket bool
	// FreeMove: a client changes its replica without a ticket.
	FreeMove bool
	// NoGuard: a client that has read on a replica reads on the primary
	// although that may still hide what the replica showed.
	NoGuard bool
	// NoReuseGuard: a transaction's number means the same to every primary.
	NoReuseGuard bool
	// LeadershipIgnored: whom the source named last leads, however long it has
	// been silent, and a proof does not age.
	LeadershipIgnored bool
	// BracketIgnored: every write of an earlier era is lost.
	BracketIgnored bool
}

func mutantNoFloor() bool           { return Mutants.NoFloor }
func mutantNoTicket() bool          { return Mutants.NoTicket }
func mutantFlushAlways() bool       { return Mutants.FlushAlways }
func mutantRawInsert() bool         { return Mutants.RawInsert }
func mutantWatermarkSurvives() bool { return Mutants.WatermarkSurvives }
func mutantTimelineIgnored() bool   { return Mutants.TimelineIgnored }
func mutantNoConnectTicket() bool   { return Mutants.NoConnectTicket }
func mutantNoNotifyTicket() bool    { return Mutants.NoNotifyTicket }
func mutantFreeMove() bool          { return Mutants.FreeMove }
func mutantNoGuard() bool           { return Mutants.NoGuard }
func mutantNoReuseGuard() bool      { return Mutants.NoReuseGuard }
func mutantLeadershipIgnored() bool { return Mutants.LeadershipIgnored }
func mutantBracketIgnored() bool    { return Mutants.BracketIgnored }
