package lsn

import "strconv"

// Coverage is History's answer to the question whether a node has what a
// floor asks for. The zero Coverage is CoverageUnknown.
type Coverage uint8

const (
	// CoverageUnknown says that the two are not on one line as far as this
	// History knows, so that comparing their LSNs would prove nothing.
	CoverageUnknown Coverage = iota
	// CoverageYes says that the node has replayed everything up to the floor.
	CoverageYes
	// CoverageNo says that the node has not replayed that far yet; waiting
	// helps.
	CoverageNo
	// CoverageLost says that the history left the floor's timeline, or that
	// the primary came back from a crash, before the floor. What was written
	// there is gone and no node that follows this history will ever have it.
	CoverageLost
)

// String returns one lower-case word.
func (c Coverage) String() string {
	switch c {
	case CoverageUnknown:
		return "unknown"
	case CoverageYes:
		return "yes"
	case CoverageNo:
		return "no"
	case CoverageLost:
		return "lost"
	}
	return "Coverage(" + strconv.Itoa(int(c)) + ")"
}
