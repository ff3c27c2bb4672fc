package sqlclass_test

import (
	"strings"
	"testing"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// What a DO is.
const (
	clean   = "clean"   // a write that binds nothing
	changes = "changes" // it may change the catalogue as well
	dirty   = "dirty"   // it may leave something behind in the session
)

// codes are bodies of DO over the objects of load.
var codes = []struct{ body, want string }{
	{"begin end", clean},
	{"begin null; end", clean},
	{"declare n numeric(10,2) := 1; a varchar(10)[]; begin if (n > 1) then n := (n + 1); elsif (n < 0) then return; end if; end", clean},
	{"<<l>> declare i int; begin while (i < 3) loop i := abs(i) + 1; exit l when (i > 2); continue; end loop; end", clean},
	{"begin insert into t (id, v) values (1, upper('x')) on conflict (id) do update set (v, n) = ('y', 2); end", clean},
	{"declare r record; begin for r in select id, v from t loop update t set v = r.v where id = r.id; end loop; end", clean},
	{"declare r int; begin with a(x) as (select 1), b(y) as (select 2) select x into strict r from a, b; end", clean},
	{"begin insert into public.t (id) with a(x) as (select 1) select x from a; end", clean},
	{"begin perform fw(); perform (select fcatch()); end", clean},
	{"begin perform pg_notify('a', 'b'); notify a; perform pg_advisory_xact_lock(1); lock t; truncate t; end", clean},
	{"begin raise notice 'set_config(%)', 'execute'; /* execute */ -- listen\n end", clean},
	{"begin raise exception using message = ('x'), errcode = 'P0001'; exception when others then null; end", clean},
	{"declare c cursor (a int) for select a; begin for r in 1..10 loop null; end loop; commit; rollback; end", clean},
	{"begin assert (1 = 1), 'no'; perform count(*) filter (where true) from t; end", clean},
	{"begin set local work_mem = '8MB'; set local role x; set local app.owner = 'a'; end", clean},
	{"begin set local search_path = public, 'side'; end", clean},
	{"begin execute 'insert into t values (1)'; end", clean},
	{"begin execute $q$insert into t values ($1, 'x')$q$ using 1; end", clean},
	{"declare n int; begin execute 'select count(*) from t where v = ''x'' or v = ''--''' into n; end", clean},
	{"declare r record; begin for r in execute 'select 1' loop null; end loop; end", clean},
	{"begin do 'begin null; end'; end", clean},
	{"begin update t set v = (select 1); merge into t using s on (true) when matched then update set a = 1 when not matched then insert (a) values (1); end", clean},
	{"begin create table x (a int default price(1), b vector(3), check (a > 1)); end", changes},
	{"begin if not exists (select 1 from pg_type where typname = 'e') then create type e as enum ('a'); end if; end", changes},
	{"begin alter table t add column a int references o (id) on delete set null; alter table t alter v set default 1; exception when duplicate_column then null; end", changes},
	{"begin create index i on t (lower(v)); drop table if exists x; grant execute on function fw() to x; comment on table t is ''; end", changes},
	{"begin create trigger g before insert on t for each row execute function trig(); end", changes},
	{"begin create trigger g before insert on t for each row when (true) execute procedure trig(); end", changes},
	{"begin execute 'create table x (a int)'; end", changes},
	{"begin execute 'select 1 into x'; end", changes},
	{"begin perform ddl(); end", changes},
	{"begin call maker(); end", changes},

	{"begin perform set_config('a.b', 'c', false); end", dirty},
	{"begin perform set_config('a.b', 'c', true); end", dirty},
	{"begin perform pg_catalog . \"set_config\"('a.b', 'c', false); end", dirty},
	{"begin set work_mem = 1; end", dirty},
	{"begin set session work_mem = 1; end", dirty},
	{"begin set local . x = 1; end", dirty},
	{"begin set local = 1; end", dirty},
	{"begin set local to 1; end", dirty},
	{"begin set local search_path = 'pg_temp'; create table x (a int); end", dirty},
	{"begin set local schema 'pg_temp'; create table x (a int); end", dirty},
	{"begin set local search_path = e'pg_\\x74emp'; create table x (a int); end", dirty},
	{"begin set local search_path = 'pg_'\n'temp'; create table x (a int); end", dirty},
	{"begin set local search_path = pg_temp; create table x (a int); end", dirty},
	{"begin set local standard_conforming_strings = off; perform '\\' || ', set_config(1) -- '; end", dirty},
	{"begin if true then set work_mem = 1; end if; end", dirty},
	{"begin update t set a = 1; set work_mem = 1; end", dirty},
	{"begin alter table t add a int; set work_mem = 1; end", dirty},
	{"begin loop set role x; end loop; end", dirty},
	{"begin begin null; exception when others then set work_mem = 1; end; end", dirty},
	{"begin reset work_mem; end", dirty},
	{"begin listen a; end", dirty},
	{"begin unlisten a; end", dirty},
	{"begin prepare p as select 1; end", dirty},
	{"begin deallocate p; end", dirty},
	{"begin discard plans; end", dirty},
	{"begin load 'x'; end", dirty},
	{"begin create temp table x (a int); end", dirty},
	{"begin create local temporary table x (a int); end", dirty},
	{"begin create or replace temp view x as select 1; end", dirty},
	{"begin create table pg_temp.x (a int); end", dirty},
	{"begin perform 1 from pg_temp.x; end", dirty},
	{"begin perform pg_advisory_lock(1); end", dirty},
	{"begin perform pg_try_advisory_lock_shared(1); end", dirty},
	{"begin perform (1::bigint).pg_advisory_lock; end", dirty},
	{"begin perform setseed(0.5); end", dirty},
	{"begin declare c cursor with hold for select 1; end", dirty},
	{"begin execute x; end", dirty},
	{"begin execute 'set ' || 'work_mem = 1'; end", dirty},
	{"begin execute format('set %s = 1', 'work_mem'); end", dirty},
	{"begin execute 'set work_mem = 1'; end", dirty},
	{"begin execute e'\\163et work_mem = 1'; end", dirty},
	{"begin execute 'set '\n'work_mem = 1'; end", dirty},
	{"begin execute 'select ''--'' , set_config(''a.b'', ''c'', false)'; end", dirty},
	{"begin execute 'do $x$ begin execute ''set work_mem = 1''; end $x$'; end", dirty},
	{"begin execute 'execute p'; end", dirty},
	{"begin execute function || 'x'; end", dirty},
	{"begin return query execute function; end", dirty},
	{"begin create table x as execute function; end", dirty},
	{"begin do 'begin null; end' language plperl; end", dirty},
	{"begin do language plpgsql 'begin end'; end", dirty},
	{"begin do $x$ begin set work_mem = 1; end $x$; end", dirty},
	{"begin create function f() returns int language sql as 'select 1'; perform f(); end", dirty},
	{"begin create or replace procedure f() language sql as ''; end", dirty},
	{"begin create extension hstore; end", dirty},
	{"begin alter extension hstore update; end", dirty},
	{"begin perform tenant('x'); end", dirty},
	{"begin perform viatenant(); end", dirty},
	{"begin perform locker(1); end", dirty},
	{"begin perform x.locker from t x; end", dirty},
	{"begin perform dynamic('x'); end", dirty},
	{"begin perform py(); end", dirty},
	{"begin perform mystery(1); end", dirty},
	{"begin perform nosuch(1); end", dirty},
	{"begin x := nosuch(1); end", dirty},
	{"begin if nosuch(1) then null; end if; end", dirty},
	{"begin return nosuch(1); end", dirty},
	{"begin insert into t values (nosuch(1)); end", dirty},
	{"begin for r in select nosuch(1) loop null; end loop; end", dirty},
	{"begin create table x as select nosuch(1); end", dirty},
	{"begin perform 1 as with, nosuch(1); end", dirty},
	{"begin call nosuch(); end", dirty},
	{"begin call dynamic('x'); end", dirty},
	{"begin create operator +++ (leftarg = int, function = tenant); end", dirty},
	{"begin alter table t alter v set default tenant('x'); end", dirty},
	{"begin perform 1 from dirtyview; end", dirty},
	{"begin perform (1; end", dirty},
	{"begin 'unterminated", dirty},
	{"begin perform 1); end", dirty},
}

func codeCatalogue(t *testing.T) *sqlclass.Catalogue {
	return load(t, func(r recorded) {
		r[sqlclass.RoutinesQuery] = append(r[sqlclass.RoutinesQuery],
			routine("30001", "ddl", "v", "0", "plpgsql", "", "begin create table x (a int); end"),
			[]string{"30002", "maker", "p", "v", "0", "plpgsql", "", "begin perform ddl(); commit; end"},
			[]string{"30003", "plain", "p", "v", "0", "plpgsql", "", "begin insert into t values (1); commit; set local a.b = 1; call plain(); end"},
			[]string{"30004", "setter", "p", "v", "0", "plpgsql", "", "begin set a.b = 1; end"},
			[]string{"30005", "twice", "p", "v", "0", "sql", "", "select 1"},
			[]string{"30006", "twice", "p", "v", "1", "plpgsql", "", "begin listen x; end"},
			[]string{"30007", "over", "p", "v", "0", "sql", "", "call setter()"})
	})
}

// kindOf tells what a write is by what it binds.
func kindOf(t *testing.T, r *sqlclass.Result) string {
	t.Helper()
	if r.Access == sqlclass.AccessRead || r.Harmless {
		return "read"
	}
	switch r.Binds {
	case 0:
		return clean
	case sqlclass.BindsDDL:
		return changes
	case sqlclass.BindsDDL | sqlclass.BindsTaint | sqlclass.BindsPin:
		return dirty
	}
	t.Errorf("binds %x", r.Binds)
	return "odd"
}

func TestDo(t *testing.T) {
	cat := codeCatalogue(t)
	for _, c := range codes {
		for _, sql := range []string{"do $body$" + c.body + "$body$", "DO LANGUAGE plpgsql '" + strings.ReplaceAll(c.body, "'", "''") + "'", "do $$" + c.body + "$$ language 'plpgsql'"} {
			if strings.Contains(c.body, "\\") && strings.Contains(sql, "'") && sql[1] == 'O' {
				continue // it would be another text
			}
			r := classify(cat, sql)
			if got := kindOf(t, r); got != c.want || !r.CallsProc {
				t.Errorf("%s: %s, want %s", sql, got, c.want)
			}
		}
	}
	for sql, want := range map[string]string{
		"do language sql 'insert into t values (1)'": clean, "do language plperl ''": dirty, "do e'begin end'": dirty, "do 'begin'\n' end'": dirty,
		"do '' 'x'": dirty, "do": dirty, "do x": dirty, "do language": dirty, "do U&'begin end'": dirty, `do "x"`: dirty,
	} {
		if got := kindOf(t, classify(cat, sql)); got != want {
			t.Errorf("%s: %s, want %s", sql, got, want)
		}
	}
	hidden := load(t, func(r recorded) { r[sqlclass.HiddenQuery] = [][]string{{"cast", "21005"}} })
	triggers := load(t, func(r recorded) { r[sqlclass.TriggersQuery] = append(r[sqlclass.TriggersQuery], []string{"21008"}) })
	for _, cat := range []*sqlclass.Catalogue{nil, triggers, hidden} {
		for _, sql := range []string{"do 'begin insert into t values (1); end'", "call plain()"} {
			if r := classify(cat, sql); r.Binds&sqlclass.BindsTaint == 0 {
				t.Errorf("%s: not tainted where nobody knows what runs", sql)
			}
		}
	}
	for _, sql := range []string{"select a from t", "copy (select a from t) to stdout"} {
		if r := classify(hidden, sql); r.Binds&sqlclass.BindsTaint == 0 || r.Access == sqlclass.AccessRead {
			t.Errorf("%s: a cast that is not clean is not noticed", sql)
		}
	}
	r := new(sqlclass.Result)
	opt := defaults
	opt.StandardConformingStrings = false
	sqlclass.Classify([]byte(`do $$ begin perform '\'', set_config('a', 'b', false) -- '; end $$`), cat, opt, r)
	if r.Binds&sqlclass.BindsTaint == 0 {
		t.Error("where a backslash escapes, a literal ends elsewhere")
	}
}

func TestCall(t *testing.T) {
	cat := codeCatalogue(t)
	for sql, want := range map[string]string{
		"call plain()": clean, "call public.plain(price(1))": clean, "call maker()": changes, "call setter()": dirty, "call over()": dirty, "call nosuch()": dirty,
		"call twice()": dirty, "call plain(tenant('x'))": dirty, "call plain(nosuch(1))": dirty, "call plain(1::money2)": clean, "call pg_temp.plain()": "pin",
		"call dynamic('x')": dirty, "select ddl()": changes,
	} {
		r := classify(cat, sql)
		if want == "pin" {
			if r.Binds != sqlclass.BindsPin {
				t.Errorf("%s: binds %x", sql, r.Binds)
			}
			continue
		}
		if got := kindOf(t, r); got != want || r.CallsProc != strings.HasPrefix(sql, "call") {
			t.Errorf("%s: %s, want %s", sql, got, want)
		}
	}
}

// TestTemporaryRelations: what makes or drops temporary relations alone changes
// the catalogue for nobody else.
func TestTemporaryRelations(t *testing.T) {
	cat := codeCatalogue(t)
	const temporary = sqlclass.BindsTemporary
	for sql, want := range map[string]sqlclass.Binds{
		"create temp table x (a int, b serial)": temporary, "create temporary table if not exists x as select 1": temporary,
		"create local temp sequence x": temporary, "create or replace temp view x as select 1": temporary, "create global temporary table x (like t)": temporary,
		"create temp recursive view x (a) as select 1": temporary, "create temp table x on commit drop as table t": temporary,
		"drop table pg_temp.x": temporary, "drop table if exists pg_temp.x, \"pg_temp\".y restrict": temporary, "drop view pg_temp_3.x": temporary,
		"drop table x": sqlclass.BindsDDL, "drop table pg_temp.x cascade": sqlclass.BindsDDL, "drop table pg_temp.x, y": sqlclass.BindsDDL,
		"drop table pg_temp": sqlclass.BindsDDL, "drop function pg_temp.f()": sqlclass.BindsDDL, "drop table": temporary, "drop type pg_temp.x": sqlclass.BindsDDL,
		"create table x (a int)": sqlclass.BindsDDL, "create table temp (a int)": sqlclass.BindsDDL, "create table pg_temp.x (a int)": sqlclass.BindsDDL,
		"create type pg_temp.x as (a int)": sqlclass.BindsDDL, "create temp function f() returns int language sql as ''": sqlclass.BindsDDL,
		"create unlogged table x (a int)": sqlclass.BindsDDL, "select 1 into temp x": sqlclass.BindsDDL, "create temp table x as select ddl()": sqlclass.BindsDDL | temporary,
		"explain create temp table x as select 1": 0, "explain analyze create temp table x as select 1": temporary,
		"create temp table x (a int); create table y (a int)": sqlclass.BindsDDL | temporary,
	} {
		if r := classify(cat, sql); r.Binds&(sqlclass.BindsDDL|temporary) != want {
			t.Errorf("%s: binds %x, want %x", sql, r.Binds, want)
		}
	}
	creates := load(t, func(r recorded) {
		r[sqlclass.RoutinesQuery] = append(r[sqlclass.RoutinesQuery], routine("30001", "ddl", "v", "0", "plpgsql", "", "begin create table x (a int); end"))
		r[sqlclass.TriggersQuery] = append(r[sqlclass.TriggersQuery], []string{"30001"})
	})
	for _, cat := range []*sqlclass.Catalogue{nil, creates} {
		for _, sql := range []string{"create temp table x (a int)", "drop table pg_temp.x"} {
			if r := classify(cat, sql); r.Binds&sqlclass.BindsDDL == 0 {
				t.Errorf("%s: an event trigger may change the catalogue", sql)
			}
		}
	}
}
