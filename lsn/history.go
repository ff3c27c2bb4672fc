package lsn

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Switch is one timeline of the past: where it began and where the next one
// left it.
type Switch struct {
	// Timeline is its number; timelines count from 1, and 0 is none.
	Timeline uint32
	// Begin is where Timeline began. It is 0 for timeline 1, and for a later
	// one whose beginning is not known.
	Begin LSN
	// End is where the next timeline left it. WAL of Timeline beyond End is
	// not part of the history. An End before Begin says that nothing of
	// Timeline is: see ParseHistoryFile.
	End LSN
}

// Restart is one restart of the primary on its current timeline.
type Restart struct {
	// Incarnation is the one that began with this restart.
	Incarnation int64
	// From is where its first record begins. Whatever earlier incarnations
	// wrote at or before From survived, and what they wrote beyond is lost.
	//
	// It may be a later position (the first insert position that was seen
	// after the restart): then a loss between the two goes unnoticed, but what
	// survived is still waited for. It must never be an earlier one, which
	// would claim losses that did not happen.
	From LSN
}

// maxRestarts bounds what a History remembers. Older incarnations become
// unknown to it, which is safe.
const maxRestarts = 64

// History is the line of timelines that led to a primary's current one. It is
// immutable and may be copied and shared. The zero History knows nothing and
// answers CoverageUnknown.
type History struct {
	// systemID is 0 in the zero History only.
	systemID uint64
	// past are the timelines before the current one, oldest first; the oldest
	// may be missing.
	past []Switch
	// timeline is the current one, and begin where it began, 0 if that is not
	// known (see Position.BeginKnown).
	timeline uint32
	begin    LSN
	// lives are the incarnations on the current timeline, in the order in
	// which they were recorded; the last is the current one. From of the first
	// is not known and is 0.
	lives []Restart
}

// NewHistory returns the history of a primary that is on timeline, which began
// at begin (0 for timeline 1, and for a later one when it is not known) after
// the timelines in past, oldest first. past may lack its oldest entries. The
// parts must agree with each other: they may come from different queries, and
// a history that contradicts itself must not be used to compare anything.
func NewHistory(systemID uint64, past []Switch, timeline uint32, begin LSN, incarnation int64) (History, error) {
	switch {
	case systemID == 0:
		return History{}, errors.New("history: system id is 0")
	case timeline == 0:
		return History{}, errors.New("history: timeline is 0")
	case incarnation <= 0:
		return History{}, fmt.Errorf("history: incarnation %d is not a time after 1970", incarnation)
	case timeline == 1 && begin != 0:
		return History{}, fmt.Errorf("history: timeline 1 begins at %s, not at 0/0", begin)
	}
	if err := checkSwitches(past); err != nil {
		return History{}, fmt.Errorf("history: %w", err)
	}
	if len(past) > 0 {
		first, last := past[0], past[len(past)-1]
		if first.Begin > first.End {
			return History{}, fmt.Errorf("history: timeline %d begins at %s and was left before, at %s, and nothing says what came before it",
				first.Timeline, first.Begin, first.End)
		}
		if last.Timeline >= timeline {
			return History{}, fmt.Errorf("history: timeline %d comes after %d", timeline, last.Timeline)
		}
		if last.End != begin {
			return History{}, fmt.Errorf("history: timeline %d begins at %s, but timeline %d was left at %s",
				timeline, begin, last.Timeline, last.End)
		}
	}
	return History{
		systemID: systemID,
		past:     slices.Clone(past),
		timeline: timeline,
		begin:    begin,
		lives:    []Restart{{Incarnation: incarnation}},
	}, nil
}

// checkSwitches holds what must be true of any line of past timelines: numbers
// ascend, the ends never go back, and each begins where the one before it was
// left. Only one of which nothing is left may have begun later: there, or at a
// still later one, the history went back, and both ends are where it went.
func checkSwitches(past []Switch) error {
	for i, s := range past {
		if i > 0 {
			before := past[i-1]
			if s.Timeline <= before.Timeline {
				return fmt.Errorf("timeline %d comes after %d", s.Timeline, before.Timeline)
			}
			if s.Begin != before.End && (s.Begin < before.End || s.End != before.End) {
				return fmt.Errorf("timeline %d begins at %s, but timeline %d was left at %s",
					s.Timeline, s.Begin, before.Timeline, before.End)
			}
			if s.End < before.End {
				return fmt.Errorf("timeline %d was left at %s, before timeline %d, at %s",
					s.Timeline, s.End, before.Timeline, before.End)
			}
		}
		switch {
		case s.Timeline == 0:
			return errors.New("timeline 0 does not exist")
		case s.Timeline == 1 && s.Begin != 0:
			return fmt.Errorf("timeline 1 begins at %s, not at 0/0", s.Begin)
		case s.End == 0:
			return fmt.Errorf("timeline %d was left at 0/0", s.Timeline)
		}
	}
	return nil
}

