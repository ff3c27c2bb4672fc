package lsn_test

import (
	"encoding/base64"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/lsn"
)

var somewhere = lsn.Position{
	SystemID:    0x0102030405060708,
	Timeline:    0x0A0B0C0D,
	Begin:       0x1112131415161718,
	LSN:         0x2122232425262728,
	Incarnation: 0x3132333435363738,
}

// The layout is a contract with other programs, so it is written out here.
func TestTokenLayout(t *testing.T) {
	raw := "\x01\x02\x03\x04\x05\x06\x07\x08" + "\x0A\x0B\x0C\x0D" + "\x11\x12\x13\x14\x15\x16\x17\x18" +
		"\x21\x22\x23\x24\x25\x26\x27\x28" + "\x31\x32\x33\x34\x35\x36\x37\x38"
	want := "pgr1_" + base64.RawURLEncoding.EncodeToString([]byte(raw))
	if got := lsn.EncodeToken(somewhere); got != want {
		t.Errorf("EncodeToken = %s, want %s", got, want)
	}
	if len(want) != lsn.TokenLen {
		t.Errorf("TokenLen = %d, want %d", lsn.TokenLen, len(want))
	}
	if got := string(lsn.AppendToken([]byte("token="), somewhere)); got != "token="+want {
		t.Errorf("AppendToken = %s", got)
	}
}

func TestTokenRoundTrip(t *testing.T) {
	for _, p := range []lsn.Position{
		somewhere,
		{Timeline: 1},
		{SystemID: math.MaxUint64, Timeline: math.MaxUint32, Begin: math.MaxUint64, LSN: math.MaxUint64, Incarnation: math.MaxInt64},
		{SystemID: 7656871263498175281, Timeline: 2, Begin: 0x50008F0, LSN: 0x5030B70, Incarnation: 1763816400123456},
	} {
		if got, err := lsn.ParseToken(lsn.EncodeToken(p)); err != nil || got != p {
			t.Errorf("ParseToken(EncodeToken(%v)) = %v, %v", p, got, err)
		}
	}
}

func TestParseTokenRefuses(t *testing.T) {
	good := lsn.EncodeToken(somewhere)
	body := strings.TrimPrefix(good, "pgr1_")
	with := func(change func(*lsn.Position)) string {
		p := somewhere
		change(&p)
		return lsn.EncodeToken(p)
	}
	for why, text := range map[string]string{
		"nothing":                     "",
		"only the prefix":             "pgr1_",
		"half the prefix":             "pgr1",
		"no prefix":                   body,
		"another version":             "pgr2_" + body,
		"an upper-case prefix":        "PGR1_" + body,
		"a space before":              " " + good,
		"a space behind":              good + " ",
		"a line break behind":         good + "\n",
		"a line break inside":         "pgr1_" + body[:20] + "\n" + body[20:],
		"a line break for a digit":    "pgr1_" + body[:20] + "\n" + body[21:],
		"line breaks for four digits": "pgr1_" + body[:44] + "\r\n\r\n",
		"padding":                     good + "=",
		"padding for a digit":         good[:len(good)-1] + "=",
		"too short":                   good[:len(good)-1],
		"too short by a group":        good[:len(good)-4],
		"too long by a group":         good + "AAAA",
		"the other alphabet":          "pgr1_" + strings.Repeat("+", len(body)),
		"NUL":                         good[:len(good)-1] + "\x00",
		"not ASCII":                   good[:len(good)-2] + "é",
		"a bare LSN":                  "0/16B3748",
		"timeline 0":                  with(func(p *lsn.Position) { p.Timeline = 0 }),
		"a negative incarnation":      with(func(p *lsn.Position) { p.Incarnation = -1 }),
		"the most negative":           with(func(p *lsn.Position) { p.Incarnation = math.MinInt64 }),
	} {
		got, err := lsn.ParseToken(text)
		if err == nil || !errors.Is(err, lsn.ErrToken) || got != (lsn.Position{}) {
			t.Errorf("%s: ParseToken(%q) = %v, %v; want ErrToken", why, text, got, err)
		}
	}
}
