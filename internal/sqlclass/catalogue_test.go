package sqlclass_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// TestFunctionBodies: what a STABLE function may contain to be a read.
func TestFunctionBodies(t *testing.T) {
	const (
		read  = "read"  // a read
		write = "write" // goes to the primary
		taint = "taint" // may change the session, too
	)
	for _, c := range []struct{ language, body, want string }{
		{"sql", "select count(*) from t where a = $1", read},
		{"plpgsql", "declare x int := 1; begin <<l>> loop x := x + 1; exit l when x > 3; end loop; return x; end", read},
		{"plpgsql", "begin select a into strict x from t; return x; end", read},
		{"plpgsql", "begin return 'execute; set x = 1; nextval()'; /* execute */ end", read},
		{"plpgsql", "begin return helper($1); end", read},
		{"plpgsql", "begin return volatilehelper($1); end", write},
		{"plpgsql", "begin update t set a = 1; return 1; end", write},
		{"plpgsql", "begin insert into t values (1) on conflict (a) do update set b = 2; return 1; end", write},
		{"plpgsql", "begin perform 1 from t for key share; end", write},
		{"plpgsql", "begin return nextval('s'); end", write},
		{"plpgsql", "begin return (select count(*) from vn); end", write},
		{"plpgsql", "begin return (select last_value from s); end", write},
		{"plpgsql", "begin return (select count(*) from pg_stat_activity); end", write},
		{"plpgsql", "begin return 1 === 2; end", write},
		{"plpgsql", "begin return x.currval from t x; end", write},
		{"plpgsql", "begin notify a; return 1; end", read}, // the server refuses it on a replica
		{"plpgsql", "begin return count(*) from dirtyview; end", taint},
		{"plpgsql", "begin perform set_config('a.b', '1', false); end", taint},
		{"plpgsql", `begin perform "set_config"('a.b', '1', false); end`, taint},
		{"plpgsql", "begin set work_mem = 1; end", taint},
		{"plpgsql", "begin if a then set work_mem = 1; end if; end", taint},
		{"plpgsql", "begin update t set a = 1; set work_mem = 1; end", taint},
		{"plpgsql", "begin reset work_mem; end", taint},
		{"plpgsql", "begin listen a; end", taint},
		{"plpgsql", "begin return query execute x; end", taint},
		{"plpgsql", "begin create temp table x (a int); end", taint},
		{"plpgsql", "begin perform 1 from pg_temp.x; end", taint},
		{"plpgsql", "begin load 'x'; end", taint},
		{"plpgsql", "begin perform pg_advisory_lock(1); end", taint},
		{"plpgsql", "begin return locker(1); end", taint},
		{"plpgsql", "begin return viadirty(1); end", taint},
		{"plpgsql", "begin return mystery(1); end", taint},
		{"plpgsql", "begin return current_setting('app.tenant', true); end", read},
		{"plpgsql", "begin return pg_catalog.current_setting('app.tenant'); end", read},
		{"plpgsql", "begin return current_setting('transaction_read_only'); end", write},
		{"plpgsql", "begin return current_setting('app.' || x); end", write},
		{"plpgsql", "begin return current_setting(x); end", write},
		{"plpgsql", `begin return "current_setting"('app.tenant'); end`, write},
		{"plpgsql", "begin 'unterminated", taint},
		{"plperl", "1", taint},
		{"c", "", taint},
		{"internal", "set_config_by_name", taint},
	} {
		cat := load(t, func(r recorded) {
			r[sqlclass.RoutinesQuery] = append(r[sqlclass.RoutinesQuery],
				routine("30000", "tested", "s", "1", c.language, "", c.body),
				routine("30001", "helper", "s", "1", "sql", "", "select 1"),
				routine("30002", "volatilehelper", "v", "1", "sql", "", "select 1"),
				routine("30003", "viadirty", "v", "1", "sql", "", "select dirtier()"),
				routine("30004", "dirtier", "v", "0", "plpgsql", "", "begin execute x; end"))
		})
		r := classify(cat, "select tested(1)")
		got := read
		switch {
		case r.Binds&sqlclass.BindsTaint != 0:
			got = taint
		case r.Access == sqlclass.AccessWrite:
			got = write
		}
		if got != c.want {
			t.Errorf("%s: %s: %s, want %s", c.language, c.body, got, c.want)
		}
	}
}

