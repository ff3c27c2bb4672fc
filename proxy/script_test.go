package proxy_test

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// script makes random requests of a client that uses the table t and that
// wants every answer to be certain.
type script struct {
	*rand.Rand
	t      string
	texts  []string
	exotic bool // pins and the like too
	own    bool // a portal is described only in the group that binds it
	guide  func() (st step, ok bool)
}

func newScript(seed uint64, t string) *script {
	s := &script{Rand: rand.New(rand.NewPCG(seed, 1)), t: t}
	s.texts = []string{
		"select 1", "select 'a'::text, 2", "select count(*), sum(v) from @", "select id, v from @ order by id limit 5",
		"insert into @ (v) values (1)", "insert into @ (v) values (2) returning v", "update @ set v = v + 1 where id < 5", "delete from @ where id % 3 = 0",
		"begin", "begin", "begin read only", "begin isolation level repeatable read, read only", "start transaction read only", "begin isolation level serializable read only",
		"commit", "commit", "commit", "rollback", "rollback", "end", "savepoint a", "rollback to a", "release a", "commit and chain", "rollback and chain",
		"set work_mem = '200kB'", "set work_mem to '300kB'", "set local work_mem = '400kB'", "reset work_mem", "set work_mem to default",
		"set timezone = 'Asia/Tokyo'", "set time zone 'UTC'", "reset timezone", "set extra_float_digits = 1", "set lock_timeout = '7s'", "reset lock_timeout",
		"set search_path = pg_catalog, public", "set search_path to public", "reset search_path", "reset all", "discard all", "discard plans",
		"set application_name = 'me'", "set role app", "reset role", "set session characteristics as transaction isolation level repeatable read",
		"set default_transaction_isolation = 'read committed'", "set default_transaction_read_only = on", "set default_transaction_read_only = off",
		"set statement_timeout = '5s'", "set datestyle = 'German'", "set client_min_messages = 'notice'", "set standard_conforming_strings = on",
		"show work_mem", "show timezone", "show search_path", "show application_name", "show datestyle",
		"select current_setting('work_mem'), current_setting('timezone'), current_setting('lock_timeout')", "select current_user::text, session_user::text",
		"select current_setting('search_path'), current_setting('default_transaction_isolation')", "show transaction_isolation", "show default_transaction_read_only",
		"select 1/0", "select * from nope", "selec 1", "insert into @ (id) values (null)", "select nope(1)", "", ";", "-- nothing",
		"select 1; select 2", "select 1; insert into @ (v) values (3)", "insert into @ (v) values (4); select 1/0", "set work_mem = '500kB'; select 1",
		"begin; select 1; commit", "begin; insert into @ (v) values (5); rollback", "commit; begin", "select 1; selec 2",
		"deallocate all", "deallocate nope", "prepare sq as select 1", "execute sq", "deallocate sq",
		"prepare sw (int) as insert into @ (v) values ($1)", "execute sw (6)", "prepare sw as select v from @ order by id limit 3", "deallocate sw",
		"explain (costs off) execute sq", "execute sq; execute sw (7)", "prepare sm as select 2; execute sm", "create table if not exists @_x as execute sq",
		"select name, from_sql, statement from pg_prepared_statements where from_sql order by 1",
		"copy @ (v) from stdin", "copy (select 1 union all select 2) to stdout", "copy @ to stdout where", "do $$ begin raise notice 'hi'; end $$",
		"explain (costs off) select 1", "values (1), (2)", "table @", "select generate_series(1, 50)", "select repeat('x', 3000)",
		"lock table @ in access share mode", "select 1 for update", "select id from @ where id = 1 for update", "set transaction read only", "set transaction isolation level repeatable read",
		"select set_config('work_mem', '600kB', false)", "select set_config('lock_timeout', '8s', true)", "with x as (select 1) select * from x",
		"declare c cursor for select generate_series(1, 10)", "fetch 3 from c", "close c", "create temp table if not exists tt (a int)", "insert into tt values (1)", "select count(*) from tt", "drop table if exists tt",
		"declare h cursor with hold for select 1", "fetch h", "close h", "close all", "listen ch", "unlisten *", "select pg_advisory_lock(99)", "select pg_advisory_unlock_all()",
		"create table if not exists @_x (a int)", "drop table if exists @_x", "analyze @", "vacuum @", "call proc_commit('@')",
	}
	for i, x := range s.texts {
		s.texts[i] = strings.ReplaceAll(x, "@", t)
	}
	return s
}

