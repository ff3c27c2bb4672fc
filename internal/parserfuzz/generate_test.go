package parserfuzz_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// generator makes statements by a grammar. One leaf in many is one that must be
// noticed.
type generator struct {
	random *rand.Rand
	depth  int
}

func (g *generator) pick(from ...string) string { return from[g.random.IntN(len(from))] }

func (g *generator) one(in int) bool { return g.random.IntN(in) == 0 }

func (g *generator) statement() string {
	g.depth = 0
	switch g.random.IntN(16) {
	case 0:
		return "explain " + g.pick("", "analyze ", "(costs off) ", "verbose ") + g.query()
	case 1:
		return "copy (" + g.query() + ") to " + g.pick("stdout", "stdout", "stdout with (format csv)", "'/dev/null'", "program 'cat'")
	case 2:
		return g.query() + "; " + g.query()
	case 3:
		return "(" + g.query() + ") " + g.pick("union all", "except", "intersect") + " (" + g.query() + ")"
	case 4:
		return g.pick("insert into t ", "create table n as ", "declare c cursor for ", "prepare p as ") + g.query()
	}
	return g.query()
}

func (g *generator) query() string {
	g.depth++
	defer func() { g.depth-- }()
	var b strings.Builder
	if g.one(5) {
		b.WriteString("with " + g.pick("", "", "recursive ") + g.common())
		if g.one(3) {
			b.WriteString(", " + g.common())
		}
	}
	if g.one(12) {
		return b.String() + g.pick("table "+g.relation(), "values ("+g.expression()+", "+g.expression()+")")
	}
	b.WriteString(" select " + g.pick("", "", "", "distinct ", "all ", "distinct on ("+g.expression()+") "))
	for i := range 1 + g.random.IntN(3) {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(g.expression() + g.pick("", "", "", " as c", ` as "C"`, " as with", " as nextval", " label"))
	}
	if g.one(40) {
		b.WriteString(" into " + g.pick("", "temp ", "table ") + "n")
	}
	if !g.one(8) {
		b.WriteString(" from " + g.from())
		if g.one(3) {
			b.WriteString(g.pick(", ", " cross join ", " natural left join ") + g.from())
		}
		if g.one(5) {
			b.WriteString(g.pick(" join ", " full outer join ") + g.from() + " on (" + g.expression() + ")")
		}
	}
	if g.one(2) {
		b.WriteString(" where " + g.expression())
	}
	if g.one(6) {
		b.WriteString(" group by " + g.pick(g.expression(), "grouping sets (("+g.expression()+"), ())", "rollup ("+g.expression()+")"))
		if g.one(2) {
			b.WriteString(" having " + g.expression())
		}
	}
	if g.one(8) {
		b.WriteString(" window w as (partition by " + g.expression() + ")")
	}
	if g.one(5) {
		b.WriteString(" order by " + g.expression() + g.pick("", " desc", " nulls last", " using <"))
	}
	if g.one(6) {
		b.WriteString(g.pick(" limit 1", " limit ("+g.expression()+") offset 1", " fetch first row only"))
	}
	if g.one(30) {
		b.WriteString(g.pick(" for update", " for share nowait", " for no key update of t", " for key share skip locked"))
	}
	return b.String()
}

func (g *generator) common() string {
	if g.one(30) {
		return "w" + g.pick("", "(a)") + " as (" + g.pick("delete from t", "insert into t values (1)", "update t set v = 'x'") + " returning id)"
	}
	return g.pick("w", "w2", "x", `"W"`) + g.pick("", "(a)") + " as " + g.pick("", "materialized ", "not materialized ") + "(" + g.query() + ")"
}

func (g *generator) relation() string {
	if g.one(40) {
		return g.pick("vn", "ul", "s", "parent", "bad_noisy", "bad_over", "bad_policy", "bad_column", `"Bad Mixed"`, "Public.Bad_Lock", "pg_stat_activity", "pg_temp.x", "twins", "information_schema.columns")
	}
	return g.pick("t", "t", "public.t", "only t", "v_quiet", "V_OVER", `"V Mixed"`, "r_tenant", "t_domain", "t_extension", "shop", "mv", "pg_class", "pg_catalog.pg_tables", "w", "moody", "child1", "v_rule")
}

