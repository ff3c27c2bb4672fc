package main

import (
	"errors"
	"strings"
	"testing"
)

// An error in the file names the file, the line, the column and the key.
func TestFileErrors(t *testing.T) {
	tests := []struct{ why, text, want string }{
		{"unknown key", "wait: 5ms\nwiat: 5ms\n", `2:1: unknown key "wiat"`},
		{"a flag's spelling", "pool-size: 5\n", `1:1: unknown key "pool-size"; did you mean pool_size?`},
		{"wrong type", "wait: [1, 2]\n", `1:7: wait: want one value, not a list`},
		{"wrong type in a list", "listen:\n  - 127.0.0.1:1\n  - {a: b}\n", `3:5: listen: want a value or a list of values, not a mapping`},
		{"not a number", "loops: 2\npool_size: many\n", `2:12: pool_size: "many" is not a number`},
		{"not a whole number", "pool_size: 1.5\n", `1:12: pool_size: "1.5" is not a number`},
		{"a boolean", "consistency: true\n", `1:14: consistency: "true" is none of eventual, bounded, session, strong, primary`},
		{"a duration", "  wait: soon\n", `1:9: wait: "soon" is not a duration such as 100ms or 2s`},
		{"nothing", "monitor:\n", `1:10: monitor: want one value, not nothing`},
		{"an empty list", "node: []\n", `1:7: node: the list is empty`},
		{"a bad node", "node: [a:1, b]\n", `1:13: node: server "b": want HOST:PORT`},
		{"twice", "wait: 5ms\nwait: 6ms\n", `2:1: mapping key "wait" already defined at [1:1]`},
		{"broken list", "wait: 5ms\nnode: [a:1\n", `2:7: sequence end token ']' not found`},
		{"broken quote", "monitor: \"x\n", `1:10: could not find end character of double-quoted text`},
		{"broken nesting", "wait: 5ms\n  loops: 2\n", `1:7: mapping value is not allowed in this context`},
		{"a tab", "\twait: 5ms\n", `1:5: tab character cannot use as a map key directly`},
		{"no mapping", "- wait\n", `1:1: want lines of KEY: VALUE, not a list`},
		{"a word", "wait\n", `1:1: want lines of KEY: VALUE, not "wait"`},
		{"a number as key", "5: x\n", `1:1: the key "5" is not a word`},
		{"documents", "wait: 5ms\n---\nloops: 2\n", `3:6: the file has several documents`},
		{"an alias", "wait: &w 5ms\nmax_staleness: *w\n", `1:7: wait: want one value, not an anchor, alias or tag`},
		{"Patroni", "patroni: ''\n", `1:10: patroni: it is empty`},
		{"rules", "rules: strong\n", `1:8: rules: want a list, not "strong"`},
		{"a rule", "rules:\n  - strong\n", `2:5: rules: want entries such as {user: reports, consistency: eventual}, not "strong"`},
		{"a rule's key", "rules:\n  - user: a\n    consistancy: strong\n", `3:5: rules: unknown key "consistancy"`},
		{"a rule's value", "rules:\n  - user: a\n    consistency: full\n", `3:18: consistency: "full" is none of eventual, bounded, session, strong, primary`},
		{"not for rules", "rules:\n  - user: a\n    max_lag: 5\n", `3:5: rules: max_lag is the same for all clients and cannot be in a rule`},
		{"a limit of all", "rules:\n  - user: a\n    max_db_connections: 5\n", `3:5: rules: max_db_connections is the same for all clients and cannot be in a rule`},
		{"a rule's pool", "rules:\n  - user: a\n    query_timeout: soon\n", `3:20: query_timeout: "soon" is not a duration such as 100ms or 2s`},
		{"a rule's user", "rules:\n  - user: [a]\n", `2:11: rules: user: want a name, not a list`},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			_, err := parseFile("pgroute.yaml", []byte(tt.text))
			if err == nil || err.Error() != "pgroute.yaml:"+tt.want {
				t.Fatalf("%q:\ngot  %v\nwant pgroute.yaml:%s", tt.text, err, tt.want)
			}
			var u *usageError
			if !errors.As(err, &u) {
				t.Error("it is not a usage error")
			}
		})
	}
}

func TestBadFileIsOneLine(t *testing.T) {
	t.Parallel()
	name := writeFile(t, "node: [a:1]\nconsistensy: strong\n")
	r := invoke(t, "proxy", "--config", name)
	if want := "pgroute: " + name + ":2:1: unknown key \"consistensy\"\n"; r.code != 2 || r.err != want || r.out != "" {
		t.Errorf("code %d, stdout %q, stderr %q, want %q", r.code, r.out, r.err, want)
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add("wait: 5ms\nnode: [a:1]\nrules:\n  - user: a\n    consistency: strong\n")
	f.Add("a: &x 1\nb: *x\n? y\n: z\n--- \n!!int q\n")
	f.Add("\"\\x\": |\n  %\n\t- {[}]")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := parseFile("f", []byte(text))
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %q", err)
			}
			return
		}
		if _, err := new(arguments).merge(file, nil); err != nil {
			t.Errorf("parsed, but cannot be applied: %v", err)
		}
	})
}
