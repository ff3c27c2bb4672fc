package sqlclass_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// recorded answers the catalogue's queries with what PostgreSQL 15 answered in an
// empty database, and with the rows that a test adds.
type recorded map[string][][]string

func (r recorded) Query(_ context.Context, sql string) ([][]string, error) { return r[sql], nil }

func record(t testing.TB) recorded {
	t.Helper()
	return recorded{
		sqlclass.FingerprintQuery: {{"1", "1", "1"}},
		sqlclass.VersionQuery:     {{"150018"}},
		sqlclass.BuiltinsQuery:    readTable(t, "testdata/functions15.tsv"),
		sqlclass.RelationsQuery:   readTable(t, "testdata/relations15.tsv"),
	}
}

func readTable(t testing.TB, file string) [][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(string(text)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows
}

// routine is a row of the functions that users made.
func routine(oid, name, volatility, arguments, language, extension, source string) []string {
	return []string{oid, name, "f", volatility, arguments, language, extension, source}
}

// load is the catalogue of a database with some of everything in it.
func load(t testing.TB, change ...func(recorded)) *sqlclass.Catalogue {
	t.Helper()
	r := record(t)
	r[sqlclass.RelationsQuery] = append(r[sqlclass.RelationsQuery],
		[]string{"20001", "vn", "v"}, []string{"20002", "s", "S"}, []string{"20003", "ul", "u"},
		[]string{"20004", "secret", "R"}, []string{"20005", "remote", "f"}, []string{"20006", "shop", "t"},
		[]string{"20007", "dirtyview", "v"}, []string{"20008", "Odd View", "v"})
	r[sqlclass.TypesQuery] = [][]string{{"23001", "money2", "23002", "_money2"}}
	r[sqlclass.ReferencesQuery] = [][]string{{"T", "23001", "o", "21016"}, {"R", "20006", "T", "23002"}}
	r[sqlclass.RoutinesQuery] = [][]string{
		routine("21001", "fw", "v", "0", "plpgsql", "", "begin insert into t values (1); return 1; end"),
		routine("21002", "fws", "s", "0", "plpgsql", "", "begin insert into t values (1); return 1; end"),
		routine("21003", "fcatch", "v", "0", "plpgsql", "", "begin begin insert into t values(1); exception when others then return 'x'; end; end"),
		routine("21004", "fr", "s", "0", "sql", "", "select count(*) from t"),
		routine("21005", "tenant", "s", "1", "plpgsql", "", "begin perform set_config('app.t', $1, false); return 1; end"),
		routine("21006", "viatenant", "s", "0", "sql", "", "select tenant('x')"),
		routine("21007", "locker", "s", "1", "sql", "", "select pg_advisory_lock($1)"),
		routine("21008", "dynamic", "v", "1", "plpgsql", "", "begin execute $1; end"),
		routine("21009", "price", "i", "1", "sql", "", "select $1 * 2"),
		routine("21010", "area", "i", "1", "c", "postgis", ""),
		routine("21011", "mystery", "i", "1", "c", "mystery", ""),
		routine("21012", "py", "s", "0", "plpython3u", "", ""),
		routine("21013", "uuid_generate_v4", "v", "0", "c", "uuid-ossp", ""),
		routine("21014", "dblink", "v", "2", "c", "dblink", ""),
		routine("21015", "lastseq", "s", "0", "sql", "", "select last_value from s"),
		routine("21016", "opfn", "v", "2", "sql", "", "select true"),
		routine("21017", "opsafe", "i", "2", "sql", "", "select true"),
		routine("21018", "trig", "v", "0", "plpgsql", "", "begin update t set v = 1; return new; end"),
		{"21019", "aggbad", "a", "i", "1", "internal", "", ""},
		{"21020", "agggood", "a", "i", "1", "internal", "", ""},
	}
	r[sqlclass.AggregatesQuery] = [][]string{{"21019", "21001"}, {"21020", "21009"}}
	r[sqlclass.OperatorsQuery] = [][]string{{"22001", "===", "21016"}, {"22002", "~=~", "21017"}}
	r[sqlclass.TriggersQuery] = [][]string{{"21018"}}
	r[sqlclass.ExpressionsQuery] = [][]string{{"v", "20007", "funcid", "21005"}, {"v", "20001", "funcid", "1574"},
		{"v", "20008", "relid", "20002"}, {"p", "20004", "funcid", "1574"}}
	for _, f := range change {
		f(r)
	}
	cat, err := sqlclass.Load(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

var defaults = sqlclass.Options{StandardConformingStrings: true, SearchPathDefault: true}

func classify(cat *sqlclass.Catalogue, sql string) *sqlclass.Result {
	r := new(sqlclass.Result)
	sqlclass.Classify([]byte(sql), cat, defaults, r)
	return r
}
