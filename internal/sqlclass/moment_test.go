package sqlclass_test

import (
	"testing"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// TestTransactionTime: what may tell when the transaction began is known, also
// behind functions, views, policies and types, and what does not is not.
func TestTransactionTime(t *testing.T) {
	cat := load(t, func(r recorded) {
		r[sqlclass.RelationsQuery] = append(r[sqlclass.RelationsQuery], []string{"20101", "fresh", "v"}, []string{"20102", "fresher", "v"},
			[]string{"20103", "dated", "v"}, []string{"20104", "guarded", "R"}, []string{"20105", "typed", "t"})
		r[sqlclass.ExpressionsQuery] = append(r[sqlclass.ExpressionsQuery], []string{"v", "20101", "funcid", "1299"}, []string{"v", "20102", "relid", "20101"},
			[]string{"v", "20103", "time", "0"}, []string{"p", "20104", "time", "0"}, []string{"d", "23101", "time", "0"})
		r[sqlclass.TypesQuery] = append(r[sqlclass.TypesQuery], []string{"23101", "past", "23102", "_past"})
		r[sqlclass.ReferencesQuery] = append(r[sqlclass.ReferencesQuery], []string{"R", "20105", "T", "23101"})
		r[sqlclass.RoutinesQuery] = append(r[sqlclass.RoutinesQuery],
			routine("21101", "started", "s", "0", "sql", "", "select now()"),
			routine("21106", "started", "s", "1", "sql", "", "select now()"),
			routine("21102", "via", "s", "0", "plpgsql", "", "begin return started(); end"),
			routine("21103", "dated_too", "s", "0", "plpgsql", "", "begin return current_date; end"),
			routine("21104", "spelled", "s", "0", "sql", "", "select 'today'::date"),
			routine("21105", "timeless", "s", "0", "sql", "", "select clock_timestamp(), statement_timestamp(), now from t"))
	})
	for _, sql := range []string{
		"select now()", "select pg_catalog.now()", "select transaction_timestamp()", "select age(a) from t", "select * from t where d > current_date - 1",
		"select current_time, 1", "select LOCALTIME(2)", "select localtimestamp", "select current_timestamp(3)", "select 1; select now()",
		"select 'now'::timestamptz", "select date 'TODAY'", "select 'tomorrow allballs'::timestamp", "select $$yesterday$$::date", "select (x).started from t", "select age(a) from t",
		"select * from fresh", "select 1 from public.fresher f", "table dated", "select * from guarded", "select * from typed", "select a::past from t",
		"select started()", "select via()", "select dated_too()", "select spelled()", "copy (select now()) to stdout", "explain analyze select now()",
	} {
		if r := classify(cat, sql); r.Access != sqlclass.AccessRead || !r.TransactionTime {
			t.Errorf("%s: %v (%v), time %v", sql, r.Access, r.Reason, r.TransactionTime)
		}
	}
	for _, sql := range []string{
		"select clock_timestamp(), statement_timestamp(), timeofday()", "select t.now, t.current_date from t", "select 'known', 'nowhere' from t",
		"select age from t", "select \"current_date\" from t", "select timeless()", "select u.age from users u", "select 1", "", "select now from t",
	} {
		if r := classify(cat, sql); r.Access != sqlclass.AccessRead || r.TransactionTime {
			t.Errorf("%s: %v (%v), time %v", sql, r.Access, r.Reason, r.TransactionTime)
		}
	}
	if r := classify(nil, "select now()"); r.Access != sqlclass.AccessRead || !r.TransactionTime {
		t.Errorf("without a catalogue: %v, time %v", r.Access, r.TransactionTime)
	}
}

// TestSavepointNames: a name is told only if it is what the server takes for it.
func TestSavepointNames(t *testing.T) {
	for sql, want := range map[string]string{
		"savepoint A1": "a1", "SAVEPOINT \"A b\";": "A b", "release a": "a", "release savepoint a": "a", "rollback to a": "a",
		"rollback work to savepoint a": "a", "rollback transaction to \"x\"": "x", "abort to a": "a", "savepoint s139_x": "s139_x",
		"savepoint": "", "savepoint select": "", "savepoint a b": "", "savepoint cross": "", "savepoint \"a\"\"b\"": "", "savepoint é": "",
		"release": "", "rollback to": "", "savepoint savepoint": "", "savepoint 1": "", "savepoint a; select 1": "",
	} {
		if r := classify(nil, sql); string(r.Savepoint) != want {
			t.Errorf("%s: %q, want %q", sql, r.Savepoint, want)
		}
	}
}
