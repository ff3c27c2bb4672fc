package sqlstate_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/internal/sqlstate"
)

// declared reads the constants from the source, so that the tests cannot miss
// one that is added later.
func declared(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "sqlstate.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := make(map[string]string)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if len(spec.Names) != 1 || len(spec.Values) != 1 {
			t.Fatalf("%v: want one name and one value", spec.Names)
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			t.Fatalf("%s: want a string literal", spec.Names[0].Name)
		}
		code, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		codes[spec.Names[0].Name] = code
		return true
	})
	if len(codes) == 0 {
		t.Fatal("no constants found")
	}
	return codes
}

func TestEveryCodeHasOneName(t *testing.T) {
	names := make(map[string]string)
	for name, code := range declared(t) {
		if other, taken := names[code]; taken {
			t.Errorf("%s and %s are both %s", other, name, code)
		}
		names[code] = name
	}
}

func TestEveryCodeIsWellFormed(t *testing.T) {
	wellFormed := regexp.MustCompile(`^[0-9A-Z]{5}$`)
	for name, code := range declared(t) {
		if !wellFormed.MatchString(code) {
			t.Errorf("%s = %q: want five digits or upper-case letters", name, code)
		}
	}
}

// Class PR is promised to programs outside this repository, with these codes.
func TestOurOwnClass(t *testing.T) {
	want := map[string]string{
		"FloorNotReached": sqlstate.FloorNotReached,
		"WriteLost":       sqlstate.WriteLost,
		"WriteMayBeLost":  sqlstate.WriteMayBeLost,
	}
	for name, code := range declared(t) {
		if _, ours := want[name]; strings.HasPrefix(code, "PR") != ours {
			t.Errorf("%s = %s: only FloorNotReached, WriteLost and WriteMayBeLost are of class PR", name, code)
		}
	}
	if got := want["FloorNotReached"] + want["WriteLost"] + want["WriteMayBeLost"]; got != "PR001PR002PR003" {
		t.Errorf("the codes of class PR are %s", got)
	}
}
