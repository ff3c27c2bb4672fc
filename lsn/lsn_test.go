package lsn_test

import (
	"database/sql"
	"database/sql/driver"
	"encoding"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/lsn"
)

var (
	_ encoding.TextMarshaler   = lsn.LSN(0)
	_ encoding.TextAppender    = lsn.LSN(0)
	_ encoding.TextUnmarshaler = (*lsn.LSN)(nil)
	_ sql.Scanner              = (*lsn.LSN)(nil)
	_ driver.Valuer            = lsn.LSN(0)
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		why, text string
		want      lsn.LSN
		print     string
	}{
		{"the invalid LSN", "0/0", 0, "0/0"},
		{"a first segment", "0/1000000", 0x1000000, "0/1000000"},
		{"as PostgreSQL 19 pads it", "0/01000000", 0x1000000, "0/1000000"},
		{"both halves padded", "00000001/00000002", 0x100000002, "1/2"},
		{"lower case", "ab/cdef", 0xAB0000CDEF, "AB/CDEF"},
		{"mixed case", "aB/Cd", 0xAB000000CD, "AB/CD"},
		{"a low half of zero", "16/0", 0x1600000000, "16/0"},
		{"the largest", "FFFFFFFF/FFFFFFFF", math.MaxUint64, "FFFFFFFF/FFFFFFFF"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			got, err := lsn.Parse(tc.text)
			if err != nil || got != tc.want {
				t.Fatalf("Parse(%q) = %d, %v; want %d", tc.text, got, err, tc.want)
			}
			if got.String() != tc.print {
				t.Errorf("String() = %q, want %q", got.String(), tc.print)
			}
		})
	}
}

// notLSNs are texts that a laxer parser would take.
var notLSNs = []string{
	"", "/", "0", "0/", "/0", "0//0", "0/0/0", "/0/0", "0/0/", "00/0x1", "0x0/0", "+0/0", "-0/1", "0/-1", "0/+1", " 0/0", "0/0 ",
	"0 /0", "0/ 0", "0/0\n", "0/0\x00", "0/G", "g/0", "000000000/0", "0/000000000", "123456789/0", "0/123456789", "0_0/0", "0\\0", "०/0", "0/0'",
	"1234567812345678", "16777216", "0-0",
}

func TestParseRefusesWhatPostgreSQLDoesNotWrite(t *testing.T) {
	for _, text := range notLSNs {
		if got, err := lsn.Parse(text); err == nil || got != 0 {
			t.Errorf("Parse(%q) = %s, %v; want an error", text, got, err)
		} else if !errors.Is(err, lsn.ErrSyntax) {
			t.Errorf("Parse(%q): %v does not wrap ErrSyntax", text, err)
		}
	}
}

func TestParseErrorDoesNotRepeatLongText(t *testing.T) {
	_, err := lsn.Parse(strings.Repeat("7", 1<<20))
	if err == nil || len(err.Error()) > 120 {
		t.Errorf("the error has %d bytes", len(err.Error()))
	}
}

func TestJSON(t *testing.T) {
	type record struct{ At lsn.LSN }
	text, err := json.Marshal(record{0x16B3748})
	if err != nil || string(text) != `{"At":"0/16B3748"}` {
		t.Fatalf("Marshal = %s, %v", text, err)
	}
	var back record
	if err := json.Unmarshal(text, &back); err != nil || back.At != 0x16B3748 {
		t.Errorf("Unmarshal = %s, %v", back.At, err)
	}
	for _, bad := range []string{`{"At":""}`, `{"At":"1"}`, `{"At":16}`, `{"At":"0/0 "}`} {
		back.At = 7
		if err := json.Unmarshal([]byte(bad), &back); err == nil || back.At != 7 {
			t.Errorf("Unmarshal(%s) = %s, %v; want an error and the old value", bad, back.At, err)
		}
	}
}

func TestScan(t *testing.T) {
	for _, src := range []any{"0/16B3748", []byte("0/016B3748")} {
		var l lsn.LSN
		if err := l.Scan(src); err != nil || l != 0x16B3748 {
			t.Errorf("Scan(%q) = %s, %v", src, l, err)
		}
	}
	// A number could be bytes, blocks or segments: it is refused.
	for _, src := range []any{"", []byte("x"), []byte(nil), int64(7), uint64(7), 1.5, true} {
		l := lsn.LSN(7)
		if err := l.Scan(src); err == nil || l != 7 {
			t.Errorf("Scan(%#v) = %s, %v; want an error and the old value", src, l, err)
		}
	}
}

func TestScanOfNullSaysWhatToUse(t *testing.T) {
	var l lsn.LSN
	err := l.Scan(nil)
	if err == nil || !strings.Contains(err.Error(), "sql.Null[lsn.LSN]") {
		t.Errorf("Scan(nil) = %v", err)
	}
	var null sql.Null[lsn.LSN]
	if err := null.Scan(nil); err != nil || null.Valid {
		t.Errorf("sql.Null: %v, %v", null, err)
	}
	if err := null.Scan("1/2"); err != nil || !null.Valid || null.V != 0x100000002 {
		t.Errorf("sql.Null: %v, %v", null, err)
	}
}

func TestValue(t *testing.T) {
	v, err := lsn.LSN(0x16B3748).Value()
	if err != nil || v != "0/16B3748" || !driver.IsValue(v) {
		t.Errorf("Value() = %#v, %v", v, err)
	}
}

// The cases are the measured ones, and their neighbours.
func TestNormalizeInsert(t *testing.T) {
	for _, tc := range []struct {
		why   string
		l     lsn.LSN
		block int
		want  lsn.LSN
	}{
		{"record ends at page end", 0x702C018, 0, 0x702C000},
		{"record ends at segment end", 0x8000028, 0, 0x8000000},
		{"after pg_switch_wal", 0x9000028, 8192, 0x9000000},
		{"a record spilled 16 bytes over: rounding down is safe", 0x702C028, 8192, 0x702C000},
		{"offset 32 is a genuine end", 0x702C020, 8192, 0x702C020},
		{"page start", 0x702C000, 8192, 0x702C000},
		{"one byte before the header's end", 0x702C017, 8192, 0x702C017},
		{"one byte behind it", 0x702C019, 8192, 0x702C019},
		{"an ordinary position", 0x50008F0, 8192, 0x50008F0},
		{"in the middle of a default block, at the start of a small one", 0x702D018, 4096, 0x702D000},
		{"the same with default blocks", 0x702D018, 8192, 0x702D018},
		{"64 KiB blocks", 0x7010028, 65536, 0x7010000},
		{"nothing known", 0, 0, 0},
		{"a senseless block size", 0x702C018, -1, 0x702C000},
		{"the largest", math.MaxUint64, 0, math.MaxUint64},
	} {
		t.Run(tc.why, func(t *testing.T) {
			if got := lsn.NormalizeInsert(tc.l, tc.block); got != tc.want {
				t.Errorf("NormalizeInsert(%s, %d) = %s, want %s", tc.l, tc.block, got, tc.want)
			}
		})
	}
}
