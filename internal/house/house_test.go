// Package house holds the test of the project's structure: imports point one
// way, and each third-party library has one door.
package house

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/pgroute/pgroute/"

// doors says which folders may import a library. A folder stands for all below
// it.
var doors = map[string][]string{
	"github.com/anishathalye/porcupine": {"internal/verify"},
	"github.com/go-zookeeper/zk":        {"router/zookeeper"},
	"github.com/sony/gobreaker":         {"router/health.go"},
	"github.com/prometheus/":            {"cmd/pgroute"},
	"github.com/goccy/go-yaml":          {"cmd/pgroute"},
	"github.com/jackc/pgx/v5/pgconn":    {"router/pgprobe", "router/pgxdb", "cmd/pgroute", "internal/cluster", "internal/bench", "internal/conformance", "internal/verify"},
	"github.com/jackc/pgx/v5/pgproto3":  {"router/pgprobe", "proxy", "internal/bench"},
	"github.com/jackc/pgx/v5":           {"router/pgprobe", "router/pgxdb", "proxy/internal", "proxy", "cmd/pgroute", "internal/cluster", "internal/bench", "internal/conformance", "internal/verify"},
	"golang.org/x/sys/unix":             {"internal/silence", "proxy/internal/reactor", "internal/cluster", "internal/bench", "internal/conformance"},
}

// forbidden says what a package may not import, of ours or of the standard
// library. The folder itself is meant, not those below it.
var forbidden = map[string][]string{
	"lsn":              {module},
	"router":           {"net", "net/http", "database/sql", module + "proxy", module + "cmd", module + "internal"},
	"router/pgprobe":   {module + "proxy", module + "cmd", module + "router/zookeeper"},
	"router/zookeeper": {module + "proxy", module + "cmd", module + "router/pgprobe"},
	"router/pgxdb":     {module + "proxy", module + "cmd", module + "router/zookeeper"},
	"proxy":            {module + "cmd", module + "router/zookeeper", module + "router/pgxdb"},

	// What people copy from needs nothing that they cannot import.
	"examples/booking":                   {module + "internal", module + "proxy", module + "cmd"},
	"examples/booking/internal/api":      {module + "internal", module + "proxy", module + "cmd"},
	"examples/booking/internal/balance":  {module + "internal", module + "proxy", module + "cmd"},
	"examples/booking/internal/fight":    {module + "internal", module + "proxy", module + "cmd"},
	"examples/booking/internal/registry": {module + "internal", module + "proxy", module + "cmd"},
	"examples/booking/internal/store":    {module + "internal", module + "proxy", module + "cmd"},
}

func TestImportsPointOneWay(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() && (d.Name() == ".git" || rel == "build" || rel == "bin") {
			return fs.SkipDir
		}
		if d.IsDir() && rel != "." {
			// A module of its own has doors of its own.
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
				return fs.SkipDir
			}
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files++
		checkFile(t, path, filepath.ToSlash(rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 50 {
		t.Errorf("only %d files were looked at", files)
	}
}

func checkFile(t *testing.T, path, rel string) {
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.ToSlash(filepath.Dir(rel))
	for _, spec := range f.Imports {
		name, _ := strconv.Unquote(spec.Path.Value)
		if folder == "lsn" && strings.Contains(strings.SplitN(name, "/", 2)[0], ".") {
			t.Errorf("%s imports %s: lsn is made of the standard library only", rel, name)
		}
		// Examples are what users write: they may take any library.
		if door := doorOf(name); door != "" && !strings.HasPrefix(folder, "examples/") && !slices.ContainsFunc(doors[door], func(d string) bool {
			return rel == d || strings.HasPrefix(rel, d+"/")
		}) {
			t.Errorf("%s imports %s, whose door is %v", rel, name, doors[door])
		}
		for _, no := range forbidden[folder] {
			if name == no || strings.HasSuffix(no, "/") && strings.HasPrefix(name, no) || strings.HasPrefix(no, module) && strings.HasPrefix(name, no+"/") {
				t.Errorf("%s imports %s, which may not be", rel, name)
			}
		}
	}
}

// doorOf returns the longest entry of doors that name belongs to.
func doorOf(name string) (door string) {
	for d := range doors {
		if strings.HasPrefix(name, d) && len(d) > len(door) {
			door = d
		}
	}
	return door
}