// WithRestart returns the history after a restart of the primary on the
// current timeline. The incarnation that was current until now becomes an
// earlier one. Restarts are recorded in the order in which they happened.
func (h History) WithRestart(r Restart) (History, error) {
	switch {
	case len(h.lives) == 0:
		return h, errors.New("record a restart: the history is empty")
	case r.Incarnation <= 0:
		return h, fmt.Errorf("record a restart: incarnation %d is not a time after 1970", r.Incarnation)
	case r.From == 0 || r.From < h.begin:
		return h, fmt.Errorf("record a restart: %s is not on timeline %d, which begins at %s", r.From, h.timeline, h.begin)
	case slices.ContainsFunc(h.lives, func(l Restart) bool { return l.Incarnation == r.Incarnation }):
		return h, fmt.Errorf("record a restart: incarnation %d is known already", r.Incarnation)
	}
	lives := h.lives
	if len(lives) > maxRestarts {
		lives = lives[len(lives)-maxRestarts:]
	}
	h.lives = append(slices.Clone(lives), r)
	return h, nil
}

// SystemID returns the cluster's system_identifier, 0 for the zero History.
func (h History) SystemID() uint64 { return h.systemID }

// Incarnation returns the current incarnation, 0 for the zero History.
func (h History) Incarnation() int64 {
	if len(h.lives) == 0 {
		return 0
	}
	return h.lives[len(h.lives)-1].Incarnation
}

// Past returns a copy of the timelines before the current one, oldest first.
func (h History) Past() []Switch { return slices.Clone(h.past) }

// At returns the position at l on the current timeline, in the current
// incarnation. l is a flush position or a normalised insert position.
func (h History) At(l LSN) Position {
	return Position{SystemID: h.systemID, Timeline: h.timeline, Begin: h.begin, LSN: l, Incarnation: h.Incarnation()}
}

// Kept returns how far this history kept the WAL that p is in: what was
// written there at or before end is part of the history, what was written
// beyond is lost. known is false when the history cannot tell. p.LSN plays no
// part. For the current incarnation nothing is lost and end is the largest
// LSN.
func (h History) Kept(p Position) (end LSN, known bool) {
	if h.systemID == 0 || p.SystemID != h.systemID {
		return 0, false
	}
	if p.Timeline == h.timeline {
		return h.keptOfCurrent(p)
	}
	for _, s := range h.past {
		if s.Timeline != p.Timeline {
			continue
		}
		// Two beginnings that are both unknown are not the same one, and the
		// lives of the primary on s are forgotten.
		if !p.BeginKnown() || s.Begin != p.Begin {
			return 0, false
		}
		return s.End, true
	}
	return 0, false
}

// keptOfCurrent is Kept on the current timeline. An incarnation that was never
// recorded is not judged by its number: a restart may have happened between it
// and those that are known. One that was recorded proves that p is on this
// timeline also where one of the beginnings is not known.
func (h History) keptOfCurrent(p Position) (LSN, bool) {
	if !p.sameTimeline(h.At(0)) {
		return 0, false
	}
	i := slices.IndexFunc(h.lives, func(l Restart) bool { return l.Incarnation == p.Incarnation })
	if i < 0 {
		return 0, false
	}
	end := LSN(math.MaxUint64)
	for _, later := range h.lives[i+1:] {
		end = min(end, later.From)
	}
	return end, true
}

// Covers reports whether a node that follows the current timeline of h and has
// replayed up to have holds everything up to floor.
//
//   - Another system id, a timeline that h does not know, or one of the same
//     number that began elsewhere: CoverageUnknown. Where one of the beginnings
//     is not known, only an incarnation that h knows, and so the current
//     timeline, proves that it is the same.
//   - The current timeline and incarnation: yes or no by number.
//   - The current timeline in an earlier incarnation: LSNs may have been used
//     again after a crash, so comparing them proves nothing unless the
//     restarts since then were recorded by WithRestart. Then the floor is lost
//     beyond the lowest Restart.From among them, else yes or no by number.
//     Without them CoverageUnknown, and for an incarnation after the current
//     one too.
//   - An earlier timeline of h: lost beyond the point where the next timeline
//     left it, else yes or no by number.
//
// On an earlier timeline the incarnation plays no part: its restarts are
// forgotten. Yes there says that the node has all that survived up to the
// floor; a loss in a crash that came before the switch goes unreported.
//
// have counts only for a node that follows h's current timeline: one that
// stayed behind on an old timeline holds WAL that is not part of h.
func (h History) Covers(have LSN, floor Position) Coverage {
	end, known := h.Kept(floor)
	switch {
	case !known:
		return CoverageUnknown
	case floor.LSN > end:
		return CoverageLost
	case floor.LSN <= have:
		return CoverageYes
	}
	return CoverageNo
}

// String describes the history for logs: each timeline with the place where it
// was left, then the current one.
func (h History) String() string {
	if h.systemID == 0 {
		return "no history"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "system %d:", h.systemID)
	for _, s := range h.past {
		fmt.Fprintf(&b, " %d until %s,", s.Timeline, s.End)
	}
	fmt.Fprintf(&b, " %d since %s", h.timeline, h.begin)
	for _, r := range h.lives[1:] {
		fmt.Fprintf(&b, ", restarted at %s", r.From)
	}
	return b.String()
}