func (g *generator) from() string {
	if g.depth < 3 && g.one(4) {
		return g.pick("", "lateral ") + "(" + g.query() + ") " + g.pick("q", "as q", "as q(a, b)", `"Q"`)
	}
	if g.one(6) {
		return g.pick("", "lateral ") + g.call() + g.pick(" f", " as f(a)", " with ordinality as f(a, b)", "")
	}
	return g.relation() + g.pick("", "", " x", " as x", " x(a)", " tablesample bernoulli (10)", ` "X"`)
}

func (g *generator) call() string {
	if g.one(30) {
		return g.pick("nextval", "noisy", "liar", "public.fws", "pg_advisory_lock", `"pg_advisory_xact_lock"`, "set_config", "locker", "pg_catalog . currval", "sumv", "pg_sleep_evil", "bad_body", "tenant", "pg_notify", "lo_get") +
			"(" + g.expression() + ")"
	}
	name := g.pick("abs", "count", "max", "quiet", "price", "public.good_body", "now", "lower", "pg_catalog.length", "coalesce", "greatest", "nullif", "generate_series", "Fr", `"Odd Name"`, "random", "unnest", "jsonb_agg", "sums", "left", "row", "hstore", "current_setting")
	switch name {
	case "now", "random", "Fr", "public.good_body":
		return name + "()"
	case "count":
		return "count(*)" + g.pick("", " filter (where "+g.expression()+")", " over w", " over (order by "+g.expression()+")")
	case "current_setting":
		return name + "(" + g.pick("'app.tenant'", "'port'", "'Role'", "'a.b' || 'c'", "v") + ")"
	case "generate_series", "nullif", "left":
		return name + "(" + g.expression() + ", " + g.expression() + ")"
	}
	return name + "(" + g.expression() + ")"
}

func (g *generator) expression() string {
	g.depth++
	defer func() { g.depth-- }()
	if g.depth > 5 {
		return g.leaf()
	}
	switch g.random.IntN(16) {
	case 0:
		return "(" + g.expression() + ")"
	case 1:
		return g.expression() + g.pick(" + ", " = ", " || ", " < ", " and ", " is distinct from ", " like ", " operator(pg_catalog.*) ", " <*> ") + g.expression()
	case 2:
		return g.call()
	case 3:
		return "case when " + g.expression() + " then " + g.expression() + " else " + g.expression() + " end"
	case 4:
		return "cast(" + g.expression() + " as " + g.typeName() + ")"
	case 5:
		return g.leaf() + "::" + g.typeName()
	case 6:
		return g.leaf() + g.pick(" in ", " not in ", " = any ", " = all ") + "(" + g.pick(g.query(), "array[1, 2]") + ")"
	case 7:
		return g.pick("exists ", "array", "") + "(" + g.query() + ")"
	case 8:
		return g.leaf() + g.pick(" between 1 and ", " is null or ", " not between (2) and ") + g.leaf()
	case 9:
		return g.pick("row(1, 2)", "array[1, 2]", "(1, 2)", "not true", "- 1", "(array[1])[1]", "(row(1, 2)).f1", "x.*", "(x).id")
	case 10:
		if g.one(12) {
			return g.leaf() + " <+> " + g.leaf()
		}
	}
	return g.leaf()
}

func (g *generator) typeName() string {
	if g.one(30) {
		return g.pick("d_bad", "D_BadOver", "c_bad", "public.c_nested", "d_bad[]", "_d_bad", `"c_cast"`)
	}
	return g.pick("int", "text", "numeric(10, 2)", "varchar(3)", "d_good", "public.d_over", "mood", "pair", "timestamp(3) with time zone", "citext", "int[]", "regclass", "interval second(3)")
}

func (g *generator) leaf() string {
	if g.one(80) {
		return g.pick("x.locker", "(x.id).noisy", "(1::bigint).pg_advisory_lock", "x.nextval", "currval('s')", "pg_backend_pid()", "txid_current()")
	}
	return g.pick("1", "2.5", "'a'", "null", "true", "id", "v", "t.id", "x.id", `"id"`, "$1", "E'\\''", "$$a$$", "'it''s'", "b'1'", "current_date", "current_user", "localtime", "interval '1 day'", "U&'\\0061'",
		fmt.Sprint("c", g.random.IntN(50)), fmt.Sprint("x.c", g.random.IntN(50)), "'a' /* ; */", "-- x\n1", "q.a", "now()")
}
