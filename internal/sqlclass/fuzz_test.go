package sqlclass_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// verdict is what must not depend on white space and comments.
type verdict struct {
	statements                                         int
	access                                             sqlclass.Access
	tx                                                 sqlclass.Tx
	isolation                                          sqlclass.Isolation
	reason                                             sqlclass.Reason
	binds                                              sqlclass.Binds
	kind                                               sqlclass.SettingKind
	mixed, harmless, copyIn, proc, readOnly, readWrite bool
	pin, object, name, setting                         string
	cursor                                             bool
}

func judge(sql []byte, cat *sqlclass.Catalogue, opt sqlclass.Options) verdict {
	r := new(sqlclass.Result)
	sqlclass.Classify(sql, cat, opt, r)
	return verdict{
		r.Statements, r.Access, r.Tx, r.Isolation, r.Reason, r.Binds, r.Setting.Kind,
		r.Mixed, r.Harmless, r.CopyIn, r.CallsProc, r.ReadOnly, r.ReadWrite,
		r.PinReason, string(r.Object), string(r.Name), string(r.Setting.Name), r.Cursor,
	}
}

// checkInvariants holds for any bytes.
func checkInvariants(t *testing.T, sql []byte, cat *sqlclass.Catalogue, opt sqlclass.Options) {
	t.Helper()
	v := judge(sql, cat, opt)
	if (v.access == sqlclass.AccessRead) != (v.reason == sqlclass.ReasonRead) {
		t.Errorf("%q: %v because of %v", sql, v.access, v.reason)
	}
	if v.access == sqlclass.AccessRead && v.binds != 0 {
		t.Errorf("%q: a read that binds %x", sql, v.binds)
	}
	if v.binds&sqlclass.BindsTaint != 0 && v.binds&sqlclass.BindsPin == 0 || (v.binds&sqlclass.BindsPin != 0) != (v.pin != "") {
		t.Errorf("%q: binds %x, pin %q", sql, v.binds, v.pin)
	}
	if v.statements > 1 && v.tx != sqlclass.TxNone {
		t.Errorf("%q: %d statements, %v", sql, v.statements, v.tx)
	}
	tokens := sqlclass.Tokens(sql, opt.StandardConformingStrings)
	if tokens == nil {
		if v.access == sqlclass.AccessRead || v.binds&sqlclass.BindsTaint == 0 {
			t.Errorf("%q: cannot be scanned, but is %v", sql, v.access)
		}
		return
	}
	for _, glue := range []string{" ", "/**/", " /* ' \" $$ ; /* x */ */ "} {
		spaced := bytes.Join(tokens, []byte(glue))
		if again := judge(spaced, cat, opt); again != v {
			t.Errorf("%q:\n%+v, but with %q between the tokens\n%+v", sql, v, glue, again)
		}
	}
}

func seeds(t testing.TB) []string {
	text, err := os.ReadFile("testdata/standby15.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := []string{
		`SELECT E'\'' "a""b", $a$ $b$ $a$, U&'x', b'01' /* /* */ */ -- x`,
		"create function f() returns int begin atomic select 1; end; select 1",
		"copy (with a(x) as (select 1) select * from a) to stdout with (format csv)",
		"set session characteristics as transaction read only; set time zone local",
		"select 1.5e-3, 0x1f, a[1:2]::int[], .5, 1..2, a.b.c(1) === @-@ 3",
		"explain (analyze, verbose off) insert into t (a) values (default) returning *",
		"/* pgroute: strong wait=1ms */ select distinct on (a) f(b) over (w) from t x(a, b)",
	}
	for line := range strings.Lines(string(text)) {
		_, sql, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		all = append(all, sql)
	}
	return all
}

func TestSpacesDoNotMatter(t *testing.T) {
	cat := load(t)
	for _, sql := range seeds(t) {
		checkInvariants(t, []byte(sql), cat, defaults)
	}
}

func FuzzClassify(f *testing.F) {
	for _, sql := range seeds(f) {
		f.Add([]byte(sql), uint8(0))
		f.Add([]byte(sql), uint8(7))
	}
	cat := load(f)
	f.Fuzz(func(t *testing.T, sql []byte, mode uint8) {
		opt := sqlclass.Options{StandardConformingStrings: mode&1 == 0, SearchPathDefault: mode&2 == 0, UnsafeEncoding: mode&8 != 0}
		if opt.UnsafeEncoding {
			judge(sql, cat, opt)
			return
		}
		if mode&4 != 0 {
			checkInvariants(t, sql, nil, opt)
			return
		}
		checkInvariants(t, sql, cat, opt)
	})
}