func TestDirtyTriggers(t *testing.T) {
	dirty := func(r recorded) {
		r[sqlclass.TriggersQuery] = append(r[sqlclass.TriggersQuery], []string{"21008"})
	}
	byDefault := func(r recorded) {
		r[sqlclass.ExpressionsQuery] = append(r[sqlclass.ExpressionsQuery], []string{"w", "", "funcid", "21005"})
	}
	builtin := func(r recorded) { // 2078 is set_config
		r[sqlclass.ExpressionsQuery] = append(r[sqlclass.ExpressionsQuery], []string{"w", "", "funcid", "2078"})
	}
	byOperator := func(r recorded) {
		r[sqlclass.OperatorsQuery] = append(r[sqlclass.OperatorsQuery], []string{"22003", "<->", "21008"})
		r[sqlclass.ExpressionsQuery] = append(r[sqlclass.ExpressionsQuery], []string{"w", "", "opno", "22003"})
	}
	if cat := load(t); cat.DirtyTriggers {
		t.Error("clean triggers are dirty")
	}
	for i, change := range []func(recorded){dirty, byDefault, builtin, byOperator} {
		cat := load(t, change)
		if !cat.DirtyTriggers {
			t.Errorf("case %d: not dirty", i)
		}
		for sql, want := range map[string]bool{
			"insert into t values (1)": true, "update t set a = 1": true, "delete from t": true, "copy t from stdin": true, "truncate t": true,
			"with x as (insert into t values (1)) select 1": true, "merge into t using s on true when matched then delete": true,
			"with x as (select nextval('s')), y as (delete from t) select 1": true, "select 1 into x": true,
			"explain analyze delete from t": true, "insert into t values (1) on conflict do nothing": true, "alter table t add a int": true,
			"select 1": false, "select nextval('s')": false, "set a.b = 1": false, "begin": false, "copy t to stdout": false, "select * from t for update": false, "select * from t for no key update": false,
		} {
			if r := classify(cat, sql); (r.Binds&sqlclass.BindsTaint != 0) != want {
				t.Errorf("case %d: %s: binds %x", i, sql, r.Binds)
			}
		}
	}
}

// TestHiddenFunctions: casts, operators behind keywords, operator classes.
func TestHiddenFunctions(t *testing.T) {
	for why, c := range map[string]struct {
		change func(recorded)
		want   sqlclass.Reason
	}{
		"a safe cast":               {func(r recorded) { r[sqlclass.HiddenQuery] = [][]string{{"cast", "21009"}} }, sqlclass.ReasonRead},
		"a volatile cast":           {func(r recorded) { r[sqlclass.HiddenQuery] = [][]string{{"cast", "21016"}} }, sqlclass.ReasonUserCast},
		"a safe operator class":     {func(r recorded) { r[sqlclass.HiddenQuery] = [][]string{{"class", "21010"}} }, sqlclass.ReasonRead},
		"a C operator class":        {func(r recorded) { r[sqlclass.HiddenQuery] = [][]string{{"class", "21011"}} }, sqlclass.ReasonRead},
		"a volatile class":          {func(r recorded) { r[sqlclass.HiddenQuery] = [][]string{{"class", "21016"}} }, sqlclass.ReasonUserOperator},
		"a safe equality":           {func(r recorded) { r[sqlclass.OperatorsQuery] = [][]string{{"1", "=", "21009"}} }, sqlclass.ReasonRead},
		"a C equality":              {func(r recorded) { r[sqlclass.OperatorsQuery] = [][]string{{"1", "=", "21011"}} }, sqlclass.ReasonRead},
		"a volatile equality":       {func(r recorded) { r[sqlclass.OperatorsQuery] = [][]string{{"1", "=", "21016"}} }, sqlclass.ReasonUserOperator},
		"an equality that is dirty": {func(r recorded) { r[sqlclass.OperatorsQuery] = [][]string{{"1", "=", "21006"}} }, sqlclass.ReasonUserOperator},
	} {
		cat := load(t, c.change)
		if r := classify(cat, "select a from t where a in (1, 2)"); r.Reason != c.want {
			t.Errorf("%s: %v", why, r.Reason)
		}
	}
}

// TestKeywordsThatAreFunctions: a word that may stand before a parenthesis is a
// call where a function of that name exists.
func TestKeywordsThatAreFunctions(t *testing.T) {
	cat := load(t, func(r recorded) {
		for i, fn := range []string{"filter", "over", "json_query", "path", "within", "first"} {
			r[sqlclass.RoutinesQuery] = append(r[sqlclass.RoutinesQuery], routine("3000"+string(rune('0'+i)), fn, "v", "1", "sql", "", "select 1"))
		}
	})
	for _, sql := range []string{"select filter(1)", "select over(1)", "select distinct on (a) within(1) from t", "select json_query(1)", "select 1, path(1)", "select first(1)"} {
		if r := classify(cat, sql); r.Reason != sqlclass.ReasonVolatileFunction {
			t.Errorf("%s: %v, %v", sql, r.Access, r.Reason)
		}
	}
}

