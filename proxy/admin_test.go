package proxy

import "testing"

func TestTrimSQL(t *testing.T) {
	for sql, want := range map[string]string{
		"":                            "",
		" ;; ":                        "",
		"SHOW POOLS;":                 "SHOW POOLS",
		"-- a\nSHOW POOLS -- b\n;":    "SHOW POOLS",
		"/* a */ SHOW /* b */POOLS/*": "SHOW  POOLS/*",
		"-- only":                     "",
		"SHOW -":                      "SHOW -",
		"a/b-c":                       "a/b-c",
		"/*/ SHOW":                    "/*/ SHOW",
		"SHOW\tPOOLS ; -- \n":         "SHOW\tPOOLS",
	} {
		if got := trimSQL(sql); got != want {
			t.Errorf("trimSQL(%q) = %q, want %q", sql, got, want)
		}
	}
}

func FuzzTrimSQL(f *testing.F) {
	f.Add("/* a */ SHOW -- b\n POOLS;")
	f.Fuzz(func(t *testing.T, sql string) {
		if got := trimSQL(sql); len(got) > len(sql) {
			t.Errorf("trimSQL(%q) = %q", sql, got)
		}
	})
}
