package house

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// public are the folders whose packages other modules import. A folder stands
// for all below it but for what is internal.
var public = []string{"lsn", "router", "proxy"}

// shown says which libraries' types a public package may show in its API, beside
// the standard library and this module's public packages. A folder stands for
// itself alone.
var shown = map[string][]string{
	// It offers the methods of pgxpool, which are made of pgx's types.
	"router/pgxdb": {"github.com/jackc/pgx/v5"},
	// Interceptors are gRPC's types; it is a module of its own for that reason.
	"router/grpcsession": {"google.golang.org/grpc"},
}

// withoutExample says of what lsn and router export why no example shows it.
// Whatever else they export is named or used in an example.
var withoutExample = map[string]string{
	// What an example would only repeat: words, and how they are read.
	"router.ParseMonotonic":    "as ParseLevel",
	"router.ParseOnTimeout":    "as ParseLevel",
	"router.ParsePositionKind": "as ParseLevel",
	"router.ParseScope":        "as ParseLevel",
	"router.Monotonic":         "a choice in Config",
	"router.PositionKind":      "a choice in Config",
	"router.OnTimeout":         "its constants are used",
	"router.Scope":             "a choice for Chain.SetScope, which only a proxy needs",
	"router.Role":              "a field of Decision, printed in ExampleRouter_Pick",
	"router.Reason":            "a field of Decision, printed in ExampleRouter_Decide",
	// What comes back from what is shown.
	"router.Decision":   "what Pick returns",
	"router.Floor":      "a field of Decision, passed on to Covers",
	"router.Request":    "what NewRequest returns",
	"router.Session":    "what NewSession returns",
	"router.TokenCheck": "what CheckToken returns",
	"router.Stats":      "what Router.Stats returns, shown there",
	"router.Histogram":  "a field of Stats, shown there",
	"router.Waiter":     "an alias of lsn.Waiter, implemented in ExampleRouter_Decide",
	"lsn.Waiter":        "implemented in ExampleWatermark_Notify",
	"lsn.Coverage":      "what Covers returns, printed there",
	// What is implemented for real servers by package pgprobe, whose examples
	// show it.
	"router.Prober":        "pgprobe's",
	"router.Probe":         "pgprobe's",
	"router.Witness":       "pgprobe's",
	"router.CommitWitness": "pgprobe's",
	"router.PendingCommit": "pgprobe's",
	"router.Reading":       "pgprobe's",
	"router.Parker":        "pgprobe's",
	"router.Napper":        "pgprobe's",
	"router.Snapshot":      "pgprobe's",
	"router.OutcomeProbe":  "pgprobe's",
	"router.XactState":     "pgprobe's",
	// What only somebody who writes a proxy needs.
	"router.NodeStates":  "the words of Standing.State",
	"router.NodeSet":     "for reads that are run again elsewhere",
	"router.Standing":    "what Node.Standing returns, for status pages",
	"router.Preferences": "a field of Config",
	"router.Trace":       "hooks, each described where it is declared",
	"router.Commit":      "asked for by Inquire and Resolve",
	"router.Inquiry":     "what Inquire returns",
	"router.Outcome":     "of a Verdict",
	"router.Verdict":     "what Resolve returns",
}

// pack is one public package.
type pack struct {
	folder string
	fset   *token.FileSet
	doc    *doc.Package
	// files are its files without tests.
	files []*ast.File
	// examples is the source of its examples, as identifiers that stand behind
	// the package's name.
	examples map[string]bool
}

func TestPublicIdentifiersAreDocumented(t *testing.T) {
	for _, p := range publicPackages(t) {
		if p.doc.Doc == "" {
			t.Errorf("package %s says nothing of itself", p.folder)
		}
		for _, f := range p.files {
			for _, d := range f.Decls {
				p.checkDocumented(t, d)
			}
		}
	}
}

func TestPublicSignaturesShowNoOtherLibrary(t *testing.T) {
	for _, p := range publicPackages(t) {
		for _, f := range p.files {
			imports := importsOf(f)
			eachExported(f, func(name string, typ ast.Expr) {
				eachSelector(typ, func(pkg string) {
					path := imports[pkg]
					if path != "" && !mayShow(p.folder, path) {
						t.Errorf("%s: %s.%s shows a type of %s", p.position(typ), p.doc.Name, name, path)
					}
				})
			})
		}
	}
}

