package sqlclass_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// What a text does to channels, as far as that is certain.
func TestListens(t *testing.T) {
	long := strings.Repeat("x", 63)
	for _, tt := range []struct {
		sql  string
		want string // +channel -channel; ? stands for something else
	}{
		{"listen a", "+a"},
		{" /* c */ LISTEN A ; -- c", "+a"},
		{`Listen "A b"`, "+A b"},
		{`listen "a""b"`, `+a"b`},
		{"listen a;;listen b; unlisten a", "+a +b -a"},
		{"unlisten *", "-"},
		{"listen name", "+name"},
		{"listen a$1", "+a$1"},
		{`listen "ä"`, "+ä"},
		{"listen " + long, "+" + long},
		{`listen "` + long + `"`, "+" + long},

		{"listen ä", "?"},
		{"listen \"\xff\"", "?"},
		{"listen " + long + "x", "?"},
		{`listen "` + long + `x"`, "?"},
		{"listen a.b", "?"},
		{"listen *", "?"},
		{"listen a b", "?"},
		{"listen", "?"},
		{"listen 'a'", "?"},
		{"listen select", "?"},
		{"listen left", "?"},
		{`listen "select"`, "+select"},
		{`listen U&"a"`, "?"},
		{"unlisten", "?"},
		{"select 1", "?"},
		{"select 1; listen a", "+a ?"},
		{"close all; unlisten *; reset all", "- ?"},
		{"", "?"},
		{"listen a; '", "+a ?"},
	} {
		ops, only := sqlclass.Listens([]byte(tt.sql), sqlclass.Options{StandardConformingStrings: true})
		var got []string
		for _, op := range ops {
			got = append(got, map[bool]string{true: "+", false: "-"}[op.On]+op.Channel)
		}
		if !only {
			got = append(got, "?")
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: %s, want %s", tt.sql, s, tt.want)
		}
	}
}

func TestAsksChannels(t *testing.T) {
	for sql, want := range map[string]bool{
		"select pg_listening_channels()":                           true,
		"SELECT * FROM pg_catalog.PG_Listening_Channels() ;":       true,
		"select pg_listening_channels() limit 1":                   false,
		"select * from pg_listening_channels() c":                  false,
		"select pg_listening_channels(), 1":                        false,
		"select pg_listening_channels() union select 'a'":          false,
		`select "PG_listening_channels"()`:                         false,
		"select count(*) from pg_listening_channels()":             false,
		"select pg_listening_channels(); select 1":                 false,
		"select other.pg_listening_channels()":                     false,
		"select pg_catalog.pg_listening_channels() /* comment */;": true,
	} {
		if got := sqlclass.AsksChannels([]byte(sql), sqlclass.Options{}); got != want {
			t.Errorf("%s: %v", sql, got)
		}
	}
}

// Nothing that Listens understands has more in it than what it says.
func FuzzListens(f *testing.F) {
	for _, s := range []string{"listen a", `listen "a""b"; unlisten *`, "unlisten a;", "select 1; listen a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		opt := sqlclass.Options{StandardConformingStrings: true}
		ops, only := sqlclass.Listens([]byte(sql), opt)
		if !only {
			return
		}
		var again strings.Builder
		for _, op := range ops {
			name := "*"
			if op.Channel != "" {
				name = `"` + strings.ReplaceAll(op.Channel, `"`, `""`) + `"`
			}
			fmt.Fprintf(&again, "%s %s;", map[bool]string{true: "LISTEN", false: "UNLISTEN"}[op.On], name)
		}
		same, ok := sqlclass.Listens([]byte(again.String()), opt)
		if !ok || !slices.Equal(ops, same) {
			t.Errorf("%q says %v, but %q says %v", sql, ops, again.String(), same)
		}
	})
}