func (s *script) sql() string { return s.texts[s.IntN(len(s.texts))] }

// extended is sql for the extended protocol.
func (s *script) extended() string {
	for {
		if sql := s.sql(); !strings.HasPrefix(sql, "call") && !strings.HasSuffix(sql, "read only") {
			return sql
		}
	}
}

func (s *script) name() []byte {
	return []byte([]string{"", "", "s1", "s2", "s3"}[s.IntN(5)])
}

func (s *script) portal() []byte {
	return []byte([]string{"", "", "", "", "p1"}[s.IntN(5)])
}

// next makes the next step.
func (s *script) next() step {
	if s.guide != nil {
		if st, ok := s.guide(); ok {
			return st
		}
	}
	st := step{ready: 1}
	data := frame('d', "7\n8\n")
	if s.IntN(3) == 0 {
		data = frame('d', "7\nbad\n")
	}
	if s.IntN(4) == 0 {
		data = append(data, frame('f', "no\x00")...)
	} else {
		data = append(data, frame('c', "")...)
	}
	if s.IntN(2) == 0 {
		sql := s.sql()
		st.text = "Q " + sql
		st.bytes = wire.AppendQuery(nil, sql)
		st.copy = data
		return st
	}
	st.copy = wire.AppendSync(data)
	b := st.bytes
	// Of several unnamed statements in a group that fails only the last is
	// remembered, so that a script has one.
	changed := false
	// PostgreSQL 15 crashes when some portals are executed again after the end
	// of their group.
	bound := map[string]bool{}
	// A server closes the connection when anything follows COPY FROM STDIN. What
	// follows the end of all names in one group is not promised.
	for n := 1 + s.IntN(7); n > 0 && !strings.Contains(st.text, "stdin") && !strings.Contains(st.text, " all]"); n-- {
		switch s.IntN(10) {
		case 0, 1, 2:
			name, sql := s.name(), s.extended()
			if strings.Contains(sql, "stdin") || strings.HasSuffix(sql, " all") {
				name = []byte("s9") // it is parsed once and not bound later
				changed = true
			}
			if len(name) == 0 && changed {
				name = []byte("s1")
			}
			changed = changed || len(name) == 0
			b = wire.AppendParse(b, name, append([]byte(sql), 0, 0, 0))
			st.text += fmt.Sprintf("P[%s %s] ", name, sql)
			if s.IntN(3) > 0 {
				b = wire.AppendBind(b, nil, name, make([]byte, 6))
				b = append(b, 'E', 0, 0, 0, 9, 0, 0, 0, 0, 0)
				st.text += "B E "
				bound[""] = true
			}
		case 3, 4, 5:
			portal, name := s.portal(), s.name()
			bound[string(portal)] = true
			b = wire.AppendBind(b, portal, name, make([]byte, 6))
			st.text += fmt.Sprintf("B[%s %s] ", portal, name)
			if s.IntN(3) > 0 {
				b = append(b, 'E', 0, 0, 0, byte(9+len(portal)))
				b = append(append(b, portal...), 0, 0, 0, 0, 0)
				st.text += fmt.Sprintf("E[%s] ", portal)
			}
		case 6:
			portal, max := s.portal(), s.IntN(3)
			if !bound[string(portal)] {
				continue
			}
			b = append(b, 'E', 0, 0, 0, byte(9+len(portal)))
			b = append(append(b, portal...), 0, 0, 0, 0, byte(max))
			st.text += fmt.Sprintf("E[%s %d] ", portal, max)
		case 7:
			name := s.name()
			b = wire.AppendNamed(b, 'D', 'S', name)
			st.text += fmt.Sprintf("D[S %s] ", name)
		case 8:
			what, name := byte('S'), s.name()
			if len(name) == 0 && changed {
				name = []byte("s1")
			}
			changed = changed || len(name) == 0
			if s.IntN(2) == 0 {
				what, name = 'P', s.portal()
			}
			b = wire.AppendNamed(b, 'C', what, name)
			st.text += fmt.Sprintf("C[%c %s] ", what, name)
		case 9:
			if s.IntN(2) == 0 {
				b = append(b, 'H', 0, 0, 0, 4)
				st.text += "H "
			} else {
				portal := s.portal()
				if s.own && !bound[string(portal)] {
					continue
				}
				b = wire.AppendNamed(b, 'D', 'P', portal)
				st.text += fmt.Sprintf("D[P %s] ", portal)
			}
		}
	}
	st.bytes = wire.AppendSync(b)
	st.text += "S"
	return st
}
