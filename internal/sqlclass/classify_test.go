package sqlclass_test

import (
	"os"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// TestReads lists what must be recognised as a read.
func TestReads(t *testing.T) {
	cat := load(t)
	for _, sql := range []string{
		"SELECT abalance FROM pgbench_accounts WHERE aid = 1234;",
		"select count(*) from pgbench_branches",
		"",
		" ; ;; -- nothing\n",
		"-- ping",
		"TABLE t",
		"VALUES (1, 'a'), (2, 'b')",
		"(select 1) union all (select 2)",
		"((select 1))",
		"select 1; select 2",
		"WITH a(x, y) AS (SELECT 1, 2), b(z) AS MATERIALIZED (SELECT 3) SELECT * FROM a, b",
		"WITH RECURSIVE a(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM a WHERE n < 10) SELECT sum(n) FROM a",
		"select * from (values (1, 'a')) as v(id, name)",
		"select * from (values (1, 'a')) v(id, name)",
		"select * from generate_series(1, 3) g(i) join t on (t.id = g.i)",
		"select * from unnest(array[1,2]) with ordinality as u(a, b)",
		"select count(*) filter (where a > 1) over (partition by b order by c rows between 1 preceding and current row) from t",
		"select percentile_cont(0.5) within group (order by v) from t",
		"select coalesce(a, b), nullif(a, b), greatest(a, b), least(a, b), cast(a as numeric(10,2)), a::varchar(10) from t",
		"select extract(epoch from ts), substring(a from 1 for 2), trim(both ' ' from a), position('a' in b), overlay(a placing b from 1) from t",
		"select interval '1' second(3), timestamp(3) '2020-01-01', a::timestamp(3) with time zone, a::character varying(3) from t",
		"select * from t where a in (1, 2) and not (b = any (array(select 1))) or exists (select 1)",
		"select * from t left join (select 1 as id) x using (id)",
		"select distinct on (a) b from t order by (a), b limit (1) offset (2)",
		"select a from t group by grouping sets ((a), (b)), rollup (a), cube (b) having (count(*) > 1)",
		"select case when (a) then (b) else (c) end from t",
		"select left(a, 1), right(a, 2) from t where a like ('x' || b) and a ilike ('y') and a similar to ('z')",
		"select row(1, 2), (1, 2) = (3, 4), array[1]",
		"select * from t tablesample system (10) repeatable (1)",
		"select * from t as x(a, b), lateral (select 1) y",
		"select * from rows from (generate_series(1, 2), generate_series(1, 3)) as r(a, b)",
		"select pg_catalog.format_type(atttypid, atttypmod), attname::pg_catalog.text from pg_catalog.pg_attribute a",
		"select relname from pg_class c where pg_catalog.pg_table_is_visible(c.oid)",
		"SELECT 'INSERT INTO t; SELECT nextval(''s'')', $$delete from t$$, E'\\'; update t', \"update\" FROM t",
		"select now(), current_date, current_timestamp(3), clock_timestamp(), random(), gen_random_uuid(), pg_sleep(0)",
		"select $1::int, t.* from t where t.id = $2 for read only",
		"select u.id from \"user\" u where u.\"Order\" = 1",
		"select data->>'a', data #>> '{a,b}', data @> '{}', a || b, -1, +2, !! 'x' from t",
		"select json_build_object('a', 1), jsonb_agg(x), string_agg(a, ',' order by b) from t",
		"select price(3), area(x), fr(), agggood(a) from t",
		"select a ~=~ b from t",
		"EXPLAIN SELECT 1", "explain analyze verbose select 1", "explain (analyze, buffers off) select 1", "explain (select 1)",
		"copy (select * from t) to stdout with (format csv, force_quote (a))", "copy t (a, b) to stdout", "COPY public.t TO STDOUT BINARY",
		"/* a /* nested */ comment */ select /* x */ 1 -- end",
		"BEGIN READ ONLY; SELECT 1; COMMIT",
		"begin; select 1; end",
		"select operator.a from t operator",
		"select a operator(pg_catalog.=) 1, a OPERATOR ( pg_catalog . <*> ) b from t",
		"with a as (select 1), b(x) as (select 2) (select * from a, b) order by 1, price(2)",
		"with recursive a(n) as (select 1) search depth first by n set o cycle n set c to true default false using p, b(m) as (select 2) select * from b",
		"select t.insert from t",
		"select * from t where name is not distinct from ('a')",
		"select a from t order by a collate \"C\" nulls last fetch first (3) rows only",
		"select sum(a) over w from t window w as (partition by b)",
		"select json_query('{}', '$'), json_array(1, 2)",
		"select größe from möbel",
		"select a from t1 natural join t2 cross join (t3 join t4 on (true))",
		"select bit_and(b) , b'101', x'1F', n'abc', U&'\\0041' from t",
		"select 1 as w, xmlelement(name a, xmlattributes(b as c)) from t",
	} {
		if r := classify(cat, sql); r.Access != sqlclass.AccessRead || r.Binds != 0 || r.Reason != sqlclass.ReasonRead {
			t.Errorf("%s: %v, %v because of %q, binds %x (%s)", sql, r.Access, r.Reason, r.Object, r.Binds, r.PinReason)
		}
	}
}

// TestWrites lists what must never be taken for a read, and why it is not.
func TestWrites(t *testing.T) {
	cat := load(t)
	for _, c := range []struct {
		sql    string
		reason sqlclass.Reason
		binds  sqlclass.Binds
	}{
		{"INSERT INTO pgbench_history (tid, bid) VALUES (1, 2)", sqlclass.ReasonCommand, 0},
		{"UPDATE pgbench_accounts SET (a, b) = (1, 2) WHERE aid = 1", sqlclass.ReasonCommand, 0},
		{"insert into t (a) select x from generate_series(1, 2) g(x) on conflict (a) do update set b = excluded.b returning (id)", sqlclass.ReasonCommand, 0},
		{"delete from t using (values (1)) v(id) where t.id = v.id", sqlclass.ReasonCommand, 0},
		{"merge into t using s on (t.id = s.id) when matched then update set a = 1 when not matched then insert (a) values (1)", sqlclass.ReasonCommand, 0},
		{"with x as (select 1) insert into t (a) select * from x", sqlclass.ReasonWritingCTE, 0},
		{"with x as (update t set a = 1 returning *) select * from x", sqlclass.ReasonWritingCTE, 0},
		{"with recursive a as (select 1) search depth first by x set y delete from t", sqlclass.ReasonWritingCTE, 0},
		{"select * into x from t", sqlclass.ReasonSelectInto, sqlclass.BindsDDL},
		{"select 1 into temp x", sqlclass.ReasonSelectInto, sqlclass.BindsDDL | sqlclass.BindsPin},
		{"select * from t for update", sqlclass.ReasonLocking, 0},
		{"select * from t FOR/**/NO KEY UPDATE skip locked", sqlclass.ReasonLocking, 0},
		{"select * from (select * from t for share) x", sqlclass.ReasonLocking, 0},
		{"select nextval('s')", sqlclass.ReasonDenied, 0},
		{"select (1::bigint).pg_try_advisory_lock", sqlclass.ReasonDenied, sqlclass.BindsPin | sqlclass.BindsEndsPin},
		{"select x.nextval from (select 's'::regclass as r) x", sqlclass.ReasonDenied, 0},
		{"select \"nextval\"('s')", sqlclass.ReasonDenied, 0},
		{"select pg_catalog . nextval /* */ ('s')", sqlclass.ReasonDenied, 0},
		{"select NextVal('s')", sqlclass.ReasonDenied, 0},
		{"select distinct on (a) pg_advisory_lock(1) from t", sqlclass.ReasonDenied, sqlclass.BindsPin},
		{"select 1 as with, pg_advisory_lock(1)", sqlclass.ReasonDenied, sqlclass.BindsPin},
		{"with a as (select 1), b(x) as (select 2) select 1, pg_advisory_lock(1)", sqlclass.ReasonDenied, sqlclass.BindsPin},
		{"with a as (with b as (select 1) select 1, pg_advisory_lock(1)) select 1", sqlclass.ReasonDenied, sqlclass.BindsPin},
		{"with a as (select 1) (select 1 as x) order by x, pg_advisory_lock(1)", sqlclass.ReasonDenied, sqlclass.BindsPin},
		{"with a as (select 1) (select 1 as x) limit 1, pg_advisory_lock(1)", sqlclass.ReasonDenied, sqlclass.BindsPin},
		{"select 1 operator(pg_catalog.+) pg_advisory_lock(1)", sqlclass.ReasonDenied, sqlclass.BindsPin},
		{"insert into t (a) with a(x) as (select 1), b(y) as (select 2) select * from b", sqlclass.ReasonCommand, 0},
		{"insert into t select a::timestamp with time zone, nosuch(1)", sqlclass.ReasonCommand, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"insert into t select 1 as with, nosuch(1)", sqlclass.ReasonCommand, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"drop function locker(bigint)", sqlclass.ReasonCommand, sqlclass.BindsDDL | sqlclass.BindsEndsPin},
		{"grant execute on function locker(bigint) to x", sqlclass.ReasonCommand, sqlclass.BindsDDL},
		{"select 'a'::text, pg_advisory_lock(1)", sqlclass.ReasonDenied, sqlclass.BindsPin},
		{"select pg_advisory_xact_lock(1)", sqlclass.ReasonDenied, 0},
		{"select set_config('a.b', '1', true)", sqlclass.ReasonDenied, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"select pg_stat_get_backend_pid(1)", sqlclass.ReasonServerState, 0},
		{"select * from pg_stat_activity", sqlclass.ReasonServerState, 0},
		{"select * from pg_timezone_names", sqlclass.ReasonView, 0},
		{"select * from information_schema.tables", sqlclass.ReasonView, 0},
		{"select * from \"information_schema\".tables", sqlclass.ReasonView, 0},
		{"select pg_relation_size('t')", sqlclass.ReasonServerState, 0},
		{"select fw()", sqlclass.ReasonVolatileFunction, 0},
		{"select fws()", sqlclass.ReasonVolatileFunction, 0},
		{"select lastseq()", sqlclass.ReasonVolatileFunction, 0},
		{"select fcatch()", sqlclass.ReasonVolatileFunction, 0},
		{"select uuid_generate_v4()", sqlclass.ReasonVolatileFunction, 0},
		{"select aggbad(a) from t", sqlclass.ReasonVolatileFunction, 0},
		{"select tenant('a')", sqlclass.ReasonUnknownFunction, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"select viatenant()", sqlclass.ReasonUnknownFunction, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"select locker(1)", sqlclass.ReasonUnknownFunction, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"select x.locker from t x", sqlclass.ReasonUnknownFunction, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"select dynamic('x')", sqlclass.ReasonUnknownFunction, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"select mystery(1)", sqlclass.ReasonUnknownFunction, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"select py()", sqlclass.ReasonUnknownFunction, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"select dblink('a', 'b')", sqlclass.ReasonUnknownFunction, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"select nosuch(1)", sqlclass.ReasonUnknownFunction, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"select größe(1)", sqlclass.ReasonUnknownFunction, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"insert into t values (nosuch(1))", sqlclass.ReasonCommand, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"insert into t values (fw())", sqlclass.ReasonCommand, 0},
		{"select * from vn", sqlclass.ReasonView, 0},
		{"select * from dirtyview", sqlclass.ReasonView, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"insert into dirtyview (a) values (1)", sqlclass.ReasonCommand, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"select * from \"Odd View\"", sqlclass.ReasonView, 0},
		{"select * from public.VN", sqlclass.ReasonView, 0},
		{"table \"vn\"", sqlclass.ReasonView, 0},
		{"select last_value from s", sqlclass.ReasonSequence, 0},
		{"select * from ul", sqlclass.ReasonUnlogged, 0},
		{"select * from secret", sqlclass.ReasonRowSecurity, 0},
		{"select * from remote", sqlclass.ReasonForeignTable, 0},
		{"select * from shop", sqlclass.ReasonUserType, 0},
		{"select '1'::money2", sqlclass.ReasonUserType, 0},
		{"select money2 '1'", sqlclass.ReasonUserType, 0},
		{"select '{1}'::_money2", sqlclass.ReasonUserType, 0},
		{"select 1 === 2", sqlclass.ReasonUserOperator, 0},
		{"select 1 operator(public.===) 2", sqlclass.ReasonUserOperator, 0},
		{"select * from pg_temp.x", sqlclass.ReasonTemporary, sqlclass.BindsPin},
		{"select * from pg_temp_3.x", sqlclass.ReasonTemporary, sqlclass.BindsPin},
		{"copy t from stdin", sqlclass.ReasonCommand, 0},
		{"copy t to '/tmp/x'", sqlclass.ReasonCommand, 0},
		{"copy t to program 'x'", sqlclass.ReasonCommand, 0},
		{"copy vn to stdout", sqlclass.ReasonView, 0},
		{"copy (select nextval('s')) to stdout", sqlclass.ReasonDenied, 0},
		{"explain analyze insert into t values (1)", sqlclass.ReasonCommand, 0},
		{"explain (analyze) delete from t", sqlclass.ReasonCommand, 0},
		{"create temp table x (a int)", sqlclass.ReasonCommand, sqlclass.BindsTemporary | sqlclass.BindsPin},
		{"create table x (a int, b numeric(3), check (a > f(b)))", sqlclass.ReasonCommand, sqlclass.BindsDDL},
		{"create table x as select nosuch(1)", sqlclass.ReasonCommand, sqlclass.BindsDDL | sqlclass.BindsPin | sqlclass.BindsTaint},
		{"create index on t (price(a))", sqlclass.ReasonCommand, sqlclass.BindsDDL},
		{"alter table t add column a int default locker(1)", sqlclass.ReasonCommand, sqlclass.BindsDDL | sqlclass.BindsPin | sqlclass.BindsTaint},
		{"create function f() returns int language sql begin atomic select 1; select case when true then 2 end; end", sqlclass.ReasonCommand, sqlclass.BindsDDL},
		{"create rule r as on insert to t do also (insert into x values (1); notify a)", sqlclass.ReasonCommand, sqlclass.BindsDDL},
		{"listen a", sqlclass.ReasonCommand, sqlclass.BindsPin | sqlclass.BindsListen},
		{"unlisten *", sqlclass.ReasonCommand, sqlclass.BindsEndsPin | sqlclass.BindsListen},
		{"prepare p (int, text) as select $1", sqlclass.ReasonCommand, sqlclass.BindsPrepare},
		{"prepare größe as select 1", sqlclass.ReasonCommand, sqlclass.BindsPrepare | sqlclass.BindsPin | sqlclass.BindsTaint},
		{"prepare p as select 1; select 1", sqlclass.ReasonCommand, sqlclass.BindsPrepare | sqlclass.BindsPin | sqlclass.BindsTaint},
		{"execute p(1)", sqlclass.ReasonCommand, sqlclass.BindsExecute},
		{"execute p(nosuch(1))", sqlclass.ReasonCommand, sqlclass.BindsExecute | sqlclass.BindsPin | sqlclass.BindsTaint},
		{"create table x as execute p(1)", sqlclass.ReasonCommand, sqlclass.BindsExecute | sqlclass.BindsDDL},
		{"select name from pg_prepared_statements", sqlclass.ReasonServerState, sqlclass.BindsStatements},
		{"select name from pg_prepared_statement()", sqlclass.ReasonServerState, sqlclass.BindsStatements},
		{"declare c cursor with hold for select 1", sqlclass.ReasonCommand, sqlclass.BindsPin},
		{"declare c cursor without hold for select 1", sqlclass.ReasonCommand, 0},
		{"call p()", sqlclass.ReasonCommand, sqlclass.BindsPin | sqlclass.BindsTaint | sqlclass.BindsDDL},
		{"discard all", sqlclass.ReasonCommand, sqlclass.BindsDiscardAll},
		{"wait for lsn '0/1'", sqlclass.ReasonCommand, 0},
		{"frobnicate", sqlclass.ReasonSyntax, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"1 + 1", sqlclass.ReasonSyntax, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"select 1)", sqlclass.ReasonSyntax, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"select (1", sqlclass.ReasonSyntax, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"select U&\"\\006e\"", sqlclass.ReasonSyntax, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"set a = 1; select 1", sqlclass.ReasonSetting, sqlclass.BindsSetting | sqlclass.BindsPin | sqlclass.BindsTaint},
		{"create function f() returns int language sql as ''; select 1", sqlclass.ReasonCommand, sqlclass.BindsDDL | sqlclass.BindsPin | sqlclass.BindsTaint},
		{strings.Repeat("(", 100) + "select 1" + strings.Repeat(")", 100), sqlclass.ReasonTooLong, 0},
	} {
		r := classify(cat, c.sql)
		if r.Access != sqlclass.AccessWrite || r.Reason != c.reason || r.Binds != c.binds {
			t.Errorf("%.80s: %v, %v because of %q, binds %x (%s); want %v, binds %x", c.sql, r.Access, r.Reason, r.Object, r.Binds, r.PinReason, c.reason, c.binds)
		}
		if (r.Binds&sqlclass.BindsPin != 0) != (r.PinReason != "") {
			t.Errorf("%.80s: pin without a reason, or a reason without a pin: %q", c.sql, r.PinReason)
		}
	}
}

// TestStandbyList goes through what real standbys answered: whatever failed
// there, or was accepted although it is wrong there, is never a read.
func TestStandbyList(t *testing.T) {
	cat := load(t)
	text, err := os.ReadFile("testdata/standby15.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		want, sql, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		r := classify(cat, sql)
		if (r.Access == sqlclass.AccessRead) != (want == "read") {
			t.Errorf("%s: %v (%v), want %s", sql, r.Access, r.Reason, want)
		}
		n++
	}
	if n < 240 {
		t.Errorf("only %d statements", n)
	}
}

// TestCursor: what opens a cursor for a query that is proven a read, whatever else
// there is in the text. It is a command like before, and no read.
func TestCursor(t *testing.T) {
	cat := load(t)
	for sql, want := range map[string]struct{ cursor, harmless bool }{
		"declare c cursor for select * from t":                                    {true, true},
		"DECLARE \"c\" BINARY INSENSITIVE NO SCROLL CURSOR WITH HOLD FOR TABLE t": {true, true},
		"declare c asensitive scroll cursor without hold for (values (1))":        {true, true},
		"declare c cursor for with x as (select 1) select * from x for read only": {true, true},
		"begin; declare c cursor for select * from t":                             {true, false},
		"declare c cursor for select * from t; fetch 10 from c":                   {true, false},
		"insert into t values (1); declare c cursor for select * from t":          {true, false},
		"declare c cursor for select * from t for update":                         {false, false},
		"declare c cursor for select nextval('s')":                                {false, false},
		"declare c cursor for select * from vn":                                   {false, false},
		"declare c cursor for select * from pg_stat_activity":                     {false, true},
		"declare c cursor":               {false, true},
		"declare c cursor for select 1)": {false, false},
		"fetch 10 from c":                {false, false},
		"select * from t":                {false, true},
		"do $$ declare c cursor for select * from t; begin end $$": {false, false},
	} {
		r := classify(cat, sql)
		if r.Cursor != want.cursor || r.Harmless != want.harmless {
			t.Errorf("%s: cursor %v, harmless %v", sql, r.Cursor, r.Harmless)
		}
		if strings.HasPrefix(strings.ToLower(sql), "declare") && r.Reason != sqlclass.ReasonSyntax &&
			(r.Access != sqlclass.AccessWrite || r.Reason != sqlclass.ReasonCommand || !strings.EqualFold(string(r.Object), "declare")) {
			t.Errorf("%s: %v, %v because of %q", sql, r.Access, r.Reason, r.Object)
		}
	}
}

// TestHarmless: what goes to the primary and provably writes nothing.
func TestHarmless(t *testing.T) {
	cat := load(t)
	for sql, want := range map[string]bool{
		"select 1":                                 true,
		"show transaction_read_only":               true,
		"set a.b = 1":                              true,
		"select pg_is_in_recovery()":               true,
		"select * from pg_stat_activity":           true,
		"select * from pg_tables":                  true,
		"select * from pg_timezone_names":          true,
		"explain insert into t values (1)":         true,
		"explain select nextval('s')":              true,
		"explain analyze select nextval('s')":      false,
		"select nextval('s')":                      false,
		"select * from vn":                         false,
		"select * from pg_stat_activity, vn":       false,
		"select pg_is_in_recovery(), nextval('s')": false,
		"insert into t values (1)":                 false,
		"commit":                                   false,
		"call p()":                                 false,
		"set constraints all immediate":            false,
		"frobnicate":                               false,
	} {
		if r := classify(cat, sql); r.Harmless != want {
			t.Errorf("%s: harmless is %v", sql, r.Harmless)
		}
	}
}

// TestClientSettings: current_setting is a read where the setting is the client's.
func TestClientSettings(t *testing.T) {
	cat := load(t)
	for sql, want := range map[string]sqlclass.Reason{
		"select current_setting('app.tenant')":                                        sqlclass.ReasonRead,
		"select * from t where o = pg_catalog.Current_Setting ( 'app.tenant' , true)": sqlclass.ReasonRead,
		"select current_setting('Role')":                                              sqlclass.ReasonRead,
		"select current_setting('transaction_read_only')":                             sqlclass.ReasonServerState,
		"select current_setting('pgRoute.token')":                                     sqlclass.ReasonServerState,
		"select current_setting('.x')":                                                sqlclass.ReasonServerState,
		"select current_setting('a.b' || 'c')":                                        sqlclass.ReasonServerState,
		"select current_setting('a.b'::text)":                                         sqlclass.ReasonServerState,
		"select current_setting('in_hot_' 'a.b')":                                     sqlclass.ReasonServerState,
		"select current_setting('in_hot_'\n'standby', 'a.b')":                         sqlclass.ReasonServerState,
		"select current_setting('a.b''c')":                                            sqlclass.ReasonServerState,
		"select current_setting(E'a.b')":                                              sqlclass.ReasonServerState,
		"select current_setting(x) from (select 'a.b') t(x)":                          sqlclass.ReasonServerState,
		"select x.current_setting from (select 'a.b'::text) x":                        sqlclass.ReasonServerState,
		"select current_setting('a.b'), nextval('s')":                                 sqlclass.ReasonDenied,
	} {
		if r := classify(cat, sql); r.Reason != want || r.Binds != 0 {
			t.Errorf("%s: %v, binds %x", sql, r.Reason, r.Binds)
		}
	}
	cat = load(t, func(r recorded) {
		r[sqlclass.RoutinesQuery] = append(r[sqlclass.RoutinesQuery], routine("30000", "current_setting", "v", "1", "sql", "", "select 1"))
	})
	if r := classify(cat, "select current_setting('a.b')"); r.Access == sqlclass.AccessRead {
		t.Error("a user's function of that name is believed")
	}
}

func TestWithoutCatalogue(t *testing.T) {
	for sql, want := range map[string]sqlclass.Access{
		"select 1": sqlclass.AccessRead, "select now()": sqlclass.AccessRead, "": sqlclass.AccessRead,
		"select $1": sqlclass.AccessRead, "select 'a', 2": sqlclass.AccessRead,
		"select * from t": sqlclass.AccessWrite, "table t": sqlclass.AccessWrite, "select f(1)": sqlclass.AccessWrite,
		"select 1 === 2": sqlclass.AccessWrite, "select '1'::x": sqlclass.AccessWrite, "select x 'a'": sqlclass.AccessWrite,
		"select cast('1' as x)": sqlclass.AccessWrite, "copy t to stdout": sqlclass.AccessWrite,
		"select (1).f": sqlclass.AccessWrite, "select left('a', 1)": sqlclass.AccessWrite, "insert into t values (1)": sqlclass.AccessWrite,
	} {
		if r := classify(nil, sql); r.Access != want {
			t.Errorf("%s: %v (%v)", sql, r.Access, r.Reason)
		}
	}
	if r := classify(nil, "insert into t values (1)"); r.Binds&sqlclass.BindsTaint == 0 {
		t.Error("a trigger that nobody knows does not taint")
	}
}

// TestChangedSearchPath: with another search_path, user-defined functions by a
// bare name are no reads, and information_schema may be in it.
func TestChangedSearchPath(t *testing.T) {
	cat := load(t)
	opt := sqlclass.Options{StandardConformingStrings: true}
	for sql, want := range map[string]sqlclass.Access{
		"select count(*) from t":         sqlclass.AccessRead,
		"select price(1)":                sqlclass.AccessWrite,
		"select public.price(1)":         sqlclass.AccessRead,
		"select * from table_privileges": sqlclass.AccessWrite,
	} {
		r := new(sqlclass.Result)
		sqlclass.Classify([]byte(sql), cat, opt, r)
		if r.Access != want || r.Binds != 0 {
			t.Errorf("%s: %v (%v), binds %x", sql, r.Access, r.Reason, r.Binds)
		}
	}
}

// TestUnsafeEncoding: where literals cannot be delimited, nothing is a read.
func TestUnsafeEncoding(t *testing.T) {
	cat := load(t)
	opt := defaults
	opt.UnsafeEncoding = true
	r := new(sqlclass.Result)
	sqlclass.Classify([]byte("select 1"), cat, opt, r)
	if r.Access != sqlclass.AccessRead {
		t.Error("plain ASCII is not a read")
	}
	sqlclass.Classify([]byte("select E'\x83\\' , pg_advisory_lock(1) --'"), cat, opt, r)
	if r.Access != sqlclass.AccessWrite || r.Binds&sqlclass.BindsTaint == 0 {
		t.Error("a literal in Shift-JIS was scanned")
	}
	for encoding, want := range map[string]bool{"SJIS": true, "Shift_JIS": true, "big5": true, "GB18030": true, "UTF8": false, "LATIN1": false, "EUC_JP": false} {
		if sqlclass.UnsafeEncoding(encoding) != want {
			t.Errorf("UnsafeEncoding(%s) is %v", encoding, !want)
		}
	}
}
