package proxy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// hard is one step of a hard case: a request, by which of two clients, and
// where it runs: on a replica, on the primary, or that is not asked.
type hard struct {
	step
	who  int
	role string
}

const (
	replica = "replica"
	primary = "primary"
	unasked = ""
)

// q is a Query, q2 one of the other client.
func q(role, sql string) hard {
	return hard{step{text: sql, bytes: wire.AppendQuery(nil, sql), ready: 1, copy: append(frame('d', "70\n71\n"), frame('c', "")...)}, 0, role}
}

func q2(role, sql string) hard {
	h := q(role, sql)
	h.who = 1
	return h
}

// x is a pipeline of statements up to Sync.
func x(role string, sql ...string) hard {
	h := hard{step{text: "pipeline: " + strings.Join(sql, ", "), ready: 1}, 0, role}
	for _, text := range sql {
		h.bytes = wire.AppendParse(h.bytes, nil, append([]byte(text), 0, 0, 0))
		h.bytes = wire.AppendBind(h.bytes, nil, nil, make([]byte, 6))
		h.bytes = wire.AppendNamed(h.bytes, 'D', 'P', nil)
		h.bytes = append(h.bytes, 'E', 0, 0, 0, 9, 0, 0, 0, 0, 0)
	}
	h.bytes = wire.AppendSync(h.bytes)
	return h
}

// raw is messages up to Sync.
func raw(role, text string, messages ...[]byte) hard {
	return hard{step{text: text, bytes: slices.Concat(messages...), ready: 1}, 0, role}
}

func parseMsg(name, sql string) []byte {
	return wire.AppendParse(nil, []byte(name), append([]byte(sql), 0, 0, 0))
}

func bindMsg(portal, name string) []byte {
	return wire.AppendBind(nil, []byte(portal), []byte(name), make([]byte, 6))
}

func executeMsg(portal string, rows byte) []byte {
	return frame('E', portal+"\x00\x00\x00\x00"+string(rows))
}

var (
	flushMsg = frame('H', "")
	syncMsg  = frame('S', "")
)

// hardSchema is what the hard cases are about.
const hardSchema = `
create table h (id int primary key, v int); insert into h select x, x from generate_series(1, 20) x;
create unlogged table unlogged_h (a int); insert into unlogged_h values (1);
create sequence seq_h; create table serial_h (id serial primary key, a int);
create function reads_h() returns bigint stable language sql as 'select count(*) from h';
create function writes_h() returns int volatile language plpgsql as $$ begin insert into serial_h (a) values (1); return 1; end $$;
create function lies_h() returns int stable language sql as 'select writes_h()';
create function seq_f() returns bigint stable language sql as 'select last_value from seq_h';
create procedure proc_h() language plpgsql as $$ begin insert into serial_h (a) values (2); commit; insert into serial_h (a) values (3); end $$;
create view plain_v as select id, v + 1 as w from h; create view liar_v as select lies_h() as one; create view stacked_v as select * from liar_v;
create table guarded_h (a int, b int generated always as (a * 2) stored); insert into guarded_h values (1), (2);
alter table guarded_h enable row level security; create policy p on guarded_h using (a > 0 and reads_h() >= 0);
create table liars_h (a int); insert into liars_h values (1); alter table liars_h enable row level security; create policy p on liars_h using (lies_h() = 1);
create function op_f(int, int) returns bool volatile language plpgsql as $$ begin perform writes_h(); return true; end $$;
create operator ~~~ (leftarg = int, rightarg = int, function = op_f);
create domain checked as int check (value > 0 and lies_h() = 1);
create materialized view mat_h as select count(*) from h;
create role hard_app; grant select on all tables in schema public to hard_app;
`

