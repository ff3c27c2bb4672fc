package lsn_test

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/lsn"
)

var lsnText = regexp.MustCompile(`^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$`)

func FuzzParse(f *testing.F) {
	for _, text := range append(notLSNs, "0/0", "0/01000000", "16/B374D848", "ffffffff/FFFFFFFF") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := lsn.Parse(text)
		if (err == nil) != lsnText.MatchString(text) {
			t.Fatalf("Parse(%q) = %s, %v", text, l, err)
		}
		var l2 lsn.LSN
		if err2 := l2.UnmarshalText([]byte(text)); (err2 == nil) != (err == nil) || l2 != l {
			t.Fatalf("UnmarshalText(%q) = %s, %v, but Parse %s, %v", text, l2, err2, l, err)
		}
		if err != nil {
			if !errors.Is(err, lsn.ErrSyntax) || l != 0 {
				t.Fatalf("Parse(%q) = %s, %v", text, l, err)
			}
			return
		}
		printed := l.String()
		if again, err := lsn.Parse(printed); err != nil || again != l {
			t.Fatalf("Parse(%q) = %s, %v; it was printed from %d", printed, again, err, uint64(l))
		}
		if got := string(l.Append([]byte("x"))); got != "x"+printed {
			t.Fatalf("Append = %q, String = %q", got, printed)
		}
		// The text differs at most in padding and case.
		canonical := func(s string) string {
			high, low, _ := strings.Cut(strings.ToUpper(s), "/")
			return strings.TrimLeft(high, "0") + "/" + strings.TrimLeft(low, "0")
		}
		if canonical(printed) != canonical(text) {
			t.Fatalf("%q was read as %s", text, printed)
		}
	})
}

func FuzzNormalizeInsert(f *testing.F) {
	f.Add(uint64(0x702C018), 8192)
	f.Add(uint64(0x8000028), 0)
	f.Add(uint64(math.MaxUint64), math.MinInt)
	f.Fuzz(func(t *testing.T, n uint64, block int) {
		l := lsn.LSN(n)
		got := lsn.NormalizeInsert(l, block)
		if got > l || l-got > 40 {
			t.Fatalf("NormalizeInsert(%s, %d) = %s", l, block, got)
		}
		if block >= 1024 && lsn.NormalizeInsert(got, block) != got {
			t.Fatalf("NormalizeInsert(%s, %d) = %s is not normal", l, block, got)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	good := lsn.EncodeToken(somewhere)
	f.Add(good)
	f.Add("")
	f.Add("pgr1_")
	f.Add(good + "=")
	f.Add(good[:len(good)-4] + "\r\n\r\n")
	f.Add(lsn.EncodeToken(lsn.Position{}))
	f.Fuzz(func(t *testing.T, text string) {
		p, err := lsn.ParseToken(text)
		if err != nil {
			if !errors.Is(err, lsn.ErrToken) || p != (lsn.Position{}) {
				t.Fatalf("ParseToken(%q) = %v, %v", text, p, err)
			}
			return
		}
		if p.Timeline == 0 || p.Incarnation < 0 {
			t.Fatalf("ParseToken(%q) = %v", text, p)
		}
		if again := lsn.EncodeToken(p); again != text {
			t.Fatalf("two tokens for %v: %q and %q", p, text, again)
		}
	})
}

func FuzzParseHistoryFile(f *testing.F) {
	f.Add("1\t0/50008F0\tno recovery target specified\n\n2\t0/5044FC8\tbefore transaction 7\n")
	f.Add("# comment\n7\t0/1\t\n9\t1/0")
	f.Add("2\t0/2\n1\t0/3")
	f.Add("01\t0/0\r\n\x00")
	f.Fuzz(func(t *testing.T, text string) {
		past, err := lsn.ParseHistoryFile(text)
		if err != nil {
			if past != nil {
				t.Fatalf("ParseHistoryFile(%q) = %v, %v", text, past, err)
			}
			return
		}
		if len(past) == 0 {
			return
		}
		// What was accepted is a history, and survives being written again.
		last := past[len(past)-1]
		if last.Timeline != math.MaxUint32 {
			if _, err := lsn.NewHistory(1, past, last.Timeline+1, last.End, 1); err != nil {
				t.Fatalf("ParseHistoryFile(%q) = %v: %v", text, past, err)
			}
		}
		again, err := lsn.ParseHistoryFile(writeHistoryFile(past))
		if err != nil || !slices.Equal(again, past) {
			t.Fatalf("ParseHistoryFile(%q) = %v, and again %v, %v", text, past, again, err)
		}
	})
}

// FuzzCovers holds what must be true of every history and floor.
func FuzzCovers(f *testing.F) {
	f.Add("1\t0/50008F0\tr\n", uint32(2), uint64(0x50008F0), uint64(0x5030B70), uint32(1), uint64(0), uint64(0x5000A80), int64(1))
	f.Add("", uint32(1), uint64(0), uint64(9), uint32(1), uint64(0), uint64(9), int64(2))
	f.Fuzz(func(t *testing.T, file string, timeline uint32, begin, have uint64, floorTimeline uint32, floorBegin, floorLSN uint64, incarnation int64) {
		past, err := lsn.ParseHistoryFile(file)
		if err != nil {
			return
		}
		h, err := lsn.NewHistory(1, past, timeline, lsn.LSN(begin), 1)
		if err != nil {
			return
		}
		floor := lsn.Position{SystemID: 1, Timeline: floorTimeline, Begin: lsn.LSN(floorBegin), LSN: lsn.LSN(floorLSN), Incarnation: incarnation}
		got := h.Covers(lsn.LSN(have), floor)
		if got == lsn.CoverageYes && have < floorLSN || got == lsn.CoverageNo && have >= floorLSN {
			t.Fatalf("%v: Covers(%s, %v) = %v", h, lsn.LSN(have), floor, got)
		}
		if more := h.Covers(math.MaxUint64, floor); more == lsn.CoverageNo || more != got && got != lsn.CoverageNo {
			t.Fatalf("%v: %v turned from %v to %v when the node got further", h, floor, got, more)
		}
		if floorTimeline > timeline && got != lsn.CoverageUnknown {
			t.Fatalf("%v knows a later timeline: %v is %v", h, floor, got)
		}
		foreign := floor
		foreign.SystemID = 2
		if got := h.Covers(lsn.LSN(have), foreign); got != lsn.CoverageUnknown {
			t.Fatalf("%v: a foreign floor is %v", h, got)
		}
	})
}

// writeHistoryFile writes as PostgreSQL does.
func writeHistoryFile(past []lsn.Switch) string {
	var b strings.Builder
	for _, s := range past {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%d\t%s\tno recovery target specified\n", s.Timeline, s.End)
	}
	return b.String()
}
