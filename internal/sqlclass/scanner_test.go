package sqlclass_test

import (
	"strings"
	"testing"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// call is what every text in TestScanner hides or shows: a call that must be seen
// if, and only if, it is outside literals and comments.
const call = "pg_advisory_xact_lock(1)"

func TestScanner(t *testing.T) {
	cat := load(t)
	for _, c := range []struct {
		why    string
		sql    string
		hidden bool // the call is inside a literal or a comment
		legacy bool // standard_conforming_strings is off
	}{
		{"a plain literal", "select 'CALL'", true, false},
		{"two quotes in a literal", "select 'it''s CALL'", true, false},
		{"a backslash does not escape", `select '\', CALL --'`, false, false},
		{"a backslash escapes in old literals", `select '\', CALL --'`, true, true},
		{"an old literal ends after two backslashes", `select '\\', CALL --'`, false, true},
		{"E escapes", `select E'\', CALL --'`, true, false},
		{"E ends after two backslashes", `select e'\\', CALL --'`, false, false},
		{"E goes on over a line break", "select E'a'\n'\\', CALL --'", true, false},
		{"E goes on over comments and line breaks", "select E'a' -- x\n -- y\n  '\\', CALL --'", true, false},
		{"E does not go on in the same line", "select E'a' '\\', CALL --'", false, false},
		{"E does not go on behind a block comment", "select E'a'/*\n*/'\\', CALL --'", false, false},
		{"bits do not escape in old literals", `select b'\', CALL --'`, false, true},
		{"bits go on without escapes", "select b'0'\n'\\', CALL --'", false, true},
		{"N escapes like a plain literal", `select n'\', CALL --'`, true, true},
		{"a word before a literal is not a prefix", `select abe'\', CALL --'`, false, false},
		{"U& is a literal", `select U&'\', CALL --'`, false, false},
		{"a dollar quote", "select $$ ' CALL $$", true, false},
		{"a tagged dollar quote", "select $a$ $b$ $$ CALL $a$", true, false},
		{"a tag begins inside", "select $a$ x$a$, CALL", false, false},
		{"a tag that overlaps", "select $a$ $b$a$, CALL", false, false},
		{"a dollar inside a word", "select a$b$, CALL, c$b$", false, false},
		{"a parameter is no tag", "select $1, CALL, $1", false, false},
		{"a parameter before a dollar quote", "select $1$$ CALL $$", true, false},
		{"a tag beyond ASCII", "select $ä$ CALL $ä$", true, false},
		{"a line comment", "select 1 -- CALL", true, false},
		{"a line comment ends", "select 1, -- x\n CALL", false, false},
		{"a line comment ends at a carriage return", "select 1, -- x\r CALL", false, false},
		{"a block comment", "select 1 /* CALL */", true, false},
		{"comments nest", "select 1 /* /* */ CALL */", true, false},
		{"a nested comment ends", "select 1 /* /* */ */ , CALL", false, false},
		{"a slash-star-slash is no comment", "select 1 /*/ CALL */", true, false},
		{"a quote in a comment", "select 1 /* ' */, CALL /* ' */", false, false},
		{"an operator stops at a comment", "select 1 +/* CALL */ 2", true, false},
		{"an operator stops at a line comment", "select 1 *-- CALL\n 2", true, false},
		{"minus minus is a comment", "select 1 --CALL", true, false},
		{"a comment in a quoted name", `select "/*", CALL, "*/" from t`, false, false},
		{"two quotes in a quoted name", `select "a"" CALL" from t`, true, false},
		{"a quoted name ends", `select "a""", CALL from t`, false, false},
		{"a literal in a quoted name", `select "'", CALL, "'" from t`, false, false},
		{"numbers", "select 1.5e+3, .5, 1., 1e, CALL", false, false},
		{"a number before a word", "select 1e5from_here, 0x1F, 1_000, CALL", false, false},
		{"a dot dot", "select 1..2, CALL", false, false},
		{"casts and slices", "select a[1:2]::int[], CALL", false, false},
		{"vertical tabs and form feeds", "select\v1,\fCALL", false, false},
		{"a long name is cut", "select " + strings.Repeat("x", 80) + ", CALL", false, false},
		{"a name cut to a known one", "select pg_advisory_xact_lock" + " (1)", false, false},
	} {
		opt := defaults
		opt.StandardConformingStrings = !c.legacy
		r := new(sqlclass.Result)
		sqlclass.Classify([]byte(strings.ReplaceAll(c.sql, "CALL", call)), cat, opt, r)
		if r.Reason == sqlclass.ReasonSyntax {
			t.Errorf("%s: %s: not understood", c.why, c.sql)
		} else if (r.Access == sqlclass.AccessRead) != c.hidden {
			t.Errorf("%s: %s: %v because of %q", c.why, c.sql, r.Access, r.Object)
		}
	}
}

func TestUnterminated(t *testing.T) {
	cat := load(t)
	for _, sql := range []string{
		"select '", "select 'a''", `select E'\'`, `select E'a\`, "select $$", "select $a$ $b$", "select $a$ $A$", "select \"a", "select \"\"",
		"select \"a\"\"", "select /*", "select /* /* */", "select /*/", "select b'1", "select U&'a", "select U&\"a\"", "u&\"a\"",
		"select \x00", "select {", "select \\d", "select $", "select $a", "select 'a'\n'", "select (", "select )", "select (()",
		"select 1; select '", "begin; '",
	} {
		r := classify(cat, sql)
		if r.Access != sqlclass.AccessWrite || r.Reason != sqlclass.ReasonSyntax || r.Binds&sqlclass.BindsTaint == 0 || r.Tx != sqlclass.TxNone {
			t.Errorf("%s: %v, %v, binds %x", sql, r.Access, r.Reason, r.Binds)
		}
	}
	opt := sqlclass.Options{SearchPathDefault: true}
	r := new(sqlclass.Result)
	sqlclass.Classify([]byte("select U&'a'"), cat, opt, r)
	if r.Reason != sqlclass.ReasonSyntax {
		t.Error("U& without standard_conforming_strings is understood")
	}
}

// TestUserOperators: an operator is looked up as the server cuts it.
func TestUserOperators(t *testing.T) {
	cat := load(t)
	for sql, unsafe := range map[string]bool{
		"select 1===2": true, "select 1 ===-2": true, "select 1 === -2": true, "select 1 ====2": false, "select 1 ==/*x*/= 2": false,
		"select 1 ===--x\n2": true, "select 1 == 2": false, "select '==='": false, "select 1 ~=~ 2": false, "select 1 ===@- 2": false,
	} {
		r := classify(cat, sql)
		if (r.Reason == sqlclass.ReasonUserOperator) != unsafe {
			t.Errorf("%s: %v (%q)", sql, r.Reason, r.Object)
		}
	}
}

func TestQuote(t *testing.T) {
	for written, want := range map[string]string{
		"Foo": "foo", `"Foo"`: "Foo", `"a""b"`: `a"b`, "ÄB": "Äb", strings.Repeat("A", 70): strings.Repeat("a", 63),
		strings.Repeat("a", 62) + "ä": strings.Repeat("a", 62),
	} {
		if got := sqlclass.FoldIdentifier(written); got != want {
			t.Errorf("FoldIdentifier(%s) = %s", written, got)
		}
	}
	if got := sqlclass.QuoteIdentifier(`a"b`); got != `"a""b"` {
		t.Error(got)
	}
	if got := sqlclass.QuoteLiteral(`it's`); got != `'it''s'` {
		t.Error(got)
	}
	if got := sqlclass.QuoteLiteral(`a\'b`); got != ` E'a\\''b'` {
		t.Error(got)
	}
}
