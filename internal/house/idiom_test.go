package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A pointer to an error's type that is nil becomes an error that is not nil.
// What may be nil, a result or a field, is therefore of the type error.
func TestPublicErrorsAreOfTypeError(t *testing.T) {
	all := publicPackages(t)
	types := map[string]bool{}
	for _, p := range all {
		for _, f := range p.files {
			for _, d := range f.Decls {
				if m, ok := d.(*ast.FuncDecl); ok && m.Name.Name == "Error" && receiverOf(m) != "" {
					types[p.doc.Name+"."+receiverOf(m)] = true
				}
			}
		}
	}
	if !types["router.RouteError"] {
		t.Fatalf("the errors' types are %v", types)
	}
	for _, p := range all {
		for _, f := range p.files {
			eachMaybeNil(f, func(name string, typ ast.Expr) {
				if types[qualified(p.doc.Name, typ)] {
					t.Errorf("%s: %s.%s is a %s and should be an error", p.position(typ), p.doc.Name, name, qualified(p.doc.Name, typ))
				}
			})
		}
	}
}

// Whoever imports a package may set its variables. Those that are errors nobody
// sets; anything else is a constant or what a function returns.
func TestPublicVariablesAreErrors(t *testing.T) {
	for _, p := range publicPackages(t) {
		for _, f := range p.files {
			if name := p.fset.File(f.Pos()).Name(); strings.HasSuffix(name, "mutants_on.go") {
				continue // in a build for tests alone
			}
			for _, d := range f.Decls {
				g, ok := d.(*ast.GenDecl)
				if !ok || g.Tok != token.VAR {
					continue
				}
				for _, spec := range g.Specs {
					for _, name := range spec.(*ast.ValueSpec).Names {
						if name.IsExported() && !strings.HasPrefix(name.Name, "Err") {
							t.Errorf("%s: anybody may set %s.%s", p.position(name), p.doc.Name, name.Name)
						}
					}
				}
			}
		}
	}
}

// A time as a number has lost its monotonic part: whoever compares two such
// numbers waits for an hour when the machine's clock is set back by one. Where
// times are kept they are of the type time.Time, or counted from one.
func TestTimesAreNotTakenFromTheClockOnTheWall(t *testing.T) {
	for _, folder := range []string{"lsn", "router", "proxy"} {
		err := filepath.WalkDir(filepath.Join("../..", folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok || !slices.Contains([]string{"Unix", "UnixNano", "UnixMicro", "UnixMilli"}, sel.Sel.Name) {
					return true
				}
				if id, ok := sel.X.(*ast.Ident); !ok || id.Name != "time" {
					t.Errorf("%s: %s", fset.Position(sel.Pos()), sel.Sel.Name)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// eachMaybeNil calls do with the types of the results of exported functions and
// of the exported fields of exported structs.
func eachMaybeNil(f *ast.File, do func(name string, typ ast.Expr)) {
	eachExported(f, func(name string, typ ast.Expr) {
		switch typ := typ.(type) {
		case *ast.FuncType:
			if typ.Results != nil {
				for _, r := range typ.Results.List {
					do(name, r.Type)
				}
			}
		case *ast.StructType:
			for _, field := range typ.Fields.List {
				for _, n := range field.Names {
					if n.IsExported() {
						do(name+"."+n.Name, field.Type)
					}
				}
			}
		}
	})
}

// qualified is the name of what typ points to, with its package's.
func qualified(pkg string, typ ast.Expr) string {
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	switch typ := typ.(type) {
	case *ast.Ident:
		return pkg + "." + typ.Name
	case *ast.SelectorExpr:
		if id, ok := typ.X.(*ast.Ident); ok {
			return id.Name + "." + typ.Sel.Name
		}
	}
	return ""
}
