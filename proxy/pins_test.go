package proxy_test

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// pinned is a proxy whose clients share so many connections to each node.
func pinned(t *testing.T, size int) *served {
	t.Helper()
	return start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: size,
		Policy: proxy.Policy{Wait: patience}})
}

// values are the columns of a DataRow; NULL is empty.
func (m message) values() []string {
	var out []string
	b := m.body[2:]
	for len(b) >= 4 {
		n := max(int(int32(binary.BigEndian.Uint32(b))), 0)
		out = append(out, string(b[4:4+n]))
		b = b[4+n:]
	}
	return out
}

// row returns the first row that a statement answers.
func (p *peer) row(t testing.TB, sql string) []string {
	t.Helper()
	out, err := p.ask(sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	for _, m := range out {
		if m.typ == 'D' {
			return m.values()
		}
	}
	t.Fatalf("%s is answered %v", sql, out)
	return nil
}

// shown are what SHOW CLIENTS says of a client: its server's process, and why
// it is pinned.
func (s *served) shown(t testing.TB, p *peer) (link, pin string) {
	t.Helper()
	admin, err := login(s.addr(), cluster.SuperUser, "pgroute")
	if err != nil {
		t.Fatal(err)
	}
	defer admin.conn.Close()
	out, err := admin.ask("SHOW CLIENTS")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range out {
		if m.typ != 'D' {
			continue
		}
		if v := m.values(); v[7] == strconv.Itoa(int(p.pid)) {
			return v[6], v[10]
		}
	}
	t.Fatalf("client %d is not shown", p.pid)
	return "", ""
}

// unpinned waits until a client is not pinned any more.
func (s *served) unpinned(t testing.TB, p *peer) {
	t.Helper()
	eventually(t, func() error {
		if _, pin := s.shown(t, p); pin != "" {
			return errString("pinned by " + pin)
		}
		return nil
	})
}

// TestPinEnds: a client gives its backend back as soon as that holds nothing of
// it any more.
func TestPinEnds(t *testing.T) {
	s := pinned(t, 1)
	other := connect(t, use(t, trusting).Primary().DSN(cluster.SuperUser, cluster.SuperPassword, cluster.AppDatabase))
	if _, err := other.Exec(t.Context(), "select pg_advisory_lock(7002)"); err != nil {
		t.Fatal(err)
	}
	a, b := s.enter(t), s.enter(t)
	if _, err := other.Exec(t.Context(), `drop schema if exists pin_hostile cascade; create schema pin_hostile;
		create table pin_hostile.pg_depend (refclassid oid, refobjid oid);
		create table pin_hostile.pg_locks (locktype text, pid int);
		create function pin_hostile.never(oid, oid) returns boolean immutable language sql as 'select false';
		create operator pin_hostile.= (leftarg = oid, rightarg = oid, function = pin_hostile.never);
		create function pin_hostile.never(int, int) returns boolean immutable language sql as 'select false';
		create operator pin_hostile.= (leftarg = int, rightarg = int, function = pin_hostile.never)`); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		begin []string
		pin   string // what is shown then, empty if it does not pin
		end   []string
	}{
		{[]string{"create temp table pin_x (a int)"}, "temporary table", []string{"drop table pin_x"}},
		{[]string{"create temp table pin_x (a int)", "create temp table pin_y (a int)", "drop table pin_x"}, "temporary table", []string{"drop table pin_y"}},
		{[]string{"create temp table pin_x (a int)"}, "temporary table", []string{"discard temp"}},
		{[]string{"create temp table pin_x (a int)", "begin", "drop table pin_x", "rollback"}, "temporary table", []string{"drop table pin_x"}},
		{[]string{"begin", "create temp table pin_x (a int) on commit drop"}, "temporary table", []string{"commit"}},
		{[]string{"begin", "create temp table pin_x (a int)"}, "temporary table", []string{"rollback"}},
		{[]string{"begin", "create temp table pin_x (a int)", "selec 1"}, "temporary table", []string{"commit"}},
		{[]string{"create temp table pin_x (a int) on commit drop"}, "", nil},
		{[]string{"create temp table pin_x (a nosuch)"}, "", nil},
		{[]string{"create temp table pin_x (a int); drop table pin_x"}, "", nil},
		{[]string{"create function pg_temp.pin_f() returns int language sql as 'select 1'"}, "temporary table", []string{"drop function pg_temp.pin_f()"}},
		{[]string{"create temp view pin_v as select 1"}, "temporary table", []string{"drop view pin_v"}},
		{[]string{"create type pg_temp.pin_t as enum ('a')"}, "temporary table", []string{"drop type pg_temp.pin_t"}},
		{[]string{"select pg_advisory_lock(7001)"}, "advisory lock", []string{"select pg_advisory_unlock(7001)"}},
		{[]string{"select pg_advisory_lock(7001)", "select pg_advisory_lock(7001)", "select pg_advisory_unlock(7001)"}, "advisory lock", []string{"select pg_advisory_unlock_all()"}},
		{[]string{"select pg_try_advisory_lock(7001)"}, "advisory lock", []string{"select pg_advisory_unlock(7001)"}},
		{[]string{"select pg_try_advisory_lock(7002)"}, "", nil},
		{[]string{"begin", "declare pin_h cursor with hold for select 1", "commit"}, "cursor WITH HOLD", []string{"close pin_h"}},
		{[]string{"begin", "declare pin_h cursor with hold for select 1"}, "cursor WITH HOLD", []string{"rollback"}},
		{[]string{"select set_config('pin.x', 'y', false)"}, "set_config", []string{"discard all"}},
		// Nothing hides what is asked.
		{[]string{"set search_path = pin_hostile, pg_catalog", "create temp table pin_x (a int)", "drop table if exists pin_nosuch"}, "temporary table", []string{"drop table pin_x"}},
		{[]string{"select pg_advisory_lock(7001)", "select pg_advisory_unlock(7005)"}, "advisory lock", []string{"select pg_advisory_unlock(7001)"}},
		{[]string{"reset search_path"}, "", nil},
		{[]string{"frobnicate"}, "", nil},
		{[]string{"select pg_backend_pid()"}, "pg_backend_pid()", []string{"discard all"}},
	} {
		name := c.begin[len(c.begin)-1]
		for _, sql := range c.begin {
			if _, err := a.ask(sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
		if c.pin != "" {
			eventually(t, func() error {
				if _, pin := s.shown(t, a); pin != c.pin {
					return fmt.Errorf("%s: the pin is %q, want %q", name, pin, c.pin)
				}
				return nil
			})
		}
		for _, sql := range c.end {
			a.get(t, sql)
		}
		if c.end == nil && c.pin != "" {
			continue
		}
		s.unpinned(t, a)
		b.get(t, "select 1 from pg_stat_activity limit 1") // on the one connection to the primary
	}
	for _, p := range s.Stats().Pins {
		if p.Reason == "advisory_lock" && (p.Total != 5 || p.Clients != 0) {
			t.Errorf("%+v", p)
		}
	}
}

// TestRefusalFailsAPinnedTransaction: an error of pgroute's own fails the transaction
// of a pinned client as one of the server would, and the savepoints before it stay.
func TestRefusalFailsAPinnedTransaction(t *testing.T) {
	s := pinned(t, 1)
	a := s.enter(t)
	for _, test := range []struct{ sql, says string }{ // SQLSTATE or tag
		{"create temp table pin_refused (a int)", "CREATE TABLE"},
		{"begin", "BEGIN"},
		{"insert into pin_refused values (1)", "INSERT 0 1"},
		{"savepoint a", "SAVEPOINT"},
		{"set pgroute.wait = 'soon'", "22023"},
		{"insert into pin_refused values (2)", "25P02"},
		{"rollback to a", "ROLLBACK"},
		{"insert into pin_refused values (3)", "INSERT 0 1"},
		{"commit", "COMMIT"},
		{"begin", "BEGIN"},
		{"insert into pin_refused values (4)", "INSERT 0 1"},
		{"set pgroute.wait = 'soon'", "22023"},
		{"commit", "ROLLBACK"},
	} {
		out, err := a.ask(test.sql)
		if err != nil {
			t.Fatalf("%s: %v", test.sql, err)
		}
		last := out[len(out)-1]
		says := strings.TrimSuffix(string(last.body), "\x00")
		if last.typ == 'E' {
			says = string(wire.Field(last.body, 'C'))
		}
		if says != test.says {
			t.Fatalf("%s: %s, want %s", test.sql, last, test.says)
		}
	}
	if got := a.row(t, "select string_agg(a::text, ',' order by a) from pin_refused")[0]; got != "1,3" {
		t.Errorf("there is %s, want 1,3", got)
	}
}

// executed is an unnamed statement that is run once, without Sync.
func executed(sql string) []byte {
	b := wire.AppendBind(wire.AppendParse(nil, nil, []byte(sql+"\x00\x00\x00")), nil, nil, make([]byte, 6))
	return append(b, frame('E', "\x00\x00\x00\x00\x00")...)
}

// TestRefusedBegin: what a pinned client has sent behind a BEGIN that pgroute
// refuses does not run without it.
func TestRefusedBegin(t *testing.T) {
	s := pinned(t, 1)
	a := s.enter(t)
	a.get(t, "create temp table pin_begun (a int)")
	for _, flush := range []string{"", "H\x00\x00\x00\x04"} {
		b := append(append(executed("begin"), executed("show pgroute.wait")...), flush...)
		b = wire.AppendQuery(wire.AppendSync(b), "insert into pin_begun values (1)")
		if err := a.send(wire.AppendQuery(b, "commit"), nil); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"0A000", "25P02", ""} {
			if out, err := a.answer(); err != nil || sqlState(out) != want {
				t.Errorf("it is told %v, %v, want %q", out, err, want)
			}
		}
		if n := a.get(t, "select count(*) from pin_begun"); n != "0" {
			t.Errorf("%s rows are there", n)
		}
	}
}

// TestPinnedReadsElsewhere: while a client is pinned by what a read cannot see,
// its reads run on replicas, and see what it has written.
func TestPinnedReadsElsewhere(t *testing.T) {
	s := pinned(t, 2)
	a, b := s.enter(t), s.enter(t)
	b.get(t, "drop table if exists pin_r; create table pin_r (a int)")
	a.get(t, "select pg_advisory_lock(7003)")
	link, _ := s.shown(t, a)
	role := func(want string) {
		t.Helper()
		eventually(t, func() error { // the catalogue has to be fresh
			a.get(t, "select count(*) from pin_r")
			if v := a.row(t, "show pgroute.last_route"); v[1] != want {
				return fmt.Errorf("the read ran on the %s, because %s", v[1], v[2])
			}
			return nil
		})
	}
	role("replica")
	for i := range 20 {
		a.get(t, "insert into pin_r values (1)")
		if n := a.get(t, "select count(*) from pin_r"); n != strconv.Itoa(i+1) {
			t.Fatalf("it reads %s of %d rows", n, i+1)
		}
		if now, pin := s.shown(t, a); now != link || pin != "advisory lock" {
			t.Fatalf("its server is %s, pinned by %q; it was %s", now, pin, link)
		}
	}
	if got := b.get(t, "select pg_try_advisory_lock(7003)"); got != "f" {
		t.Error("it has lost its lock")
	}
	a.get(t, "create temp table pin_r (a int)") // it hides the other one
	if n := a.get(t, "select count(*) from pin_r"); n != "0" {
		t.Errorf("it reads %s rows of its own empty table", n)
	}
	role("primary")
	if v := a.row(t, "show pgroute.last_route"); v[2] != "pinned" {
		t.Errorf("the reason is %q", v[2])
	}
	a.get(t, "drop table pin_r")
	role("replica")
	a.conn.Close() // its server connection is cleaned
	eventually(t, func() error {
		if got := b.get(t, "select pg_try_advisory_lock(7003)"); got != "t" {
			return errString("the lock of who has left is still there")
		}
		return nil
	})
}

// TestPinnedServerEnds while a read runs elsewhere: the answer comes first.
func TestPinnedServerEnds(t *testing.T) {
	s := pinned(t, 2)
	c := use(t, trusting)
	direct := connect(t, c.Primary().DSN(cluster.SuperUser, cluster.SuperPassword, cluster.AppDatabase))
	a := s.enter(t)
	a.get(t, "select pg_advisory_lock(7004)")
	link, _ := s.shown(t, a)
	eventually(t, func() error {
		a.get(t, "select 1")
		if v := a.row(t, "show pgroute.last_route"); v[1] != "replica" {
			return errString(v[2])
		}
		return nil
	})
	if err := a.send(wire.AppendQuery(nil, "select 'ends', pg_sleep(2)"), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if now, _ := s.shown(t, a); now == link {
			return errString("the read has not begun")
		}
		return nil
	})
	if _, err := direct.Exec(t.Context(), "select pg_terminate_backend("+link+")"); err != nil {
		t.Fatal(err)
	}
	out, err := a.answer()
	if err != nil || len(out) < 2 || out[1].typ != 'D' {
		t.Fatalf("the read is answered %v, %v", out, err)
	}
	if _, err := a.ask("insert into nosuch values (1)"); err == nil {
		t.Error("the client goes on without what it was pinned to")
	}
}

