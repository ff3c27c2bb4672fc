package sqlclass_test

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// hiddenCall is the function that the splices try to hide, in several spellings.
const hiddenCall = "pg_try_advisory_lock"

var hiddenCalls = []string{
	"pg_try_advisory_lock(1)", `"pg_try_advisory_lock"(1)`, "pg_catalog.pg_try_advisory_lock(1)", "Pg_Try_Advisory_Lock /**/ (1)",
	"(1::bigint).pg_try_advisory_lock", "pg_catalog . \"pg_try_advisory_lock\"(1::bigint)",
}

// spliceSeeds are queries with much structure, and spliceWords the words that the
// classifier reacts to.
var spliceSeeds = []string{
	"with a(x, y) as (select 1, 2), b(z) as materialized (select 3) select * from a, b",
	"with recursive a(n) as (select 1 union all select n + 1 from a where n < 3) search depth first by n set o select n, o from a order by n, o",
	"with a as (select 1 as x) (select x from a) order by x, x limit 1 offset 0",
	"select distinct on (id) id, v from t order by id, v",
	"select count(*) filter (where id > 1) over (partition by v order by id rows between 1 preceding and current row) c from t x",
	"select * from generate_series(1, 3) g(i) join t on (t.id = g.i) left join lateral (select 1 as k) l on (true)",
	"select cast(id as numeric(10, 2)), id::varchar(10), v as w, interval '1' second(3), timestamp(3) '2020-01-01' from t as q(id, v, n, at)",
	"select * from (values (1, 'a'), (2, 'b')) as v(id, name) where id in (1, 2) and not (name = any (array['a'])) or exists (select 1)",
	"select case when (id > 1) then (1) else (2) end, coalesce(id, 1), row(1, 2), array[1, 2] from t group by grouping sets ((id), ()) having (count(*) > 0)",
	"select a operator(pg_catalog.+) 1 as as_, a between (1) and (2), substring('abc' from 1 for 2) from (select 1 as a) as z",
	"select * from rows from (generate_series(1, 2), generate_series(1, 3)) as r(a, b) tablesample system (10)",
	"select * from t tablesample bernoulli (10) repeatable (1) where id = 1 for update of t",
	"select x.id, (x).v, x.* from t as x natural join (select 1 as id) y window w as (partition by id)",
	"table t", "values (1, 2), (3, 4)", "(select 1) union all (select 2) except (select 3) order by 1",
	"select sum(id) over w, percentile_cont(0.5) within group (order by id) from t group by id window w as (order by id)",
	"select * from unnest(array[1, 2]) with ordinality as u(a, b) fetch first (1) rows with ties",
	"select 1 as with, 2 as select, 3 as recursive, 4 as into, 5 as on, 6 as operator from t",
	"select json_build_object('a', 1) -> 'a', xmlelement(name a, xmlattributes(v as c)) from t",
}

var spliceWords = strings.Fields("as with on into recursive over filter operator ( ) , . :: select values table from by set search using materialized not distinct for update all " +
	"union order limit lateral is in and or then else any row array cast within group union x \"x\" 'x' 1 -- /*x*/ = + * order asc")

// testSplices builds texts at random and asks the server what it makes of them:
// whenever the plan of an accepted text has the call in it, it must be a write
// that pins.
func testSplices(t *testing.T, conn *pgx.Conn, cat *sqlclass.Catalogue) {
	n := 5000
	if s := os.Getenv("PGROUTE_SPLICES"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	accepted, calls := 0, 0
	for range n {
		sql := splice(random)
		rows, err := conn.PgConn().Exec(t.Context(), "explain verbose "+sql).ReadAll()
		if err != nil || len(rows) != 1 {
			continue
		}
		accepted++
		var plan strings.Builder
		for _, row := range rows[0].Rows {
			plan.Write(row[0])
		}
		if !strings.Contains(plan.String(), hiddenCall+"(") {
			continue
		}
		calls++
		if r := classify(cat, sql); r.Access == sqlclass.AccessRead || r.Binds&sqlclass.BindsPin == 0 {
			t.Errorf("seed %d: %s: %v, %v, binds %x, but the plan is\n%s", seed, sql, r.Access, r.Reason, r.Binds, plan.String())
		}
	}
	t.Logf("%d texts, %d accepted by the server, %d with the call", n, accepted, calls)
	if calls < n/100 {
		t.Errorf("only %d of %d texts call the function", calls, n)
	}
}

// splice changes a seed in a few places.
func splice(random *rand.Rand) string {
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	tokens := words(pick(spliceSeeds))
	if random.IntN(8) == 0 {
		other := words(pick(spliceSeeds))
		tokens = append(tokens[:random.IntN(len(tokens))], other[random.IntN(len(other)):]...)
	}
	for range 1 + random.IntN(2) {
		at := random.IntN(len(tokens) + 1)
		switch random.IntN(6) {
		case 0:
			tokens = slices.Insert(tokens, at, pick(spliceWords))
		case 1:
			tokens = slices.Insert(tokens, at, ",", pick(hiddenCalls))
		case 2:
			tokens = slices.Insert(tokens, at, pick(hiddenCalls), ",")
		case 3:
			tokens = slices.Insert(tokens, at, pick(hiddenCalls))
		case 4:
			if at < len(tokens) {
				tokens[at] = pick(hiddenCalls)
			}
		case 5:
			if at < len(tokens) {
				tokens[at] = pick(spliceWords)
			}
		}
	}
	return strings.Join(tokens, " ")
}

func words(sql string) []string {
	var list []string
	for _, token := range sqlclass.Tokens([]byte(sql), true) {
		list = append(list, string(token))
	}
	return list
}
