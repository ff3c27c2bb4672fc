package sqlclass_test

import (
	"testing"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

func TestTransactionControl(t *testing.T) {
	cat := load(t)
	for _, c := range []struct {
		sql       string
		tx        sqlclass.Tx
		isolation sqlclass.Isolation
		readOnly  bool
		readWrite bool
	}{
		{sql: "BEGIN;", tx: sqlclass.TxBegin},
		{sql: "END;", tx: sqlclass.TxCommit},
		{sql: "begin work", tx: sqlclass.TxBegin},
		{sql: "BEGIN TRANSACTION READ ONLY", tx: sqlclass.TxBeginReadOnly, readOnly: true},
		{sql: "begin isolation level repeatable read, read only, not deferrable", tx: sqlclass.TxBeginReadOnly, isolation: sqlclass.RepeatableRead, readOnly: true},
		{sql: "begin read only read write", tx: sqlclass.TxBegin, readWrite: true},
		{sql: "start transaction isolation level serializable", tx: sqlclass.TxBegin, isolation: sqlclass.Serializable},
		{sql: "begin isolation level read uncommitted", tx: sqlclass.TxBegin, isolation: sqlclass.ReadCommitted},
		{sql: "begin /* a */ isolation -- b\n level read committed", tx: sqlclass.TxBegin, isolation: sqlclass.ReadCommitted},
		{sql: "commit and chain", tx: sqlclass.TxCommitChain},
		{sql: "commit work and no chain", tx: sqlclass.TxCommit},
		{sql: "end transaction", tx: sqlclass.TxCommit},
		{sql: "rollback", tx: sqlclass.TxRollback},
		{sql: "abort", tx: sqlclass.TxRollback},
		{sql: "rollback and chain", tx: sqlclass.TxRollbackChain},
		{sql: "rollback work to savepoint a", tx: sqlclass.TxRollbackTo},
		{sql: "rollback to a", tx: sqlclass.TxRollbackTo},
		{sql: "savepoint a", tx: sqlclass.TxSavepoint},
		{sql: "release a", tx: sqlclass.TxRelease},
		{sql: "prepare transaction 'x'", tx: sqlclass.TxPrepare},
		{sql: "commit prepared 'x'", tx: sqlclass.TxCommitPrepared},
		{sql: "rollback prepared 'x'", tx: sqlclass.TxCommitPrepared},
		{sql: "set transaction read only", tx: sqlclass.TxSetTransaction, readOnly: true},
		{sql: "set local transaction isolation level repeatable read", tx: sqlclass.TxSetTransaction, isolation: sqlclass.RepeatableRead},
		{sql: "set transaction snapshot '1'", tx: sqlclass.TxSetTransaction},
		{sql: "set transaction_read_only = 0", tx: sqlclass.TxSetTransaction, readWrite: true},
		{sql: "set transaction_read_only to 'on'", tx: sqlclass.TxSetTransaction, readOnly: true},
		{sql: "set transaction_isolation = 'serializable'", tx: sqlclass.TxSetTransaction, isolation: sqlclass.Serializable},
		{sql: "select 1", tx: sqlclass.TxNone},
	} {
		r := classify(cat, c.sql)
		if r.Tx != c.tx || r.Isolation != c.isolation || r.ReadOnly != c.readOnly || r.ReadWrite != c.readWrite || r.Mixed || r.Binds != 0 {
			t.Errorf("%s: %v, isolation %d, read only %v, read write %v, binds %x", c.sql, r.Tx, r.Isolation, r.ReadOnly, r.ReadWrite, r.Binds)
		}
		if c.tx != sqlclass.TxNone && (r.Access != sqlclass.AccessWrite || r.Reason != sqlclass.ReasonTransaction || r.Setting.Kind != sqlclass.SettingNone) {
			t.Errorf("%s: %v, %v, setting %+v", c.sql, r.Access, r.Reason, r.Setting)
		}
	}
}

func TestSeveralStatements(t *testing.T) {
	cat := load(t)
	for _, c := range []struct {
		sql    string
		n      int
		access sqlclass.Access
		mixed  bool
	}{
		{"select 1; select 2;", 2, sqlclass.AccessRead, false},
		{"begin read only; select 1; commit", 3, sqlclass.AccessRead, true},
		{"begin; commit", 2, sqlclass.AccessWrite, true},
		{"begin; insert into t values (1); commit", 3, sqlclass.AccessWrite, true},
		{"begin isolation level serializable; select 1; commit", 3, sqlclass.AccessWrite, true},
		{"select 1; commit prepared 'x'", 2, sqlclass.AccessWrite, true},
		{"set local a.b = 1; select 1", 2, sqlclass.AccessWrite, true},
		{"show a; select 1", 2, sqlclass.AccessWrite, false},
		{"select ';'; select $a$ ; $a$", 2, sqlclass.AccessRead, false},
		{"deallocate a; select 1", 2, sqlclass.AccessWrite, true},
	} {
		r := classify(cat, c.sql)
		if r.Statements != c.n || r.Access != c.access || r.Mixed != c.mixed || r.Tx != sqlclass.TxNone || r.Name != nil || r.Setting.Kind != sqlclass.SettingNone {
			t.Errorf("%s: %+v", c.sql, r)
		}
		if r.Access == sqlclass.AccessWrite && r.Reason == sqlclass.ReasonRead {
			t.Errorf("%s: a write without a reason", c.sql)
		}
	}
}

func TestSettings(t *testing.T) {
	cat := load(t)
	const (
		binds = sqlclass.BindsSetting
		pins  = sqlclass.BindsPin | sqlclass.BindsTaint
	)
	for _, c := range []struct {
		sql   string
		kind  sqlclass.SettingKind
		name  string
		value string
		binds sqlclass.Binds
	}{
		{"SET work_mem = '8MB'", sqlclass.SettingSet, "work_mem", "'8MB'", binds},
		{"set Work_Mem to 4096 ;", sqlclass.SettingSet, "work_mem", "4096", binds},
		{`set session "Search_Path" to "$user", public /* x */`, sqlclass.SettingSet, "search_path", `"$user", public`, binds},
		{"set datestyle = ISO ,  DMY", sqlclass.SettingSet, "datestyle", "ISO ,  DMY", binds},
		{"set app.tenant_id = 'a''b'", sqlclass.SettingSet, "app.tenant_id", "'a''b'", binds},
		{"set synchronous_commit = local", sqlclass.SettingSet, "synchronous_commit", "local", binds},
		{"set extra_float_digits = -15", sqlclass.SettingSet, "extra_float_digits", "-15", binds},
		{`set a.b = E'x\'y'`, sqlclass.SettingSet, "a.b", `E'x\'y'`, binds},
		{"set a.b = $$x$$", sqlclass.SettingSet, "a.b", "$$x$$", binds},
		{"set local work_mem = 1", sqlclass.SettingSetLocal, "work_mem", "1", 0},
		{"set work_mem to default", sqlclass.SettingReset, "work_mem", "", binds},
		{"set local work_mem to default", sqlclass.SettingReset, "work_mem", "", 0},
		{"set time zone 'UTC'", sqlclass.SettingSet, "timezone", "'UTC'", binds},
		{"set time zone -7", sqlclass.SettingSet, "timezone", "-7", binds},
		{"set time zone local", sqlclass.SettingReset, "timezone", "", binds},
		{"set time zone default", sqlclass.SettingReset, "timezone", "", binds},
		{"set time zone interval '-08:00' hour to minute", sqlclass.SettingSet, "timezone", "", pins},
		{"set names 'UTF8'", sqlclass.SettingSet, "client_encoding", "'UTF8'", binds},
		{"set names", sqlclass.SettingReset, "client_encoding", "", binds},
		{"set role none", sqlclass.SettingSet, "role", "none", binds},
		{`set role "Odd Role"`, sqlclass.SettingSet, "role", `"Odd Role"`, binds},
		{"set role = 'x'", sqlclass.SettingSet, "role", "'x'", binds},
		{"set schema 'x'", sqlclass.SettingSet, "search_path", "'x'", binds},
		{"set xml option document", sqlclass.SettingSet, "xmloption", "document", binds},
		{"set session authorization x", sqlclass.SettingSet, "session_authorization", "x", sqlclass.BindsPin},
		{"set session authorization default", sqlclass.SettingReset, "session_authorization", "", binds},
		{"set seed to 0.5", sqlclass.SettingSet, "seed", "0.5", pins},
		{"set search_path = pg_temp, public", sqlclass.SettingSet, "search_path", "pg_temp, public", pins},
		{"set a.b = 'größe'", sqlclass.SettingSet, "a.b", "", pins},
		{"set a.b = U&'x'", sqlclass.SettingSet, "a.b", "", pins},
		{"set a.b = f(1)", sqlclass.SettingSet, "a.b", "", pins},
		{"set a.b = 1 2", sqlclass.SettingSet, "a.b", "", pins},
		{"set a.b = 1,", sqlclass.SettingSet, "a.b", "", pins},
		{"set a.b = $1", sqlclass.SettingSet, "a.b", "", pins},
		{"set a.b from current", sqlclass.SettingSet, "a.b", "", pins},
		{"set session characteristics as transaction isolation level repeatable read, read only;", sqlclass.SettingSet, "", "isolation level repeatable read, read only", binds},
		{"reset work_mem", sqlclass.SettingReset, "work_mem", "", binds},
		{"reset a.B", sqlclass.SettingReset, "a.b", "", binds},
		{"reset time zone", sqlclass.SettingReset, "timezone", "", binds},
		{"reset session authorization", sqlclass.SettingReset, "session_authorization", "", binds},
		{"reset role", sqlclass.SettingReset, "role", "", binds},
		{"reset all", sqlclass.SettingResetAll, "", "", binds},
		{"show work_mem", sqlclass.SettingShow, "work_mem", "", 0},
		{"show all", sqlclass.SettingShow, "all", "", 0},
		{"show time zone", sqlclass.SettingShow, "timezone", "", 0},
		{"show transaction isolation level", sqlclass.SettingShow, "transaction_isolation", "", 0},
		{"show session authorization", sqlclass.SettingShow, "session_authorization", "", 0},
		{"SHOW pgroute.last_route", sqlclass.SettingShow, "pgroute.last_route", "", sqlclass.BindsLocal},
		{"set pgroute.consistency = strong", sqlclass.SettingSet, "pgroute.consistency", "strong", sqlclass.BindsLocal},
		{"set local pgroute.wait to '50ms'", sqlclass.SettingSetLocal, "pgroute.wait", "'50ms'", sqlclass.BindsLocal},
		{"reset pgroute.consistency", sqlclass.SettingReset, "pgroute.consistency", "", sqlclass.BindsLocal},
	} {
		r := classify(cat, c.sql)
		s := r.Setting
		if s.Kind != c.kind || string(s.Name) != c.name || string(s.Value) != c.value || r.Binds != c.binds {
			t.Errorf("%s: kind %d, name %q, value %q, binds %x (%s)", c.sql, s.Kind, s.Name, s.Value, r.Binds, r.PinReason)
		}
		if s.Untrackable != (r.Binds&sqlclass.BindsPin != 0) {
			t.Errorf("%s: untrackable is %v", c.sql, s.Untrackable)
		}
		if r.Access != sqlclass.AccessWrite || r.Reason != sqlclass.ReasonSetting || !r.Harmless || r.Tx != sqlclass.TxNone {
			t.Errorf("%s: %v, %v, harmless %v, %v", c.sql, r.Access, r.Reason, r.Harmless, r.Tx)
		}
	}
	r := classify(cat, "set session characteristics as transaction isolation level repeatable read, read only")
	if !r.Setting.Multi || r.Isolation != sqlclass.RepeatableRead || !r.ReadOnly {
		t.Errorf("session characteristics: %+v", r)
	}
}

// TestPlainBackslash: a plain literal with a backslash means something else under
// another standard_conforming_strings, so it cannot be replayed when it is off.
func TestPlainBackslash(t *testing.T) {
	cat := load(t)
	r := new(sqlclass.Result)
	for _, standard := range []bool{true, false} {
		opt := defaults
		opt.StandardConformingStrings = standard
		sqlclass.Classify([]byte(`set a.b = 'x\\y'`), cat, opt, r)
		if r.Setting.Untrackable == standard {
			t.Errorf("standard_conforming_strings %v: untrackable is %v", standard, r.Setting.Untrackable)
		}
	}
}

func TestNames(t *testing.T) {
	cat := load(t)
	for sql, want := range map[string]string{
		"prepare Foo as select 1": "foo", `execute "Foo"(1)`: "Foo", "deallocate foo": "foo", `deallocate prepare "a""b"`: `a"b`,
	} {
		if r := classify(cat, sql); string(r.Name) != want || r.DeallocateAll {
			t.Errorf("%s: name %q", sql, r.Name)
		}
	}
	for _, sql := range []string{"deallocate all", "DEALLOCATE PREPARE ALL"} {
		if r := classify(cat, sql); !r.DeallocateAll || r.Binds != sqlclass.BindsDeallocate || r.Name != nil {
			t.Errorf("%s: %+v", sql, r)
		}
	}
}

func TestCopyAndProcedures(t *testing.T) {
	cat := load(t)
	for sql, want := range map[string][2]bool{
		"copy t from stdin": {true, false}, "copy t (a, b) from stdin with (format csv) where a > 1": {true, false},
		"select 1; copy t from stdout": {true, false}, "copy t from '/x'": {false, false}, "copy t to stdout": {false, false},
		"copy binary t from stdin": {true, false}, "copy \"from\".t from stdin": {true, false},
		"call p(1)": {false, true}, "do $$ begin end $$": {false, true}, "select 1; do ''": {false, true},
	} {
		r := classify(cat, sql)
		if r.CopyIn != want[0] || r.CallsProc != want[1] {
			t.Errorf("%s: copy in %v, calls %v", sql, r.CopyIn, r.CallsProc)
		}
	}
}

func TestHints(t *testing.T) {
	cat := load(t)
	for _, c := range []struct {
		sql  string
		want sqlclass.Hint
	}{
		{"/* pgroute: consistency=strong */ select 1", sqlclass.Hint{Level: "strong"}},
		{"/*pgroute:primary*/ select 1", sqlclass.Hint{Level: "primary"}},
		{"-- pgroute: eventual\nselect 1", sqlclass.Hint{Level: "eventual"}},
		{"select /* PGROUTE: Bounded, max_staleness=250ms */ 1", sqlclass.Hint{Level: "bounded", MaxStaleness: []byte("250ms")}},
		{"select 1 /* pgroute: session wait=1.5s on_timeout=error */;", sqlclass.Hint{Level: "session", Wait: []byte("1.5s"), OnTimeout: "error"}},
		{"; /* pgroute: strong */ ; select 1", sqlclass.Hint{Level: "strong"}},
		{"select 1; /* pgroute: primary */", sqlclass.Hint{}},
		{"select 1; /* pgroute: primary */ select 2", sqlclass.Hint{}},
		{"select '/* pgroute: primary */', $$/* pgroute: primary */$$, \"/* pgroute: primary */\"", sqlclass.Hint{}},
		{"/* /* pgroute: primary */ */ select 1", sqlclass.Hint{}},
		{"/* not pgroute: primary */ select 1", sqlclass.Hint{}},
		{"/* pgroute: storng */ select 1", sqlclass.Hint{Bad: []byte("storng")}},
		{"/* pgroute: consistency=wait=1s */ select 1", sqlclass.Hint{Bad: []byte("consistency=wait=1s")}},
		{"/* pgroute: wait=soon primary */ select 1", sqlclass.Hint{Level: "primary", Bad: []byte("wait=soon")}},
		{"/* pgroute: */ select 1", sqlclass.Hint{Bad: []byte("pgroute: ")}},
		{"/* pgroute: max_lag=1 */ select 1", sqlclass.Hint{Bad: []byte("max_lag=1")}},
		{"/* pgroute: strong */ /* pgroute: primary */ select 1", sqlclass.Hint{Level: "primary"}},
	} {
		h := classify(cat, c.sql).Hint
		if h.Level != c.want.Level || h.OnTimeout != c.want.OnTimeout || string(h.Wait) != string(c.want.Wait) ||
			string(h.MaxStaleness) != string(c.want.MaxStaleness) || string(h.Bad) != string(c.want.Bad) {
			t.Errorf("%s: %+v, wait %q, max_staleness %q, bad %q", c.sql, h, h.Wait, h.MaxStaleness, h.Bad)
		}
		if h.Given() != c.want.Given() {
			t.Errorf("%s: given is %v", c.sql, h.Given())
		}
	}
}
