package sqlclass_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// residueQuery lists what the session has that a new one would not have.
const residueQuery = `select coalesce(string_agg(what, ', '), '') from (
	select 'advisory lock' from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() union all
	select 'setting ' || name from pg_settings where source = 'session' and reset_val <> setting union all
	select 'role' where session_user <> current_user union all
	select 'prepared ' || name from pg_prepared_statements where from_sql union all
	select 'cursor ' || name from pg_cursors where is_holdable union all
	select 'channel' from pg_listening_channels() union all
	select 'custom ' || current_setting('a.b') where current_setting('a.b', true) <> '' union all
	select 'custom app.owner' where current_setting('app.owner', true) <> '' union all
	select 'custom local.x' where current_setting('local.x', true) <> '' union all
	select 'temporary ' || relname from pg_class where relnamespace = pg_my_temp_schema()) as left_behind(what)`

// testResidue runs code on a real server: whatever leaves something behind in the
// session taints, and code that is called clean leaves nothing.
func testResidue(t *testing.T, app *pgx.Conn, m monitor) {
	run(t, app, `create table codes (id int primary key, v text);
		create procedure commits() language plpgsql as 'begin insert into codes values (1); commit; set local a.b = 1; end';
		create procedure leaves() language plpgsql as $$ begin insert into codes values (2); commit; set a.b = 1; end $$;
		create procedure through() language plpgsql as 'begin call leaves(); end';
		create function in_temp() returns int language plpgsql set search_path = pg_temp, public as 'begin create table hidden (a int); return 1; end'`)
	var version int
	if err := app.QueryRow(t.Context(), "select current_setting('server_version_num')::int").Scan(&version); err != nil {
		t.Fatal(err)
	}
	if version < 190000 { // from then on standard_conforming_strings cannot be off
		run(t, app, `create function hidden_set() returns int language plpgsql set standard_conforming_strings = off as
			$$ begin perform '\' || ', set_config('a.b', 'c', false) -- '
			; return 1; end $$`)
	}
	cat := reload(t, m)
	texts := []string{"call commits()", "call leaves()", "call through()", "do 'begin call commits(); end'", "do 'begin call leaves(); end'",
		"select in_temp()", "do 'begin perform in_temp(); end'", "select hidden_set()", "select tenant('x')", "do $$ begin perform tenant('x'); end $$"}
	for _, c := range codes {
		texts = append(texts, "do $body$"+c.body+"$body$")
	}
	run(t, app, "discard all")
	ran, left := 0, 0
	for _, sql := range texts {
		r := classify(cat, sql)
		if sqlState(app.PgConn().Exec(t.Context(), sql).ReadAll()) == "" && r.Binds&sqlclass.BindsTaint == 0 {
			ran++
		}
		residue := ""
		if err := app.QueryRow(t.Context(), residueQuery, pgx.QueryExecModeSimpleProtocol).Scan(&residue); err != nil {
			t.Fatal(err)
		}
		if residue != "" {
			left++
			if r.Binds&sqlclass.BindsTaint == 0 {
				t.Errorf("%s: leaves %s behind and does not taint", sql, residue)
			}
		}
		run(t, app, "discard all")
	}
	if ran < 20 || left < 20 {
		t.Errorf("only %d clean ones ran, only %d left something behind", ran, left)
	}
}