var hardCases = []struct {
	name  string
	steps []hard
}{
	{"several statements in a Query", []hard{
		q(replica, "select count(*) from h; select 2"), q(primary, "select 1; insert into h values (101, 1)"), q(primary, "select 1; select nextval('seq_h')"),
		q(primary, "begin; select 1; commit"), q(primary, "insert into h values (102, 1); select 1/0"), q(replica, "select count(*) from h"),
		q(unasked, "select 1; selec 2"), q(primary, "set work_mem = '1MB'; show work_mem")}},
	{"a pipeline is one unit", []hard{
		x(replica, "select 1", "select count(*) from h"), x(primary, "select count(*) from h", "insert into h values (103, 1)", "select count(*) from h"),
		x(primary, "insert into h values (104, 1)", "insert into h values (104, 1)"), x(replica, "select count(*) from h where id > 100"), x(replica, "select 1/0", "select 1")}},
	{"Flush and what follows it", []hard{
		raw(primary, "P B E H P B E S", parseMsg("", "select count(*) from h"), bindMsg("", ""), executeMsg("", 0), flushMsg, parseMsg("", "insert into h values (105, 1)"), bindMsg("", ""), executeMsg("", 0), syncMsg),
		raw(primary, "P H B H E H S", parseMsg("", "select 1"), flushMsg, bindMsg("", ""), flushMsg, executeMsg("", 0), flushMsg, syncMsg),
		raw(unasked, "H S", flushMsg, syncMsg)}},
	{"portals with row limits", []hard{
		raw(replica, "E2 E2 E0", parseMsg("", "select id from h where id < 10 order by id"), bindMsg("", ""), executeMsg("", 2), executeMsg("", 2), executeMsg("", 0), syncMsg),
		raw(replica, "E2", parseMsg("", "select id from h where id < 10 order by id"), bindMsg("", ""), executeMsg("", 2), syncMsg),
		raw(unasked, "E of a portal that ended with its group", executeMsg("", 2), syncMsg),
		q(primary, "begin"), raw(primary, "named", parseMsg("s", "select id from h where id < 10 order by id"), bindMsg("p", "s"), executeMsg("p", 2), syncMsg),
		raw(primary, "again", executeMsg("p", 2), syncMsg), q(primary, "select 1"), raw(primary, "rest", executeMsg("p", 0), syncMsg), q(primary, "commit"),
		raw(unasked, "after its transaction", executeMsg("p", 0), syncMsg)}},
	{"a portal of a read-only transaction", []hard{
		q(unasked, "begin read only"), raw(replica, "E2", parseMsg("", "select id from h where id < 10 order by id"), bindMsg("", ""), executeMsg("", 2), syncMsg),
		raw(replica, "E0", executeMsg("", 0), syncMsg), q(unasked, "commit"),
		q(unasked, "begin read only"), raw(primary, "named", parseMsg("s", "select id from h where id < 10 order by id"), bindMsg("p", "s"), executeMsg("p", 2), syncMsg),
		raw(unasked, "again", executeMsg("p", 0), syncMsg), q(unasked, "commit")}},
	{"COPY", []hard{
		q(replica, "copy (select id from h where id < 4 order by id) to stdout"), q(replica, "copy guarded_h to stdout"), q(replica, "copy (select reads_h() > 0) to stdout (format csv)"),
		q(primary, "copy (insert into h values (106, 1) returning id) to stdout"), q(primary, "copy (select lies_h()) to stdout"), q(primary, "copy h (id) from stdin"),
		q(unasked, "copy h to '/nowhere/at/all'"), x(replica, "copy (select 1) to stdout")}},
	{"EXPLAIN", []hard{
		q(replica, "explain (costs off) select * from h where id = 1"), q(replica, "explain (analyze, buffers off, costs off, timing off, summary off) select count(*) from h where id < 5"),
		q(primary, "explain (costs off) insert into h values (107, 1)"), q(primary, "explain (analyze, buffers off, costs off, timing off, summary off) insert into h values (107, 1)"),
		q(primary, "explain (analyze, buffers off, costs off, timing off, summary off) select writes_h()"), q(replica, "select count(*) from h where id = 107")}},
	{"cursors", []hard{
		q(primary, "begin"), q(primary, "declare c cursor for select id from h order by id"), q(primary, "fetch 2 from c"), q(primary, "move 2 from c"), q(primary, "fetch c"), q(primary, "close c"),
		q(primary, "commit"), q(unasked, "fetch c"), q(primary, "declare w cursor with hold for select id from h order by id"), q(primary, "fetch 2 from w"),
		q(unasked, "select count(*) from h where id < 5"), q(primary, "fetch 2 from w"), q(primary, "close w")}},
	{"DO and CALL", []hard{
		q(primary, "do $$ begin insert into serial_h (a) values (5); end $$"), q(primary, "call proc_h()"), q2(replica, "select count(*) > 2 from serial_h"),
		q(unasked, "begin"), q(unasked, "call proc_h()"), q(unasked, "rollback")}},
	{"functions, and what they call", []hard{
		q(replica, "select reads_h() > 0"), q(primary, "select writes_h()"), q(primary, "select lies_h()"), q(primary, "select seq_f() > 0"), q(primary, "select * from liar_v"),
		q(primary, "select * from stacked_v"), q(replica, "select count(*) from plain_v"), q(replica, "select * from guarded_h order by a"), q(primary, "select * from liars_h"),
		q(primary, "select 1 ~~~ 2"), q(primary, "select 1::checked"), q(replica, "select count(*) >= 0 from mat_h"), q(unasked, "select public.nope(1)")}},
	{"temporary tables", []hard{
		q(primary, "create temp table h (id int)"), q(primary, "insert into h values (1), (2), (3)"), q(primary, "select count(*) from h"), x(primary, "select sum(id) from h"),
		q(primary, "select count(*) from public.h where id < 5 and exists (select from h)"), q(primary, "drop table h"), q(unasked, "select count(*) from h where id < 5")}},
	{"an unlogged table is nowhere but on the primary", []hard{q(primary, "select count(*) from unlogged_h"), q(primary, "copy unlogged_h to stdout")}},
	{"locking clauses", []hard{
		q(primary, "select id from h where id = 1 for update"), q(primary, "select id from h where id = 1 for no key update nowait"), q(primary, "select id from h where id = 1 for share skip locked"),
		q(primary, "with x as (select id from h where id = 1 for key share) select * from x"), q(unasked, "begin read only"), q(unasked, "select id from h for update"), q(unasked, "rollback")}},
	{"WITH that writes", []hard{
		q(primary, "with x as (insert into h values (108, 1) returning id) select * from x"), q(primary, "with x as (delete from h where id = 108) select 1"), q(replica, "select count(*) from h where id = 108"),
		q(primary, "select 1 as into_h into made_h"), q2(unasked, "select count(*) from made_h")}},
	{"two-phase commit", []hard{
		q(primary, "begin"), q(primary, "insert into h values (109, 1)"), q(primary, "prepare transaction 'hard'"), q2(replica, "select count(*) from h where id = 109"),
		q(primary, "select gid from pg_prepared_xacts where database = current_database()"), q(primary, "commit prepared 'hard'"), q2(replica, "select count(*) from h where id = 109"),
		q(unasked, "commit prepared 'hard'"), q(primary, "begin"), q(primary, "insert into h values (110, 1)"), q(primary, "prepare transaction 'hard'"), q(primary, "rollback prepared 'hard'"),
		q2(replica, "select count(*) from h where id = 110")}},
	{"sequences", []hard{
		q(primary, "select nextval('seq_h') > 0"), q(primary, "select currval('seq_h') = lastval()"), q(primary, "select is_called from seq_h"), q(primary, "select setval('seq_h', 50)"),
		q(primary, "insert into serial_h (a) values (9)"), q(primary, "select currval(pg_get_serial_sequence('serial_h', 'id')) = max(id) from serial_h"), q(primary, "select lastval() = max(id) from serial_h")}},
	{"advisory locks", []hard{
		q(primary, "select pg_advisory_lock(7)"), q2(primary, "select pg_try_advisory_lock(7)"), q(unasked, "select count(*) from h where id < 5"), q(primary, "select pg_advisory_unlock(7)"),
		q2(primary, "select pg_try_advisory_lock(7)"), q2(primary, "select pg_advisory_unlock(7)"), q(primary, "begin"), q(primary, "select pg_advisory_xact_lock(8)"),
		q2(primary, "select pg_try_advisory_lock(8)"), q(primary, "commit"), q2(primary, "select pg_try_advisory_xact_lock(8)")}},
	{"large objects", []hard{
		q(primary, "select lo_create(424242)"), q(primary, "begin"), q(primary, "select lo_open(424242, 131072)"), q(primary, "select lowrite(0, 'abc')"), q(primary, "commit"),
		q(primary, "select lo_get(424242)"), q(primary, "select lo_unlink(424242)"), q(unasked, "select lo_get(424242)")}},
	{"a client believes that it talks to a primary", []hard{
		q(primary, "select pg_is_in_recovery()"), q(primary, "show transaction_read_only"), q(primary, "show in_hot_standby"), q(primary, "show default_transaction_read_only"),
		q(primary, "select current_setting('transaction_read_only'), current_setting('in_hot_standby')"), q(primary, "select name, setting from pg_settings where name in ('in_hot_standby', 'transaction_read_only') order by 1"),
		q(unasked, "begin read only"), q(unasked, "select count(*) from h where id < 5"), q(unasked, "show transaction_read_only"), q(unasked, "show in_hot_standby"), q(unasked, "commit"),
		q(unasked, "begin read only"), q(unasked, "select count(*) from h where id < 5"), q(unasked, "select pg_is_in_recovery()"), q(unasked, "commit"),
		q(unasked, "begin read only"), q(unasked, "show in_hot_standby"), q(unasked, "select pg_is_in_recovery(), pg_last_wal_replay_lsn() is null"), q(unasked, "commit")}},
	{"what describes one server", []hard{
		q(primary, "select count(*) > 0 from pg_stat_activity where state = 'active'"), q(primary, "select count(*) from pg_stat_replication where false"), q(primary, "select count(*) > 0 from pg_locks"),
		q(primary, "select count(*) from pg_cursors"), q(primary, "show server_version_num"), q(primary, "select inet_server_port() is not null"),
		q(primary, "show all"), q(replica, "select count(*) from pg_class where relname = 'h'"), q(replica, "select tablename from pg_tables where tablename = 'h'"),
		q(unasked, "select table_name from information_schema.tables where table_name = 'h'"), q(primary, "select pg_current_wal_lsn() is not null"), q(primary, "select txid_current_if_assigned()")}},
	{"which process it is", []hard{ // from then on it stays that
		q(primary, "select count(*) > 0 from pg_stat_activity where pid = pg_backend_pid()"), q(primary, "select pg_backend_pid() = pg_backend_pid()"),
		q(primary, "select count(*) from pg_class where relname = 'h'")}},
	{"roles and policies", []hard{
		q(primary, "set role hard_app"), q(replica, "select * from guarded_h order by a"), q(unasked, "select * from h where id = 1 for update"), q(unasked, "insert into h values (111, 1)"),
		q(primary, "reset role"), q(replica, "select count(*) from guarded_h")}},
}

