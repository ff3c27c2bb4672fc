package lsn_test

import (
	"strings"
	"testing"

	"github.com/pgroute/pgroute/lsn"
)

func TestSameHistory(t *testing.T) {
	base := lsn.Position{SystemID: 7, Timeline: 2, Begin: 0x50008F0, LSN: 0x5030B70, Incarnation: 1000}
	for _, tc := range []struct {
		why                  string
		change               func(*lsn.Position)
		history, incarnation bool
	}{
		{"the same", func(*lsn.Position) {}, true, true},
		{"another place", func(p *lsn.Position) { p.LSN = 1 }, true, true},
		{"after a restart", func(p *lsn.Position) { p.Incarnation++ }, true, false},
		{"another cluster", func(p *lsn.Position) { p.SystemID++ }, false, false},
		{"another timeline", func(p *lsn.Position) { p.Timeline++ }, false, false},
		{"an independent promotion", func(p *lsn.Position) { p.Begin++ }, false, false},
	} {
		t.Run(tc.why, func(t *testing.T) {
			other := base
			tc.change(&other)
			if got := base.SameHistory(other); got != tc.history || other.SameHistory(base) != got {
				t.Errorf("SameHistory = %v, want %v both ways", got, tc.history)
			}
			if got := base.SameIncarnation(other); got != tc.incarnation || other.SameIncarnation(base) != got {
				t.Errorf("SameIncarnation = %v, want %v both ways", got, tc.incarnation)
			}
		})
	}
}

func TestPositionString(t *testing.T) {
	if got := (lsn.Position{}).String(); got != "nowhere" {
		t.Errorf("the zero Position is %q", got)
	}
	p := lsn.Position{SystemID: 7, Timeline: 2, Begin: 0x50008F0, LSN: 0x5030B70, Incarnation: 1763816400123456}
	const want = "0/5030B70 on timeline 2 from 0/50008F0 of system 7 since 2025-11-22T13:00:00.123456Z"
	if got := p.String(); got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

func TestCoverageNames(t *testing.T) {
	names := []string{
		lsn.CoverageUnknown.String(), lsn.CoverageYes.String(), lsn.CoverageNo.String(),
		lsn.CoverageLost.String(), lsn.Coverage(9).String(),
	}
	if got := strings.Join(names, " "); got != "unknown yes no lost Coverage(9)" {
		t.Errorf("the names are %s", got)
	}
	if lsn.Coverage(0) != lsn.CoverageUnknown {
		t.Error("the zero Coverage claims something")
	}
}
