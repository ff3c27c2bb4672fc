package sqlclass_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/internal/sqlclass"
)

// closureReads are queries over testdata/closure.sql that a replica answers as
// the primary would.
var closureReads = []string{
	"select * from v_quiet", "select * from v_over", "select * from V_INVOKER", "select * from v_barrier", "select * from v_catalogue limit 3",
	"select * from v_setting", "select * from v_random", "select * from v_rule", "select * from v_default", `select * from "V Mixed"`,
	"select * from v_recursive", "select * from m_noisy", "select good_body()", "select definer(1)", "select tenant_name()",
	"select * from r_tenant", "table r_tenant", "copy r_tenant to stdout", "copy (select * from v_over) to stdout",
	"select 5::d_over", "select * from t_domain", "select '(5,x)'::c_good", "select '{\"(5,x)\"}'::c_good[]", "select good_domain(5)",
	"select a::text, t_castable::text from t_castable", "select '(1,a)'::c_good === '(1,b)'::c_good",
	"select * from t_extension", "select * from v_extension", "select a::text, hstore(x) from t_extension x where a = 'B' and 'a' < a order by a",
	"select 'a=>1'::hstore -> 'a', 'a.b'::ltree <@ 'a', '978-0-393-04002-9'::isbn", "select b from t_virtual",
	"select * from pg_tables, pg_indexes limit 1", "select * from pg_views limit 1", "select count(*) from pg_policies", "select count(*) from pg_user",
	"select count(*) from pg_matviews, pg_rules", "select count(*) from pg_group", "select count(*) from pg_publication_tables", "select count(*) from pg_seclabels",
	"select count(*) from pg_user_mappings",
}

// closureWrites beside the objects of testdata/closure.sql that begin with bad_.
var closureWrites = []string{
	"select bad_body()", "select bad_mixed()", "select bad_domain(1)", "select bad_argument(null)", "select server_name()", "select noisy(1)", "select liar(1)",
	"select definer_writes(1)", "select 1::d_bad", "select '{1}'::d_bad[]", "select '{1}'::_d_bad", "select 1::D_BADOVER", "select cast(1 as d_bad)", "select d_bad '1'",
	"select '(1,2)'::c_bad", "select 1::d_bad(1)", "select cast(1 as public.d_bad(1))", "select 1 :: \"d_bad\" (1)", "select null::c_nested", "select row(1)::c_cast::text", `select * from "Bad Mixed"`, `select * from "Bad größe"`,
	"select * from twins", "select * from public.twins", "select '(1,a)'::c_good =!= '(1,b)'::c_good", "select isn_weak(true)", "select isn_weak()",
	"select x::text from bad_rowcast x", "select sumv(id) over () from t",
}

// testClosure: what views, policies, types, operators and casts run is looked
// into. The standby is the judge of the reads; and of the others that these tests
// have teeth.
func testClosure(t *testing.T, c *cluster.Cluster, app, super *pgx.Conn, m monitor) {
	runFile(t, super, "testdata/closure.sql")
	cat := reload(t, m)
	standby := connect(t, c.Replicas()[0], cluster.AppUser, cluster.AppPassword)
	run(t, standby, "set app.tenant = 'a'")
	catchUp(t, app, standby)
	for _, sql := range closureReads {
		r := classify(cat, sql)
		if r.Access != sqlclass.AccessRead || r.Binds != 0 {
			t.Errorf("%s: %v because of %q, binds %x", sql, r.Reason, r.Object, r.Binds)
		}
		if state := sqlState(standby.PgConn().Exec(t.Context(), sql).ReadAll()); state != "" {
			t.Errorf("%s: the standby says %s", sql, state)
		}
	}
	writes := closureWrites
	rows, err := m.Query(t.Context(), "select relname from pg_class where relname like 'bad\\_%' and relkind in ('r', 'v')")
	if err != nil || len(rows) < 20 {
		t.Fatal(rows, err)
	}
	for _, row := range rows {
		writes = append(writes, "select * from "+row[0], "select 1 from Public . "+strings.ToUpper(row[0])+" x")
	}
	refused := 0
	for _, sql := range writes {
		if r := classify(cat, sql); r.Access == sqlclass.AccessRead {
			t.Errorf("%s: a read", sql)
		}
		if refusals[sqlState(standby.PgConn().Exec(t.Context(), sql).ReadAll())] {
			refused++
		}
	}
	if refused < 25 {
		t.Errorf("the standby refuses only %d of %d", refused, len(writes))
	}
	t.Run("changes", func(t *testing.T) { testChanges(t, super, m) })
	t.Run("beyond ASCII", func(t *testing.T) { testBeyondASCII(t, super, m) })
}

