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

// A beginning that is not known is neither equal to another one nor different
// from it: what proves one line is then the life of the primary.
func TestUnknownBeginnings(t *testing.T) {
	at := func(timeline uint32, begin lsn.LSN, incarnation int64) lsn.Position {
		return lsn.Position{SystemID: cluster, Timeline: timeline, Begin: begin, LSN: 0x400, Incarnation: incarnation}
	}
	for _, tc := range []struct {
		why                  string
		p, q                 lsn.Position
		history, incarnation bool
	}{
		{"both unknown, one life", at(2, 0, monday), at(2, 0, monday), true, true},
		{"both unknown, two lives: perhaps two promotions", at(2, 0, monday), at(2, 0, tuesday), false, false},
		{"both unknown, and the lives too", at(2, 0, 0), at(2, 0, 0), false, false},
		{"one unknown, one life", at(2, 0, monday), at(2, 0x300, monday), true, true},
		{"one unknown, two lives", at(2, 0, monday), at(2, 0x300, tuesday), false, false},
		{"both known, the lives are not", at(2, 0x300, 0), at(2, 0x300, 0), true, false},
		{"both known and different, one life", at(2, 0x300, monday), at(2, 0x301, monday), false, false},
		{"timeline 1 begins at 0", at(1, 0, monday), at(1, 0, tuesday), true, false},
		{"timeline 1 begins nowhere else", at(1, 0, monday), at(1, 1, monday), false, false},
	} {
		t.Run(tc.why, func(t *testing.T) {
			if got := tc.p.SameHistory(tc.q); got != tc.history || tc.q.SameHistory(tc.p) != got {
				t.Errorf("SameHistory = %v, want %v both ways", got, tc.history)
			}
			if got := tc.p.SameIncarnation(tc.q); got != tc.incarnation || tc.q.SameIncarnation(tc.p) != got {
				t.Errorf("SameIncarnation = %v, want %v both ways", got, tc.incarnation)
			}
			// A history that is in one says of the other what they say.
			if tc.p.Incarnation == 0 || tc.p.Timeline == 1 && tc.p.Begin != 0 {
				return
			}
			h := mustHistory(t, nil, tc.p.Timeline, tc.p.Begin, tc.p.Incarnation)
			if _, known := h.Kept(tc.q); known != tc.incarnation {
				t.Errorf("Kept knows it: %v, want %v", known, tc.incarnation)
			}
		})
	}
	// A past timeline has no lives any more that would prove anything.
	h := mustHistory(t, []lsn.Switch{{Timeline: 2, End: 0x500}}, 3, 0x500, monday)
	for _, begin := range []lsn.LSN{0, 0x300} {
		if end, known := h.Kept(at(2, begin, monday)); known {
			t.Errorf("a past timeline whose beginning is not known kept one that began at %s until %s", begin, end)
		}
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