// TestOwnCurrentSetting: a user's function of that name is not taken for the
// server's.
func TestOwnCurrentSetting(t *testing.T) {
	cat := load(t, func(r recorded) {
		r[sqlclass.RoutinesQuery] = append(r[sqlclass.RoutinesQuery],
			routine("30000", "current_setting", "v", "1", "sql", "", "select nextval('s')"),
			routine("30001", "tested", "s", "0", "sql", "", "select current_setting('app.tenant')"))
	})
	if r := classify(cat, "select tested()"); r.Access == sqlclass.AccessRead {
		t.Error("a user's volatile function is believed")
	}
}

// TestWorstOfOneName: several relations of one name are as good as the worst of them, in
// whatever order the server names them.
func TestWorstOfOneName(t *testing.T) {
	rows := [][]string{{"31000", "pg_locks", "f"}, {"31001", "good", "v"}, {"31002", "good", "S"}, {"31003", "pg_tables", "v"}, {"31004", "better", "v"}}
	for range 2 {
		slices.Reverse(rows)
		cat := load(t, func(r recorded) {
			r[sqlclass.RelationsQuery] = slices.Concat(rows[:3], r[sqlclass.RelationsQuery], rows[3:])
			r[sqlclass.ExpressionsQuery] = append(r[sqlclass.ExpressionsQuery], []string{"v", "31003", "unsafe", "0"})
		})
		for sql, want := range map[string]sqlclass.Reason{
			"select * from pg_locks": sqlclass.ReasonForeignTable, "select * from good": sqlclass.ReasonSequence,
			"select * from pg_tables": sqlclass.ReasonView, "select * from better": sqlclass.ReasonRead,
		} {
			if r := classify(cat, sql); r.Reason != want || r.Harmless != (want == sqlclass.ReasonRead) {
				t.Errorf("%s: %v, harmless %v", sql, r.Reason, r.Harmless)
			}
		}
	}
}

// TestNamesBeyondASCII: such names depend on client_encoding, so they are careful
// where one of them is special.
func TestNamesBeyondASCII(t *testing.T) {
	cat := load(t, func(r recorded) {
		r[sqlclass.RelationsQuery] = append(r[sqlclass.RelationsQuery], []string{"30000", "größe", "f"})
	})
	for _, sql := range []string{"select * from größe", "select * from gr\xf6\xdfe", "select \"Ä\" from t"} {
		if r := classify(cat, sql); r.Reason != sqlclass.ReasonView {
			t.Errorf("%q: %v", sql, r.Reason)
		}
	}
}

type failing struct{ at string }

func (f failing) Query(_ context.Context, sql string) ([][]string, error) {
	if strings.Contains(sql, f.at) {
		return nil, errFailing
	}
	return nil, nil
}

var errFailing = errors.New("no such server")

func TestLoadFails(t *testing.T) {
	for _, at := range []string{"hashint8extended", "server_version_num", "pg_aggregate", "pg_operator", "evtfoid", "castfunc", "rngsubdiff", "polwithcheck"} {
		if _, err := sqlclass.Load(context.Background(), failing{at}); !errors.Is(err, errFailing) {
			t.Errorf("%s: %v", at, err)
		}
	}
	r := record(t)
	r[sqlclass.TypesQuery] = [][]string{{"1", "a", "b"}}
	if _, err := sqlclass.Load(context.Background(), r); err == nil {
		t.Error("rows with too many columns are taken")
	}
	r = record(t)
	r[sqlclass.VersionQuery] = [][]string{{"fifteen"}}
	if _, err := sqlclass.Load(context.Background(), r); err == nil {
		t.Error("a version that is no number is taken")
	}
}

func TestFingerprint(t *testing.T) {
	a := sqlclass.Fingerprint([][]string{{"1", "2", "3"}, {"2", "0", "0"}})
	if a != sqlclass.Fingerprint([][]string{{"1", "2", "3"}, {"2", "0", "0"}}) {
		t.Error("not the same twice")
	}
	if a == sqlclass.Fingerprint([][]string{{"1", "23", ""}, {"2", "0", "0"}}) {
		t.Error("fields run into each other")
	}
}
