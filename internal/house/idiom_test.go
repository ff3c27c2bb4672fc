package house

import (
	"go/ast"
	"go/token"
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
