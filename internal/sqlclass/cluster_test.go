package sqlclass_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/internal/sqlclass"
)

// monitor is a Querier over a connection of the monitor's role.
type monitor struct{ conn *pgx.Conn }

func (m monitor) Query(ctx context.Context, sql string) ([][]string, error) {
	results, err := m.conn.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for _, result := range results {
		for _, values := range result.Rows {
			row := make([]string, len(values))
			for i, value := range values {
				if value == nil {
					return nil, errors.New("a NULL")
				}
				row[i] = string(value)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func connect(t *testing.T, n *cluster.Node, user, password string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), n.DSN(user, password, cluster.AppDatabase))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func reload(t *testing.T, m monitor) *sqlclass.Catalogue {
	t.Helper()
	cat, err := sqlclass.Load(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

// TestRealServers loads the catalogue of a real server and lets a real standby
// judge: whatever is called a read must run there.
func TestRealServers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers")
	}
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	app := connect(t, c.Primary(), cluster.AppUser, cluster.AppPassword)
	super, err := c.Primary().Super(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = super.Close(context.WithoutCancel(t.Context())) }()
	if _, err := super.Exec(t.Context(), "grant create on schema public to "+cluster.AppUser); err != nil {
		t.Fatal(err)
	}
	m := monitor{connect(t, c.Primary(), cluster.MonitorUser, cluster.MonitorPassword)}
	runFile(t, app, "testdata/objects.sql")
	cat := reload(t, m)
	if cat.ServerVersion() >= 140000 {
		runFile(t, app, "testdata/objects14.sql")
		cat = reload(t, m)
	}
	if cat.DirtyTriggers {
		t.Error("a trigger that only sets a column is dirty")
	}
	t.Run("verdicts", func(t *testing.T) { testVerdicts(t, cat) })
	t.Run("standby", func(t *testing.T) { testStandby(t, c, app, cat) })
	t.Run("splices", func(t *testing.T) { testSplices(t, app, cat) })
	t.Run("fingerprint", func(t *testing.T) { testFingerprint(t, app, m) })
	if cat.ServerVersion() >= 150000 { // security_invoker
		t.Run("closure", func(t *testing.T) { testClosure(t, c, app, super, m) })
	}
	t.Run("dirty", func(t *testing.T) { testDirty(t, app, super, m) })
	t.Run("residue", func(t *testing.T) { testResidue(t, app, m) })
}

func runFile(t *testing.T, conn *pgx.Conn, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.PgConn().Exec(t.Context(), string(text)).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

func testVerdicts(t *testing.T, cat *sqlclass.Catalogue) {
	verdicts := map[string]sqlclass.Reason{
		"select * from t":                 sqlclass.ReasonRead,
		"select fr(), price(2)":           sqlclass.ReasonRead,
		"select * from mv":                sqlclass.ReasonRead,
		"select m, ms from moody":         sqlclass.ReasonRead,
		"select 'sad'::mood":              sqlclass.ReasonRead,
		"select 1 <*> 2, sums(id) from t": sqlclass.ReasonRead,
		`select "Odd Name"(1)`:            sqlclass.ReasonRead,
		"select * from child1":            sqlclass.ReasonRead,
		"select * from vn":                sqlclass.ReasonView,
		"select * from plain":             sqlclass.ReasonRead,
		"select * from ul":                sqlclass.ReasonUnlogged,
		"select * from parent":            sqlclass.ReasonUnlogged,
		"select * from s":                 sqlclass.ReasonSequence,
		"select * from shop":              sqlclass.ReasonRead,
		"select * from paired":            sqlclass.ReasonRead,
		"select * from rowtyped":          sqlclass.ReasonRead,
		"select 1::positive":              sqlclass.ReasonRead,
		"select '{1}'::_positive":         sqlclass.ReasonRead,
		"select '[1,2]'::span, span(1,2)": sqlclass.ReasonRead,
		"select '(1,2)'::pair":            sqlclass.ReasonRead,
		"select * from secret":            sqlclass.ReasonRead,
		"select fw()":                     sqlclass.ReasonVolatileFunction,
		"select fws()":                    sqlclass.ReasonVolatileFunction,
		"select fcatch()":                 sqlclass.ReasonVolatileFunction,
		"select lastseq()":                sqlclass.ReasonVolatileFunction,
		"select locker(1)":                sqlclass.ReasonVolatileFunction,
		"select tenant('x')":              sqlclass.ReasonUnknownFunction,
		"select hiddendefault()":          sqlclass.ReasonVolatileFunction,
		"select 1 <+> 2":                  sqlclass.ReasonUserOperator,
		"select sumv(id) from t":          sqlclass.ReasonVolatileFunction,
		"select * from pg_stat_activity":  sqlclass.ReasonServerState,
		"select * from pg_roles":          sqlclass.ReasonRead,
	}
	if cat.ServerVersion() >= 140000 {
		verdicts["select atomicread()"] = sqlclass.ReasonRead
		verdicts["select atomiclock()"] = sqlclass.ReasonVolatileFunction
		verdicts["select atomictenant()"] = sqlclass.ReasonUnknownFunction
		verdicts["select atomicseq()"] = sqlclass.ReasonVolatileFunction
	}
	for sql, want := range verdicts {
		if r := classify(cat, sql); r.Reason != want {
			t.Errorf("%s: %v because of %q, want %v", sql, r.Reason, r.Object, want)
		}
	}
}

// refusals are what a standby says to what it cannot do.
var refusals = map[string]bool{"25006": true, "0A000": true, "55000": true, "XX000": true}

// testStandby runs every read on the standby, and shows that the list has teeth:
// what the standby refuses is a write.
func testStandby(t *testing.T, c *cluster.Cluster, app *pgx.Conn, cat *sqlclass.Catalogue) {
	standby := connect(t, c.Replicas()[0], cluster.AppUser, cluster.AppPassword)
	var position string
	if err := app.QueryRow(t.Context(), "select pg_current_wal_flush_lsn()::text").Scan(&position); err != nil {
		t.Fatal(err)
	}
	for replayed := false; !replayed; {
		err := standby.QueryRow(t.Context(), "select pg_last_wal_replay_lsn() >= $1::pg_lsn", position).Scan(&replayed)
		if err != nil {
			t.Fatal(err)
		}
	}
	reads, refused := 0, 0
	statements := append(seeds(t), standbyStatements...)
	for _, sql := range statements {
		r := classify(cat, sql)
		if r.Access == sqlclass.AccessWrite && !strings.HasPrefix(strings.ToLower(sql), "select") {
			continue
		}
		state := sqlState(standby.PgConn().Exec(t.Context(), sql).ReadAll())
		if refusals[state] {
			refused++
		}
		if r.Access == sqlclass.AccessRead {
			reads++
			if refusals[state] {
				t.Errorf("%s: a read, but the standby says %s", sql, state)
			}
		}
		if standby.PgConn().TxStatus() != 'I' {
			_ = sqlState(standby.PgConn().Exec(t.Context(), "rollback").ReadAll())
		}
	}
	if reads < 50 || refused < 20 {
		t.Errorf("only %d reads and %d refusals", reads, refused)
	}
}

func sqlState(_ []*pgconn.Result, err error) string {
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	return ""
}

// standbyStatements beside the recorded ones: queries over the test's objects.
var standbyStatements = []string{
	"select id, v from t where id = 1", "select t.fr from t", "select (1).price", "select * from mv join t using (id)",
	"with a(x) as (select id from t) select count(*) filter (where x > 1) over (partition by x) from a",
	"select fr(), price(3), sums(id) from t", "select 1 <*> 2", "select m from moody", "copy (select * from t) to stdout", "copy t to stdout",
	"explain analyze select * from t", "select x.row_to_json from t x", "select x.fw from t x", "select * from vn", "select sumv(id) from t",
	"select * from ul", "select * from parent", "select * from t for update", "select 1 <+> 2", "select fws()", "select fcatch()",
	"select relname, pg_get_userbyid(relowner) from pg_class", "select * from pg_attribute a join pg_type y on y.oid = a.atttypid limit 3",
	"select string_agg(v, ',' order by id desc) within_group from t", "select jsonb_agg(t) from t", "select to_tsvector('english', v) from t",
	"select * from generate_series(1, 3) g(i), lateral (values (g.i)) v(j)", "select t.* from t tablesample bernoulli (50)",
	"select v::varchar(3), n::numeric(3,1) from t", "select extract(year from at), date_trunc('day', at) from t",
	"select case when id > 3 then 'a' else 'b' end from t group by grouping sets ((1), ())", "table t", "values (1), (2)",
	"select array(select id from t), row(1, 2), exists (select 1)", "select * from json_to_recordset('[{\"a\":1}]') as x(a int)",
	"select xmlelement(name a, 'b'), xmlforest(v) from t", "select coalesce(null, 1), greatest(1, 2), nullif(1, 1)",
	"select * from unnest(array[1, 2]) with ordinality as u(a, b)", "select pg_typeof(1), version(), current_database()",
	"select * from t where v like ('v' || '%') and v ~ 'v' and not v similar to 'x' and id between 1 and 5 and id is distinct from 7",
}

// testFingerprint: whatever changes the catalogue changes the fingerprint, and
// work on data does not.
func testFingerprint(t *testing.T, app *pgx.Conn, m monitor) {
	last, known := fingerprint(t, m), reload(t, m)
	for _, sql := range []string{
		"create function f1() returns int language sql as 'select 1'", "alter function f1() stable",
		"create or replace function f1() returns int language sql as 'select 2'", "alter function f1() rename to f2", "drop function f2()",
		"create view w as select 1 as a", "create or replace view w as select 2 as a", "alter view w rename to w2", "drop view w2",
		"create table r (a int)", "alter table r enable row level security", "create policy p on r using (true)", "alter policy p on r using (false)",
		"alter table r set unlogged", "alter table r add column b int default 5", "alter table r alter b set default 6", "alter table r add check (a > 1)",
		"create trigger g before update on r for each row execute function touch()", "drop trigger g on r", "create rule u as on insert to r do also select 1",
		"create domain d as int", "alter domain d add check (value > 1)", "create type e as enum ('a')", "create sequence q",
		"create operator <%> (leftarg = int, rightarg = int, function = adds)", "create cast (d as mood) with inout as assignment", "drop cast (d as mood)",
		"create table kid () inherits (r)", "alter table kid no inherit r", "drop table kid", "drop table r",
	} {
		if _, err := app.Exec(t.Context(), sql); err != nil {
			if strings.Contains(err.Error(), "must be owner") || strings.Contains(sql, "cast") {
				continue
			}
			t.Fatalf("%s: %v", sql, err)
		}
		now := fingerprint(t, m)
		if now == last {
			t.Errorf("%s: the fingerprint did not change", sql)
		}
		last = now
		known = again(t, m, known, sql)
	}
	if cat := reload(t, m); cat.Fingerprint() != last {
		t.Error("the catalogue has another fingerprint")
	}
	for _, sql := range []string{
		"insert into t values (1000)", "update t set v = 'x' where id = 1", "select nextval('s')", "analyze t", "create temp table tt (a int primary key, b int default 3 check (b > 1))",
		"create temp view tv as select 1 as a", "create temp sequence ts", "create temp table tu as select 1 as a", "drop table pg_temp.tu", "drop view pg_temp.tv",
	} {
		if _, err := app.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if fingerprint(t, m) != last {
			t.Errorf("%s: the fingerprint changed", sql)
		}
	}
}

// again reads what has changed since known was read: it is what a reading of
// everything yields.
func again(t *testing.T, m monitor, known *sqlclass.Catalogue, sql string) *sqlclass.Catalogue {
	t.Helper()
	cat, err := sqlclass.Reload(t.Context(), m, known)
	if err != nil {
		t.Fatal(err)
	}
	if whole := reload(t, m); !sqlclass.SameCatalogue(cat, whole) {
		t.Errorf("%s: a catalogue read in part is not the whole one", sql)
	}
	return cat
}

func fingerprint(t *testing.T, m monitor) uint64 {
	t.Helper()
	rows, err := m.Query(t.Context(), sqlclass.FingerprintQuery)
	if err != nil {
		t.Fatal(err)
	}
	return sqlclass.Fingerprint(rows)
}

// testDirty: what can reach set_config from a write, and hidden functions.
func testDirty(t *testing.T, app, super *pgx.Conn, m monitor) {
	for _, c := range []struct {
		setUp, tearDown, sql string
		dirty                bool
		reason               sqlclass.Reason
	}{
		{"alter table t alter v set default set_config('a.b', 'c', false)", "alter table t alter v drop default", "select 1", true, sqlclass.ReasonRead},
		{"alter table t add constraint k check (set_config('a.b', v, false) is not null) not valid", "alter table t drop constraint k", "select 1", true, sqlclass.ReasonRead},
		{"create rule k as on update to t do also select tenant('x')", "drop rule k on t", "select 1", true, sqlclass.ReasonRead},
		{"create view k as select tenant('x') as x", "drop view k", "select * from k", false, sqlclass.ReasonView},
		{"create policy k on secret using (tenant(owner) = 1)", "drop policy k on secret", "select * from secret", false, sqlclass.ReasonRowSecurity},
		{"create function k(circle) returns numeric language sql volatile as 'select 1.0'; create cast (circle as numeric) with function k(circle)", "drop function k(circle) cascade", "select 1", false, sqlclass.ReasonUserCast},
		{"create operator = (leftarg = pair, rightarg = pair, function = eqv)", "drop operator = (pair, pair)", "select * from t where id in (1)", false, sqlclass.ReasonUserOperator},
	} {
		if strings.Contains(c.setUp, "eqv") {
			run(t, app, "create function eqv(pair, pair) returns bool language sql volatile as 'select true'")
		}
		run(t, super, c.setUp)
		cat := reload(t, m)
		r := classify(cat, c.sql)
		if cat.DirtyTriggers != c.dirty || r.Reason != c.reason {
			t.Errorf("%s: dirty %v, %s is %v", c.setUp, cat.DirtyTriggers, c.sql, r.Reason)
		}
		if wantTaint := c.reason == sqlclass.ReasonView || c.reason == sqlclass.ReasonRowSecurity; (r.Binds&sqlclass.BindsTaint != 0) != wantTaint {
			t.Errorf("%s: %s binds %x", c.setUp, c.sql, r.Binds)
		}
		run(t, super, c.tearDown)
	}
	cat := reload(t, m)
	if cat.DirtyTriggers || classify(cat, "select * from t where id in (1)").Access != sqlclass.AccessRead {
		t.Error("something stays dirty")
	}
}

func run(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// BenchmarkLoad measures what a reload costs.
func BenchmarkLoad(b *testing.B) {
	r := record(b)
	for b.Loop() {
		if _, err := sqlclass.Load(context.Background(), r); err != nil {
			b.Fatal(err)
		}
	}
}