// TestBackendPIDStays: who asks for its process can be found by it.
func TestBackendPIDStays(t *testing.T) {
	s := pinned(t, 3)
	a, b := s.enter(t), s.enter(t)
	pid := a.get(t, "select pg_backend_pid()")
	var others sync.WaitGroup
	for range 3 { // others want a connection, too
		p := s.enter(t)
		others.Go(func() {
			for range 20 {
				if _, err := p.ask("select 1 from pg_stat_activity limit 1"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		if now := a.get(t, "select pg_backend_pid()"); now != pid {
			t.Fatalf("its process is %s and then %s", pid, now)
		}
	}
	others.Wait()
	if err := a.send(wire.AppendQuery(nil, "select pg_sleep(3600)"), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if n := b.get(t, "select count(*) from pg_stat_activity where state = 'active' and query = 'select pg_sleep(3600)' and pid = "+pid); n != "1" {
			return errString("it does not sleep yet")
		}
		return nil
	})
	b.get(t, "select pg_cancel_backend("+pid+")")
	if out, err := a.answer(); err != nil || sqlState(out) != "57014" {
		t.Errorf("canceled by its process, it is told %v, %v", out, err)
	}
	b.get(t, "select pg_terminate_backend("+pid+")")
	if out, err := a.ask("select 1"); err == nil || len(out) > 0 && string(wire.Field(out[len(out)-1].body, 'V')) != "FATAL" {
		t.Errorf("terminated by its process, it is told %v, %v", out, err)
	}
}

// TestTemporaryTablesTakeTurns: many clients with temporary tables share one
// connection.
func TestTemporaryTablesTakeTurns(t *testing.T) {
	s := pinned(t, 1)
	var clients sync.WaitGroup
	for i := range 12 {
		clients.Go(func() {
			p := s.enter(t)
			for round := range 8 {
				n := strconv.Itoa(100*i + round)
				var want string
				switch (i + round) % 3 {
				case 0:
					p.get(t, "create temp table turn (a int)")
					p.get(t, "insert into turn values ("+n+")")
					want = p.get(t, "select a from turn")
					p.get(t, "drop table turn")
				case 1:
					p.get(t, "begin")
					p.get(t, "create temp table turn on commit drop as select "+n+" as a")
					want = p.get(t, "select a from turn")
					p.get(t, "commit")
				case 2: // it leaves with its table
					p.get(t, "create temp table turn as select "+n+" as a")
					want = p.get(t, "select a from turn")
					p.conn.Close()
					p = s.enter(t)
				}
				if want != n {
					t.Errorf("client %d finds %s in its table, want %s", i, want, n)
				}
			}
		})
	}
	clients.Wait()
}

// TestSequencesAreTheSessions: currval and lastval tell what this client has
// done, or that it has done nothing.
func TestSequencesAreTheSessions(t *testing.T) {
	s := pinned(t, 20)
	setup := s.enter(t)
	setup.get(t, "drop table if exists seq_t; create table seq_t (id serial primary key, who int)")
	var clients sync.WaitGroup
	for i := range 8 {
		p := s.enter(t, "application_name", "sequences")
		clients.Go(func() {
			for round := range 25 {
				id := p.get(t, fmt.Sprintf("insert into seq_t (who) values (%d) returning id", i))
				ask := []string{"select lastval()", "select currval('seq_t_id_seq')"}[(i+round)%2]
				out, err := p.ask(ask)
				switch {
				case err != nil:
					t.Error(err)
					return
				case sqlState(out) == "55000" && round == 0: // others were faster, and nobody knew that it would ask
				case sqlState(out) != "":
					t.Errorf("client %d, round %d: %v", i, round, out)
				case out[1].values()[0] != id:
					t.Errorf("client %d, round %d: %s is %s, want %s", i, round, ask, out[1].values()[0], id)
				}
			}
		})
	}
	clients.Wait()
	last := s.enter(t)
	if out, err := last.ask("select lastval()"); err != nil || sqlState(out) != "55000" {
		t.Errorf("who has used no sequence is told %v, %v", out, err)
	}
}