// testChanges: what was a read stops being one, and the fingerprint notices.
func testChanges(t *testing.T, super *pgx.Conn, m monitor) {
	last, known := fingerprint(t, m), reload(t, m)
	for _, c := range []struct{ change, sql, undo string }{
		{"create or replace view v_rule as select noisy(id) as id from t", "select * from v_rule", "create or replace view v_rule as select id from t"},
		{"alter policy q on r_tenant using (noisy(id) = 1)", "select * from r_tenant", "alter policy q on r_tenant using (true)"},
		{"create policy x on t_domain using (noisy(1) = 1); alter table t_domain enable row level security", "select * from t_domain", "drop policy x on t_domain"},
		{"alter function quiet(int) volatile", "select * from v_invoker", "alter function quiet(int) stable"},
		{"alter function definer(int) volatile", "select * from v_barrier", "alter function definer(int) stable"},
		{"create or replace function same(c_good, c_good) returns boolean language plpgsql stable as $$ begin insert into log values (1); return true; end $$", "select '(1,a)'::c_good === '(1,b)'::c_good", "create or replace function same(c_good, c_good) returns boolean language sql stable as 'select true'"},
		{"alter domain d_good add constraint k check (noisy(value) = value) not valid", "select * from t_domain", "alter domain d_good drop constraint k"},
		{"alter function tells(c_castable) volatile", "select a::text from t_castable", "alter function tells(c_castable) stable"},
		{"alter table v_extension_base alter a type c_cast using null", "select * from v_extension_base", "alter table v_extension_base alter a type int using null"},
		{"create function side.tenant_name() returns text language sql volatile as $$ select 'x' $$", "select tenant_name()", "drop function side.tenant_name()"},
		{"create view side.\"V Mixed\" as select noisy(1) as x", `select * from "V Mixed"`, `drop view side."V Mixed"`},
		{"alter table log set schema side; drop view v_setting; create view v_setting as select current_setting('port') as p", "select * from v_setting", "create or replace view v_setting as select current_setting('a.port') as p"},
		{"alter table t_extension alter a type varchar", "select a from t_extension where nextval('s') = 1", "alter table t_extension alter a type citext"},
	} {
		if strings.Contains(c.change, "v_extension_base") {
			run(t, super, "create table if not exists v_extension_base (a int)")
		}
		if strings.Contains(c.change, "alter a type varchar") {
			run(t, super, "drop view v_extension")
		}
		for i, sql := range []string{c.change, c.undo} {
			run(t, super, sql)
			now := fingerprint(t, m)
			if now == last {
				t.Errorf("%s: the fingerprint did not change", sql)
			}
			last = now
			known = again(t, m, known, sql)
			if strings.Contains(c.sql, "nextval") {
				continue
			}
			if r := classify(reload(t, m), c.sql); (r.Access == sqlclass.AccessRead) != (i == 1) {
				t.Errorf("after %s: %s is a %v (%v)", sql, c.sql, r.Access, r.Reason)
			}
		}
	}
}

// testBeyondASCII: as long as something special has such a name, all such names
// are careful; a view that is a read is nothing special.
func testBeyondASCII(t *testing.T, super *pgx.Conn, m monitor) {
	run(t, super, `drop view "Bad größe"`)
	if r := classify(reload(t, m), "select * from größere"); r.Access != sqlclass.AccessRead {
		t.Errorf("a safe view is %v", r.Reason)
	}
	run(t, super, `create view "Übel" as select noisy(1) as n`)
	cat := reload(t, m)
	for _, sql := range []string{"select * from größere", `select * from "Übel"`, "select * from \"\xdcbel\""} {
		if r := classify(cat, sql); r.Access == sqlclass.AccessRead {
			t.Errorf("%q is a read", sql)
		}
	}
	run(t, super, `drop view "Übel"`)
}

// catchUp waits until the standby has what app sees.
func catchUp(t *testing.T, app, standby *pgx.Conn) {
	t.Helper()
	var position string
	if err := app.QueryRow(t.Context(), "select pg_current_wal_insert_lsn()::text").Scan(&position); err != nil {
		t.Fatal(err)
	}
	run(t, app, "create table if not exists flushed (a int); drop table flushed")
	for replayed := false; !replayed; {
		err := standby.QueryRow(t.Context(), "select pg_last_wal_replay_lsn() >= $1::pg_lsn", position).Scan(&replayed)
		if err != nil {
			t.Fatal(err)
		}
	}
}
