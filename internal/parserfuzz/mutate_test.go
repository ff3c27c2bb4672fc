package parserfuzz_test

import (
	"math/rand/v2"
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// mutator makes statements: it changes seeds in a few places, and makes some at
// random.
type mutator struct {
	random *rand.Rand
	seeds  [][]string // cut into tokens
	gen    generator
}

func newMutator(random *rand.Rand, texts []string) *mutator {
	m := &mutator{random: random, gen: generator{random: random}}
	for _, text := range slices.Concat(texts, moreSeeds) {
		if tokens := tokenize(text); len(tokens) > 0 {
			m.seeds = append(m.seeds, tokens)
		}
	}
	return m
}

// tokenize cuts a text with PostgreSQL's own scanner.
func tokenize(text string) []string {
	result, err := pg_query.Scan(text)
	if err != nil {
		return nil
	}
	var tokens []string
	for _, t := range result.GetTokens() {
		switch t.GetToken() {
		case pg_query.Token_SQL_COMMENT, pg_query.Token_C_COMMENT:
			continue
		}
		tokens = append(tokens, text[t.GetStart():t.GetEnd()])
	}
	return tokens
}

// moreSeeds are queries over the adversarial objects.
var moreSeeds = []string{
	"select id, v from t where id = 1", "select * from v_over join v_quiet using (q)", "select a.b from t_domain a where a.a > 3::d_good",
	"with a(x, y) as (select 1, 2), b(z) as materialized (select 3) select * from a, b",
	"with recursive a(n) as (select 1 union all select n + 1 from a where n < 3) search depth first by n set o select n, o from a order by n, o",
	"select distinct on (id) id, v from t order by id, v", "copy (select * from t) to stdout", "explain (analyze, costs off) select * from t",
	"select count(*) filter (where id > 1) over (partition by v order by id rows between 1 preceding and current row) c from t x",
	"select (x).id, x.fr from t as x natural join (select 1 as id) y window w as (partition by id)", "begin read only; select 1; commit",
	"select a operator(pg_catalog.+) 1 as as_, a between (1) and (2), substring('abc' from 1 for 2) from (select 1 as a) as z",
	"select json_build_object('a', 1) -> 'a', xmlelement(name a, xmlattributes(v as c)) from t", "select a::text from t_castable",
	"select * from rows from (generate_series(1, 2), generate_series(1, 3)) as r(a, b)", "select '(1,a)'::c_good === '(1,b)'::c_good",
	"select cast(id as numeric(10, 2)), v as w, interval '1' second(3), timestamp(3) '2020-01-01' from t as q(id, v, n, at)",
	"select * from unnest(array[1, 2]) with ordinality as u(a, b) fetch first (1) rows with ties", "select 1; select 2; select 3",
	"select * from t_extension where a = 'x' and b ? 'a' or c @> 'a.b'::ltree", "select current_setting('app.tenant'), current_setting('role', true)",
	"select U&'d\\0061t' , E'a\\'b', $$c$$, $x$d$x$, b'01', x'1f', n'e', 'f' 'g' from t", `select "V Mixed".id, t."id" from "V Mixed", public.t`,
}

// fragments are put into statements: what must be noticed, and what may hide it.
var fragments = []string{
	"nextval('s')", "pg_catalog.nextval('s')", `"nextval"('s')`, "NextVal /**/ ('s')", "pg_advisory_lock(1)", "pg_try_advisory_lock(1)", "(1::bigint).pg_try_advisory_lock",
	"set_config('a.b', 'c', false)", "noisy(1)", "public.noisy(1)", "liar(1)", "fw()", "tenant('x')", "locker(1)", "x.locker", "(x.id).noisy", "pg_notify('a', 'b')",
	"txid_current()", "lo_create(0)", "sumv(id)", "sumv(id) over ()", "1 <+> 2", "1 operator(public.<+>) 2", "1::d_bad", "d_bad '1'", "cast(1 as public.d_bad)", "null::c_nested",
	"(select n from bad_over)", "exists (table bad_policy)", "(select count(*) from ul)", "(select last_value from s)", "any (select n from vn)", "row('(1)'::c_cast)",
	"bad_noisy", "bad_lock", "bad_unlogged", "s", "ul", "vn", "parent", `"Bad Mixed"`, "public . BAD_SEQUENCE", "pg_stat_activity", "information_schema.tables", "pg_temp.t",
	"for update", "for share of t", "for no key update", "into x", "into temp x", "into unlogged x from t", "; delete from t", "; drop table t", "; select nextval('s')", "; commit",
	"with w as (delete from t returning *)", "with w as (insert into t values (1) returning *), x as (select 1)", "with w(a) as not materialized (update t set v = 1 returning id)",
	"current_setting('port')", "current_setting('app.tenant')", "current_setting('in_hot_standby')", "pg_backend_pid()", "pg_is_in_recovery()",
	"good_body()", "quiet(1)", "v_over", "v_quiet", "t", "r_tenant", "t_domain", "5::d_over", "random()", "now()", "count(*)", "abs(1)", "price(2)",
	"'it''s; nextval('", `E'\'; nextval('`, "$q$ ; nextval('s') $q$", "/* for update /* into */ x */", "-- ; nextval('s')\n", `"a""b"`, "U&'\\0041'", "'a'\n'b'",
	`"select"`, `"for"`, "x.select", "x.into", "as into", "as with", "as nextval", "nextval", "filter", "over", "within", "lateral", "operator(pg_catalog.+)", "collate \"C\"",
	"tablesample bernoulli (1)", "with ordinality", "as x(a, b)", "as x", "x", "id", "a", "v", "*", "1", "'1'", "$1", "null", "(1, 2)", "array[1]", "[1]", "::int", "::text", ".a", "default",
}

var words = strings.Fields("as with on into recursive over filter operator ( ) ( ) , , . :: select values table from by set search using materialized not distinct for update all " +
	"union order limit lateral is in and or then else any row array cast within group intersect = + - * < asc case when end where having group explain analyze copy to stdout insert delete returning")

func (m *mutator) pick(from []string) string { return from[m.random.IntN(len(from))] }

// next returns a text, most of which parse.
func (m *mutator) next() string {
	if m.random.IntN(3) == 0 {
		text := m.gen.statement()
		if m.random.IntN(3) != 0 {
			return text
		}
		return m.join(m.mutate(tokenize(text)))
	}
	tokens := slices.Clone(m.seeds[m.random.IntN(len(m.seeds))])
	return m.join(m.mutate(tokens))
}

func (m *mutator) mutate(tokens []string) []string {
	if m.random.IntN(12) == 0 {
		other := m.seeds[m.random.IntN(len(m.seeds))]
		tokens = append(tokens[:m.random.IntN(len(tokens))], other[m.random.IntN(len(other)):]...)
	}
	for range 1 + m.random.IntN(2) {
		at := m.random.IntN(len(tokens) + 1)
		switch m.random.IntN(9) {
		case 0:
			tokens = slices.Insert(tokens, at, m.pick(words))
		case 1:
			tokens = slices.Insert(tokens, at, ",", m.pick(fragments))
		case 2:
			tokens = slices.Insert(tokens, at, m.pick(fragments), ",")
		case 3:
			tokens = slices.Insert(tokens, at, m.pick(fragments))
		case 4, 5: // the likeliest to parse: a name or a literal for another
			if at < len(tokens) {
				tokens[at] = m.pick(fragments)
			}
		case 6:
			if at < len(tokens) {
				tokens[at] = m.pick(words)
			}
		case 7:
			if other := m.seeds[m.random.IntN(len(m.seeds))]; at < len(tokens) {
				tokens[at] = other[m.random.IntN(len(other))]
			}
		case 8:
			if at < len(tokens) && len(tokens) > 1 {
				tokens = slices.Delete(tokens, at, at+1)
			}
		}
	}
	return tokens
}

func (m *mutator) join(tokens []string) string {
	switch m.random.IntN(8) {
	case 0:
		return strings.Join(tokens, "\n")
	case 1:
		return strings.Join(tokens, "/**/")
	case 2:
		return strings.Join(tokens, " /* ' \" $$ ; /* */ */ ")
	case 3:
		return strings.Join(tokens, " -- '\n")
	}
	return strings.Join(tokens, " ")
}
