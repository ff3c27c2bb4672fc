package sqlclass_test

import (
	"testing"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// TestLaterStatements: queries, EXPLAIN and COPY as PostgreSQL 16 to 19 know them
// are provably reads, or they are writes.
func TestLaterStatements(t *testing.T) {
	cat := load(t)
	for _, sql := range []string{
		"explain analyze select * from t", "explain (analyze false) select 1", "explain (analyze, generic_plan off) select 1",
		"explain (generic_plan) select * from t where id = $1", "explain (verbose, costs off) (select 1)", "explain (analyze 0) table t",
		"explain (analyze, serialize text, memory, wal, buffers, settings, summary off, timing 'off', format json) select 1",
		`copy t to stdout with (format csv, header, null '', delimiter ',', quote '"', escape '\', force_quote *, encoding 'utf8')`,
		"copy (select 1) to stdout (format binary)", "copy (table t) to stdout", "copy (values (1)) to stdout", "copy (select 1) to stdout with (format json)",
		"copy (with x as (select 1) select * from x) to stdout csv header", "copy t to stdout (on_error stop)",
		"copy t (id, v) to stdout with delimiter as '|' null as ''", "((table t))", "(values (1)) order by 1", "select * from only (t) as x", "select * from t * x",
		"select * from json_table('[]', '$[*]' columns (a int path '$.a', nested path '$.b' columns (c int path '$'), o for ordinality, e int exists path '$.e'))",
		"select json_query('{}', '$' with wrapper), json_value('1', '$' returning int default 0 on error), json_exists('1', '$'), json_scalar(1), json_serialize('1')",
		"select json('1'), json_objectagg('a' : 1), json_arrayagg(a order by b) from t", "select a is json object with unique keys, system_user from t",
		"select sum(a) ignore nulls over (order by b) from t", "select lag(a) respect nulls over w from t window w as ()", "select a, count(*) from t group by all",
		"select a, count(*) from t group by distinct rollup (a), cube (b)", "select 0x1F, 1_000, 0b1, 0o7", "select * from t1 join t2 using (id) as j",
		"select * from (select 1)", "select * from t where a at local > now()", "select cast(v as int default 0 on conversion error) from t",
		"select * from t, xmltable(xmlnamespaces('a' as x), '/a' passing v columns b int)",
	} {
		if r := classify(cat, sql); r.Access != sqlclass.AccessRead || r.Binds != 0 {
			t.Errorf("%s: %v because of %q, binds %x", sql, r.Reason, r.Object, r.Binds)
		}
	}
	const ddl = sqlclass.BindsDDL
	for sql, want := range map[string]struct {
		harmless bool
		binds    sqlclass.Binds
	}{
		"explain (analyze off) insert into t values (1)": {true, 0}, "explain (analyze 0) insert into t values (1)": {true, 0},
		`explain ("analyze") insert into t values (1)`: {false, 0}, "explain (analyze off, analyze) insert into t values (1)": {false, 0},
		"explain (analyse 1) insert into t values (1)": {false, 0}, "explain (analyze) (with x as (insert into t values (1) returning *) select * from x)": {false, 0},
		"explain declare c cursor for select 1": {true, 0}, "explain create table x as select 1": {true, 0}, "explain execute p": {true, sqlclass.BindsExecute},
		"explain analyze execute p(1)": {false, sqlclass.BindsExecute}, "explain analyze create table x as select 1": {false, ddl},
		"explain (analyze) create materialized view m as select 1": {false, ddl}, "explain analyze declare c cursor for select nextval('s')": {false, 0},
		"copy (insert into t values (1) returning *) to stdout": {false, 0}, "copy (select * from t for update) to stdout": {false, 0},
		"copy (merge into t using s on true when matched then delete returning *) to stdout": {false, 0}, "copy secret to stdout": {false, 0},
		"copy (select 1 into x) to stdout": {false, ddl}, "select * from (select * from t for update) x": {false, 0}, "with x as (select * from t for share) select * from x": {false, 0},
		"with x as materialized (insert into t values (1) returning *) select * from x":                                   {false, 0},
		"with x as not materialized (delete from t returning *) select 1":                                                 {false, 0},
		"with x as (merge into t using s on true when matched then delete returning merge_action(), t.*) select * from x": {false, 0},
		"merge into t using s on true when not matched by source then delete returning merge_action(), with (old as o)":   {false, 0},
		"(select 1 into x)": {false, ddl}, "(select 1) union (select 2 into x)": {false, ddl}, "select (into)": {false, ddl},
		"select * from t for no key update of t skip locked": {false, 0}, "select * from t for key share nowait": {false, 0},
		"table t for update": {false, 0}, "values (1) for update": {false, 0}, "delete from t for portion of p from 1 to 2": {false, 0},
		"insert into t values (1) returning with (old as o, new as n) o.id": {false, 0}, "insert into t values (1) on conflict (id) do select for update returning *": {false, 0},
		"wait for lsn '0/1' with (timeout '1s')": {false, 0}, "repack t": {false, 0}, "checkpoint (mode fast)": {false, 0}, "create property graph g": {false, ddl},
		"alter table t split partition a into (b, c)":                               {false, ddl},
		"select * from graph_table (g match (a is x)-[e]->(b) columns (a.id as i))": {false, sqlclass.BindsPin | sqlclass.BindsTaint},
	} {
		if r := classify(cat, sql); r.Access == sqlclass.AccessRead || r.Harmless != want.harmless || r.Binds != want.binds {
			t.Errorf("%s: %v, harmless %v, binds %x", sql, r.Access, r.Harmless, r.Binds)
		}
	}
}
