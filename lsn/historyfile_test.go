package lsn_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/lsn"
)

func TestParseHistoryFile(t *testing.T) {
	for _, tc := range []struct {
		why, text string
		want      []lsn.Switch
	}{
		{"as read from a server after one promotion", "1\t0/50008F0\tno recovery target specified\n", []lsn.Switch{{1, 0, 0x50008F0}}},
		{"two promotions: a blank line between, as PostgreSQL writes it",
			"1\t0/50008F0\tno recovery target specified\n\n2\t0/5044FC8\tno recovery target specified\n",
			[]lsn.Switch{{1, 0, 0x50008F0}, {2, 0x50008F0, 0x5044FC8}}},
		{"a timeline that was left out", "1\t0/100\tr\n5\t1/0\tr\n", []lsn.Switch{{1, 0, 0x100}, {5, 0x100, 0x100000000}}},
		{"the oldest timelines are not there", "7\t0/100\tr\n", []lsn.Switch{{7, 0, 0x100}}},
		{"as PostgreSQL 19 pads it", "1\t0/050008F0\tr", []lsn.Switch{{1, 0, 0x50008F0}}},
		{"no line break at the end, no reason", "1\t0/100", []lsn.Switch{{1, 0, 0x100}}},
		{"a reason with tabs", "1\t0/100\tat restore point \"a\tb\"\n", []lsn.Switch{{1, 0, 0x100}}},
		{"comments and blank lines", "# a comment\n\n \t\r\n\t# another\n1\t0/100\tr\n", []lsn.Switch{{1, 0, 0x100}}},
		{"nothing written on a timeline", "1\t0/100\tr\n2\t0/100\tr\n", []lsn.Switch{{1, 0, 0x100}, {2, 0x100, 0x100}}},
		// As PostgreSQL 15 wrote it: promoted at 5A85CE0, it knew of 78, which began at 5ABFE58.
		{"a timeline that was left before it began", "77\t0/5ABFE58\tr\n78\t0/5A85CE0\tr\n79\t0/5B00000\tr\n",
			[]lsn.Switch{{77, 0, 0x5A85CE0}, {78, 0x5ABFE58, 0x5A85CE0}, {79, 0x5A85CE0, 0x5B00000}}},
		{"three that were left before one of them began", "1\t0/100\tr\n2\t0/200\tr\n3\t0/80\tr\n",
			[]lsn.Switch{{1, 0, 0x80}, {2, 0x100, 0x80}, {3, 0x200, 0x80}}},
		{"empty", "", nil},
		{"only comments", "#\n#", nil},
		{"the largest", "4294967295\tFFFFFFFF/FFFFFFFF\t", []lsn.Switch{{4294967295, 0, 0xFFFFFFFFFFFFFFFF}}},
	} {
		t.Run(tc.why, func(t *testing.T) {
			got, err := lsn.ParseHistoryFile(tc.text)
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("ParseHistoryFile = %v, %v; want %v", got, err, tc.want)
			}
		})
	}
}

func TestParseHistoryFileRefuses(t *testing.T) {
	for _, tc := range []struct{ why, text, want string }{
		{"no LSN", "1\n", "line 1"},
		{"spaces for tabs", "1 0/100 r\n", "line 1"},
		{"a space before", " 1\t0/100\tr\n", "timeline is not a number"},
		{"a sign", "+1\t0/100\tr\n", "timeline is not a number"},
		{"hexadecimal", "A\t0/100\tr\n", "timeline is not a number"},
		{"zero", "0\t0/100\tr\n", "timeline is not a number"},
		{"a leading zero", "01\t0/100\tr\n", "timeline is not a number"},
		{"no timeline", "\t0/100\tr\n", "timeline is not a number"},
		{"more than 32 bits", "4294967296\t0/100\tr\n", "timeline is not a number"},
		{"an LSN of zero", "1\t0/0\tr\n", "left at 0/0"},
		{"a broken LSN", "1\t0/100x\tr\n", "malformed LSN"},
		{"a carriage return in the LSN", "1\t0/100\r\n", "malformed LSN"},
		{"two tabs", "1\t\t0/100\tr\n", "malformed LSN"},
		{"timelines out of order", "2\t0/100\tr\n1\t0/200\tr\n", "line 2: timeline 1 comes after 2"},
		{"a timeline twice", "1\t0/100\tr\n\n1\t0/200\tr\n", "line 3: timeline 1 comes after 1"},
		{"a switch that goes back to nothing", "1\t0/100\tr\n2\t0/0\tr\n", "left at 0/0"},
		{"Patroni's JSON", `[[1,11639384,"no recovery target specified"]]`, "line 1"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			got, err := lsn.ParseHistoryFile(tc.text)
			if err == nil || got != nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("ParseHistoryFile = %v, %v; want an error with %q", got, err, tc.want)
			}
		})
	}
}
