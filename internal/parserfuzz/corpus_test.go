package parserfuzz_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

var (
	corpusFlag     = flag.String("corpus", "", "the folder src/test/regress of PostgreSQL's source; empty: that in build/, or else the excerpt in testdata")
	wholeFlag      = flag.Bool("whole", false, "run the whole of the regression tests, not just the excerpt, where they are at hand: a quarter of an hour")
	statementsFlag = flag.Int("statements", 25000, "how many statements that parse the fuzzing judges")
	fromFlag       = flag.String("from", "", "begin the corpus, after its first file, with this one")
	seedFlag       = flag.Uint64("seed", 1, "the seed of the fuzzing; 0 draws one")
)

// corpus is one file of statements.
type corpus struct {
	name       string
	statements []string
}

// excerpt is what stands in for the regression tests.
const excerpt = "testdata"

// regress returns the folder with PostgreSQL's regression tests, or the excerpt.
func regress(t *testing.T) (folder string, whole bool) {
	t.Helper()
	if *corpusFlag != "" {
		return *corpusFlag, true
	}
	for _, pattern := range []string{"src/test/regress", "*/src/test/regress", "*/*/src/test/regress", "*/*/*/src/test/regress"} {
		folders, err := filepath.Glob(filepath.Join("../../build", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, folder := range folders {
			if _, err := os.Stat(filepath.Join(folder, "sql/select.sql")); err == nil {
				return folder, true
			}
		}
	}
	return excerpt, false
}

// skipped are files of the regression tests that need what this test has not:
// psql, a second database, libraries of their own, or a very long time.
var skipped = []string{"tablespace", "psql", "psql_crosstab", "subscription", "infinite_recurse", "largeobject", "create_function_c", "stats", "vacuum", "write_parallel", "vacuum_parallel", "database"}

// readCorpus reads the files in the order of the schedule.
func readCorpus(t *testing.T, folder string) []corpus {
	t.Helper()
	var names []string
	schedule, err := os.ReadFile(filepath.Join(folder, "parallel_schedule"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(schedule)) {
		if rest, ok := strings.CutPrefix(line, "test: "); ok {
			names = append(names, strings.Fields(rest)...)
		}
	}
	absolute, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	var all []corpus
	for _, name := range names {
		if slices.Contains(skipped, name) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, "sql", name+".sql"))
		if err != nil {
			continue // some of the schedule are built from templates
		}
		all = append(all, corpus{name, split(string(text), absolute)})
	}
	return all
}

var (
	metaLine   = regexp.MustCompile(`(?m)^\\.*$`)
	metaEnd    = regexp.MustCompile(`\\(g|gset|gexec|gx|gdesc|bind|crosstabview|watch)\b[^\n]*`)
	setLine    = regexp.MustCompile(`(?m)^\\set ([a-z]+) (.*)$`)
	copyData   = regexp.MustCompile(`(?ims)^(copy[^;]*?from stdin[^;]*;)\n.*?^\\\.$`)
	absSrcDir  = regexp.MustCompile(`:abs_srcdir`)
	quotedName = regexp.MustCompile(`'([^']*)'`)
)

// split cuts a script for psql into statements. What psql would replace or send
// in another way becomes plain SQL as far as that is simple; the rest fails on the
// server, and is then nobody's read.
func split(text, folder string) []string {
	text = copyData.ReplaceAllString(text, "")
	variables := map[string]string{}
	for _, m := range setLine.FindAllStringSubmatch(text, -1) {
		value := absSrcDir.ReplaceAllString(m[2], folder)
		value = strings.ReplaceAll(quotedName.ReplaceAllString(value, "$1"), " ", "")
		variables[m[1]] = value
	}
	text = metaLine.ReplaceAllString(text, "")
	text = metaEnd.ReplaceAllString(text, ";")
	for name, value := range variables {
		text = strings.ReplaceAll(text, ":'"+name+"'", "'"+value+"'")
	}
	if statements, err := pg_query.SplitWithScanner(text, true); err == nil {
		return statements
	}
	var statements []string
	for piece := range strings.SplitSeq(text, ";\n") {
		if piece = strings.TrimSpace(piece); piece != "" {
			statements = append(statements, piece)
		}
	}
	return statements
}
