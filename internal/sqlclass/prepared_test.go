package sqlclass_test

import (
	"testing"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// TestInner: what PREPARE prepares and what EXECUTE is given are judged by
// themselves; neither binds the session by being written down.
func TestInner(t *testing.T) {
	cat := load(t)
	for _, c := range []struct {
		sql   string
		name  string
		inner sqlclass.Access
		why   sqlclass.Reason
		binds sqlclass.Binds
	}{
		{"prepare p as select 1", "p", sqlclass.AccessRead, sqlclass.ReasonRead, 0},
		{"prepare p (int, numeric(3)) as with x as (select $1) table x", "p", sqlclass.AccessRead, sqlclass.ReasonRead, 0},
		{"prepare p as (select 1) union (select 2)", "p", sqlclass.AccessRead, sqlclass.ReasonRead, 0},
		{"prepare p as values (1)", "p", sqlclass.AccessRead, sqlclass.ReasonRead, 0},
		{"prepare p (money2) as select $1", "p", sqlclass.AccessWrite, sqlclass.ReasonUserType, 0},
		{"prepare p as insert into t values (1)", "p", sqlclass.AccessWrite, sqlclass.ReasonCommand, 0},
		{"prepare p as select nosuch(1)", "p", sqlclass.AccessWrite, sqlclass.ReasonUnknownFunction, sqlclass.BindsPin | sqlclass.BindsTaint},
		{"prepare p as select pg_advisory_lock(1)", "p", sqlclass.AccessWrite, sqlclass.ReasonDenied, sqlclass.BindsPin},
		{"prepare p as select pg_backend_pid()", "p", sqlclass.AccessWrite, sqlclass.ReasonServerState, sqlclass.BindsPin},
		{"execute p", "p", sqlclass.AccessRead, sqlclass.ReasonRead, 0},
		{"execute p (1, now(), 'x' || 'y')", "p", sqlclass.AccessRead, sqlclass.ReasonRead, 0},
		{"execute p (nextval('s'))", "p", sqlclass.AccessWrite, sqlclass.ReasonDenied, 0},
		{"execute p (1 === 2)", "p", sqlclass.AccessWrite, sqlclass.ReasonUserOperator, 0},
		{"explain execute p (1)", "p", sqlclass.AccessRead, sqlclass.ReasonRead, 0},
		{"explain analyze execute p (1)", "p", sqlclass.AccessRead, sqlclass.ReasonRead, 0},
		{"create table x as execute p (1)", "p", sqlclass.AccessWrite, sqlclass.ReasonRead, 0},
		{`create table x as execute "P q" (1)`, "P q", sqlclass.AccessWrite, sqlclass.ReasonRead, 0},
		{"execute p; execute q", "", sqlclass.AccessWrite, sqlclass.ReasonRead, 0},
		{"prepare p as select 1; execute p", "", sqlclass.AccessWrite, sqlclass.ReasonRead, 0},
		{"select 1", "", sqlclass.AccessWrite, sqlclass.ReasonRead, 0},
	} {
		r := classify(cat, c.sql)
		if in := r.Inner; string(r.Name) != c.name || in.Access != c.inner || in.Reason != c.why || in.Binds != c.binds {
			t.Errorf("%s: name %q, %v because of %v, binds %x", c.sql, r.Name, in.Access, in.Reason, in.Binds)
		}
	}
	for _, sql := range []string{"prepare p as delete from t", "prepare p as select set_config('a.b', 'c', false)"} {
		if r := classify(cat, sql); !r.Harmless || r.Binds != sqlclass.BindsPrepare {
			t.Errorf("%s: harmless %v, binds %x: it runs nothing", sql, r.Harmless, r.Binds)
		}
	}
}
