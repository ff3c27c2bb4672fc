package lsn

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ParseHistoryFile reads a timeline history file (NNNNNNNN.history, also the
// answer to TIMELINE_HISTORY) and returns the timelines before the one that
// the file is named after, oldest first, as NewHistory wants them. Each line
// is a timeline's number, the LSN where the next one left it, and a reason,
// separated by tabs; blank lines and lines that begin with # are skipped, as
// in readTimeLineHistory of timeline.c. Anything else is an error: PostgreSQL
// writes nothing else, and half a history is worse than none.
//
// A timeline may have been left before it began: a standby that was promoted when
// it had not replayed all that came before, although it had learned of the
// timeline already (PostgreSQL writes the recovery target into the file, not how
// far recovery got). Then nothing of that timeline is part of the history, nor of
// the ones before what lies beyond that point: their End is there, too.
//
// The first timeline begins at 0, which for a number above 1 means that it is
// not known. A file without entries gives nil; a server has no file for
// timeline 1.
func ParseHistoryFile(text string) ([]Switch, error) {
	var past []Switch
	var begin LSN
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		if trimmed := strings.TrimLeft(line, " \t\r"); trimmed == "" || trimmed[0] == '#' {
			continue
		}
		s, err := parseHistoryLine(line)
		if err != nil {
			return nil, fmt.Errorf("history file line %d: %w", number, err)
		}
		s.Begin = begin
		begin = s.End
		for i := len(past) - 1; i >= 0 && past[i].End > s.End && s.End != 0; i-- {
			past[i].End = s.End
		}
		past = append(past, s)
		// Checking the last two suffices: the others were checked before.
		if err := checkSwitches(past[max(0, len(past)-2):]); err != nil {
			return nil, fmt.Errorf("history file line %d: %w", number, err)
		}
	}
	return past, nil
}

func parseHistoryLine(line string) (Switch, error) {
	id, rest, found := strings.Cut(line, "\t")
	if !found {
		return Switch{}, errors.New("want a timeline, a tab and an LSN")
	}
	// ParseUint alone would take a leading zero, which PostgreSQL never writes.
	timeline, err := strconv.ParseUint(id, 10, 32)
	if err != nil || id[0] == '0' {
		return Switch{}, errors.New("its timeline is not a number from 1 to 4294967295")
	}
	at, _, _ := strings.Cut(rest, "\t")
	end, err := Parse(at)
	if err != nil {
		return Switch{}, err
	}
	return Switch{Timeline: uint32(timeline), End: end}, nil
}