func TestEntriesHaveExamples(t *testing.T) {
	unused := maps.Clone(withoutExample)
	for _, p := range publicPackages(t) {
		if p.folder != "lsn" && p.folder != "router" {
			continue
		}
		for _, name := range p.entries() {
			full := p.doc.Name + "." + name
			_, excused := withoutExample[full]
			delete(unused, full)
			switch {
			case p.examples[name] && excused:
				t.Errorf("%s is in an example and needs no excuse", full)
			case !p.examples[name] && !excused:
				t.Errorf("%s is in no example", full)
			}
		}
	}
	for name := range unused {
		t.Errorf("%s is excused and not exported", name)
	}
}

func TestWhatIsShownIsFound(t *testing.T) {
	const text = `package p
import (
	"net/http"
	"example.com/lib/v2"
	other "example.com/other"
	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/lsn"
)
type T struct {
	Shown map[string][]*lib.A
	hidden other.B
	http.Handler
}
type I interface { M(lsn.LSN) (<-chan cluster.Cluster, error) }
func F[X other.B](func(...lib.A)) {}
func (T) m(other.C) {}
func f(other.C) {}
var V other.V
`
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	imports := importsOf(f)
	found := map[string][]string{}
	eachExported(f, func(name string, typ ast.Expr) {
		eachSelector(typ, func(pkg string) {
			if !mayShow("router", imports[pkg]) {
				found[name] = append(found[name], pkg)
			}
		})
	})
	want := map[string][]string{"T": {"lib"}, "I": {"cluster"}, "F": {"other", "lib"}, "V": {"other"}}
	if !maps.EqualFunc(found, want, slices.Equal) {
		t.Errorf("found %v, should be %v", found, want)
	}
}