// TestHardCases: where what is hard to route runs, and that the client is told
// what it would be told on the primary.
func TestHardCases(t *testing.T) {
	c := use(t, trusting)
	if err := c.Primary().Exec(t.Context(), "create database hard"); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, c.Primary().DSN(cluster.SuperUser, cluster.SuperPassword, "hard"))
	if _, err := conn.Exec(t.Context(), hardSchema); err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
	if err := c.Primary().Exec(t.Context(), "create database hard_proxied template hard"); err != nil {
		t.Fatal(err)
	}
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust, PoolSize: 4, Policy: proxy.Policy{Wait: patience}})
	enter := func(t *testing.T, addr, database string) (two [2]*peer) {
		t.Helper()
		for i := range two {
			p, err := login(addr, cluster.SuperUser, database)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { p.conn.Close() })
			two[i] = p
		}
		return two
	}
	for _, hc := range hardCases {
		t.Run(strings.ReplaceAll(hc.name, " ", "_"), func(t *testing.T) {
			direct := enter(t, c.Primary().Addr(), "hard")
			var want [][]string
			for _, h := range hc.steps {
				answer, err := direct[h.who].play(h.step, nil)
				if err != nil {
					t.Fatalf("direct: %s: %v", h.text, err)
				}
				want = append(want, answer)
			}
			proxied := enter(t, s.addr(), "hard_proxied")
			if v := proxied[0].params["in_hot_standby"]; v != "" && v != "off" {
				t.Errorf("in_hot_standby is reported as %s", v)
			}
			for _, p := range proxied {
				p.onReplicas(t, "select 1") // what an earlier case has created is known
			}
			for i, h := range hc.steps {
				if h.role == replica {
					routable(t, s)
				}
				got, err := proxied[h.who].play(h.step, nil)
				if err != nil || !slices.Equal(got, want[i]) && !strings.HasPrefix(h.text, "show all") {
					t.Fatalf("%s: the proxy says (%v)\n\t%s\nwant\n\t%s", h.text, err, strings.Join(got, "\n\t"), strings.Join(want[i], "\n\t"))
				}
				if h.role == unasked {
					continue
				}
				if role, reason := proxied[h.who].route(t); role != h.role {
					t.Errorf("%s runs on the %s (%s), want the %s", h.text, role, reason, h.role)
				}
			}
		})
	}
}

// routable waits until reads are routed as such again after what may have changed
// the catalogue.
func routable(t *testing.T, s *served) {
	t.Helper()
	p, err := login(s.addr(), cluster.SuperUser, "hard_proxied")
	if err != nil {
		t.Fatal(err)
	}
	defer p.conn.Close()
	p.onReplicas(t, "select 1")
}
