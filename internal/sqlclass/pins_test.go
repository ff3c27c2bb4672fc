package sqlclass_test

import (
	"testing"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// TestPins: of what kind a pin is decides how it ends, and what may be read
// elsewhere meanwhile.
func TestPins(t *testing.T) {
	cat := load(t)
	for _, c := range []struct {
		sql  string
		pins sqlclass.Pins
		ends bool
	}{
		{"create temp table x (a int)", sqlclass.PinTemporary, false},
		{"create temp table x (a int) on commit drop", sqlclass.PinTemporary, true},
		{"create temporary view x as select 1", sqlclass.PinTemporary, false},
		{"select 1 into temp x", sqlclass.PinTemporary, false},
		{"insert into pg_temp.x values (1)", sqlclass.PinTemporary, false},
		{"drop table x", 0, true},
		{"drop schema s cascade", 0, true},
		{"discard temp", 0, true},
		{"discard all", 0, false}, // it ends all of them without a doubt
		{"select pg_advisory_lock(1)", sqlclass.PinAdvisory, false},
		{"select pg_advisory_lock_shared(1, 2)", sqlclass.PinAdvisory, false},
		{"select pg_try_advisory_lock(1)", sqlclass.PinAdvisory, true}, // it may not have got it
		{"select pg_advisory_xact_lock(1)", 0, false},
		{"select pg_try_advisory_xact_lock(1)", 0, false},
		{"select pg_advisory_unlock(1)", 0, true},
		{"select pg_advisory_unlock_all()", 0, true},
		{"listen a", sqlclass.PinListen, false},
		{"unlisten a", 0, true},
		{"declare c cursor with hold for select 1", sqlclass.PinCursor, false},
		{"close all", 0, true},
		{"select pg_backend_pid()", sqlclass.PinIdentity, false},
		{"select * from pg_stat_activity where pid <> pg_backend_pid()", sqlclass.PinIdentity, false},
		{"select currval('s')", sqlclass.PinSequence, false},
		{"select lastval()", sqlclass.PinSequence, false},
		{"insert into t values (currval('s'))", sqlclass.PinSequence, false},
		{"select nextval('s')", 0, false},
		{"load 'x'", sqlclass.PinLoad, false},
		{"set session authorization x", sqlclass.PinAuthorization, false},
		{"select set_config('a.b', '1', false)", sqlclass.PinState, false},
		{"create temp table x (a int default nosuch(1)); listen a", sqlclass.PinTemporary | sqlclass.PinListen, false},
		{"create temp table x as select nosuch(1); listen a", sqlclass.PinTemporary | sqlclass.PinListen | sqlclass.PinState, false},
		{"frobnicate", sqlclass.PinState, false},
		{"select 1", 0, false},
		{"insert into t values (1)", 0, false},
	} {
		r := classify(cat, c.sql)
		if r.Pins != c.pins || (r.Binds&sqlclass.BindsEndsPin != 0) != c.ends {
			t.Errorf("%s: pins %b, binds %x; want %b, and that it may end one: %v", c.sql, r.Pins, r.Binds, c.pins, c.ends)
		}
		if (r.Pins != 0) != (r.Binds&sqlclass.BindsPin != 0) {
			t.Errorf("%s: pins %b, binds %x", c.sql, r.Pins, r.Binds)
		}
	}
}