// publicPackages parses all of them.
func publicPackages(t *testing.T) (all []*pack) {
	root := filepath.Join("..", "..")
	for _, top := range public {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			if d.Name() == "internal" || d.Name() == "testdata" {
				return fs.SkipDir
			}
			folder, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			p, err := parsePack(path, filepath.ToSlash(folder))
			if p != nil {
				all = append(all, p)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(all) < 5 {
		t.Fatalf("only %d public packages were found", len(all))
	}
	return all
}

// parsePack returns nil for a folder without a package.
func parsePack(path, folder string) (*pack, error) {
	p := &pack{folder: folder, fset: token.NewFileSet(), examples: map[string]bool{}}
	names, err := filepath.Glob(filepath.Join(path, "*.go"))
	if err != nil {
		return nil, err
	}
	var forDoc []*ast.File
	for _, name := range names {
		f, err := parser.ParseFile(p.fset, name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(name, "_test.go") {
			p.addExamples(f)
			continue
		}
		if f.Name.Name == "main" {
			return nil, nil
		}
		// go/doc changes what it is given, so it gets a copy.
		again, err := parser.ParseFile(p.fset, name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		p.files, forDoc = append(p.files, f), append(forDoc, again)
	}
	if len(p.files) == 0 {
		return nil, nil
	}
	p.doc, err = doc.NewFromFiles(p.fset, forDoc, module+folder)
	return p, err
}

// addExamples collects what the examples in f are named after and what of the
// package they use, in themselves and in what stands beside them in the file.
func (p *pack) addExamples(f *ast.File) {
	if !strings.HasSuffix(p.fset.File(f.Pos()).Name(), "example_test.go") {
		return
	}
	imports := importsOf(f)
	for _, e := range doc.Examples(f) {
		first, _, _ := strings.Cut(e.Name, "_")
		p.examples[first] = true
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := s.X.(*ast.Ident); ok && imports[id.Name] == module+p.folder {
				p.examples[s.Sel.Name] = true
			}
		}
		return true
	})
}

// entries are the package's exported functions and types.
func (p *pack) entries() (names []string) {
	for _, f := range p.doc.Funcs {
		names = append(names, f.Name)
	}
	for _, t := range p.doc.Types {
		names = append(names, t.Name)
		for _, f := range t.Funcs {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return names
}

func (p *pack) position(n ast.Node) string { return p.fset.Position(n.Pos()).String() }

// checkDocumented checks a declaration and what stands in it.
func (p *pack) checkDocumented(t *testing.T, d ast.Decl) {
	missing := func(n ast.Node, name string) {
		t.Errorf("%s: %s.%s has no comment", p.position(n), p.doc.Name, name)
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		receiver := receiverOf(d)
		// What String and Error return is said by the interfaces that have them.
		known := receiver != "" && (d.Name.Name == "String" || d.Name.Name == "Error")
		if d.Name.IsExported() && (receiver == "" || ast.IsExported(receiver)) && d.Doc.Text() == "" && !known {
			missing(d, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if !spec.Name.IsExported() {
					continue
				}
				if d.Doc.Text() == "" && spec.Doc.Text() == "" {
					missing(spec, spec.Name.Name)
				}
				p.checkMembers(t, spec, d.Doc.Text()+spec.Doc.Text())
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					if name.IsExported() && d.Doc.Text() == "" && spec.Doc.Text() == "" && spec.Comment.Text() == "" {
						missing(name, name.Name)
					}
				}
			}
		}
	}
}

// checkMembers checks the fields of a struct and the methods of an interface.
// One comment may speak for several: a field that is named in the comment of
// its type or of an earlier field is documented, and one whose type has its name
// is documented there.
func (p *pack) checkMembers(t *testing.T, spec *ast.TypeSpec, said string) {
	var fields *ast.FieldList
	switch typ := spec.Type.(type) {
	case *ast.StructType:
		fields = typ.Fields
	case *ast.InterfaceType:
		fields = typ.Methods
	default:
		return
	}
	for _, f := range fields.List {
		text := f.Doc.Text() + f.Comment.Text()
		said += text
		for _, name := range f.Names {
			if name.IsExported() && text == "" && !plain[name.Name] && !mentions(said, name.Name) && !namesType(f.Type, name.Name) {
				t.Errorf("%s: %s.%s.%s has no comment", p.position(name), p.doc.Name, spec.Name.Name, name.Name)
			}
		}
	}
}

// plain are names of fields that say all there is to say, because they mean the
// same wherever they stand.
var plain = map[string]bool{
	"Name": true, "Host": true, "Port": true, "Zone": true, "Tags": true, "Node": true, "Role": true, "Reason": true,
	"SystemID": true, "InRecovery": true, "Count": true, "Code": true, "Message": true, "Detail": true, "Hint": true, "SQLState": true,
}

// namesType reports whether a type is the one of that name, or a slice of it in
// the plural.
func namesType(typ ast.Expr, name string) bool {
	if array, ok := typ.(*ast.ArrayType); ok {
		typ, name = array.Elt, strings.TrimSuffix(name, "s")
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.Name == name
}

// mentions reports whether a text has a word.
func mentions(text, word string) bool {
	return slices.Contains(strings.FieldsFunc(text, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_')
	}), word)
}

// receiverOf returns the name of a method's type, nothing for a function.
func receiverOf(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// importsOf returns the paths of a file's imports by their names in it.
func importsOf(f *ast.File) map[string]string {
	imports := map[string]string{}
	for _, spec := range f.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		parts := strings.Split(path, "/")
		name := parts[len(parts)-1]
		if len(parts) > 1 && len(name) > 1 && name[0] == 'v' && strings.Trim(name[1:], "0123456789") == "" {
			name = parts[len(parts)-2]
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imports[name] = path
	}
	return imports
}

// mayShow reports whether an API may show types of the package at path.
func mayShow(folder, path string) bool {
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		return true
	}
	if rest, ok := strings.CutPrefix(path, module); ok {
		return !strings.Contains("/"+rest+"/", "/internal/")
	}
	return slices.ContainsFunc(shown[folder], func(lib string) bool { return path == lib || strings.HasPrefix(path, lib+"/") })
}

// eachExported calls do with the type expressions that a reader of the package's
// documentation sees.
func eachExported(f *ast.File, do func(name string, typ ast.Expr)) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			receiver := receiverOf(d)
			if d.Name.IsExported() && (receiver == "" || ast.IsExported(receiver)) {
				do(d.Name.Name, d.Type)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if spec.Name.IsExported() {
						do(spec.Name.Name, spec.Type)
					}
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						if name.IsExported() && spec.Type != nil {
							do(name.Name, spec.Type)
						}
					}
				}
			}
		}
	}
}

// eachSelector calls do with the package name of each qualified type in typ,
// without the unexported fields of structs.
func eachSelector(typ ast.Expr, do func(pkg string)) {
	ast.Inspect(typ, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StructType:
			for _, f := range n.Fields.List {
				exported := len(f.Names) == 0
				for _, name := range f.Names {
					exported = exported || name.IsExported()
				}
				if exported {
					eachSelector(f.Type, do)
				}
			}
			return false
		case *ast.SelectorExpr:
			if id, ok := n.X.(*ast.Ident); ok {
				do(id.Name)
			}
		}
		return true
	})
}
