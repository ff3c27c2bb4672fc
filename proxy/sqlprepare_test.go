package proxy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// mine lists what a session has prepared by SQL.
const mine = "select coalesce(string_agg(name, ',' order by name), '') from pg_prepared_statements where from_sql"

// TestSQLPrepareStaysWithItsClient: many clients give the same names to different
// texts, over two backends of each node, and each checks its own all the time.
func TestSQLPrepareStaysWithItsClient(t *testing.T) {
	for _, mode := range []proxy.PoolMode{proxy.PoolAuto, proxy.PoolSession} {
		t.Run(mode.String(), func(t *testing.T) {
			pool, clients := 2, 16
			if mode == proxy.PoolSession {
				pool, clients = 5, 4 // and who makes the table
			}
			s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: pool, PoolMode: mode})
			table := "sql_prepare_" + mode.String()
			s.enter(t).get(t, "create table "+table+" (client int, v int)")
			var all sync.WaitGroup
			for i := range clients {
				p := s.enter(t)
				all.Go(func() { prepareClient(t, p, i, table) })
			}
			all.Wait()
		})
	}
}

// prepareClient is a client that knows what its names mean.
func prepareClient(t *testing.T, p *peer, i int, table string) {
	rnd := rand.New(rand.NewPCG(uint64(i), 3))
	meant := map[string]string{} // name → what it returns
	last := ""
	ask := func(sql string) string {
		last = sql
		return value(p.ask(sql))
	}
	want := func(got, want string) bool {
		if got != want {
			t.Errorf("client %d: %s gives %q, want %q", i, last, got, want)
		}
		return got == want
	}
	names := []string{"a", "b", `"C d"`, "e"}
	stored := 0
	for round := range 60 {
		name := names[rnd.IntN(len(names))]
		text, known := meant[name]
		ok := true
		switch rnd.IntN(12) {
		case 0, 1, 2: // a new meaning
			text = fmt.Sprintf("%d/%d", i, round)
			got := ask(fmt.Sprintf("prepare %s (int) as select '%s/' || $1", name, text))
			if known {
				ok = want(got, "42P05") && want(ask("deallocate "+name), "DEALLOCATE")
				delete(meant, name)
			} else {
				ok = want(got, "PREPARE")
				meant[name] = text
			}
		case 3, 4: // by all ways
			if !known {
				ok = want(ask("execute "+name+"(1)"), "26000") && want(bound(p, name), "26000") && want(ask("deallocate "+name), "26000") &&
					want(ask("explain execute "+name+"(1)"), "26000")
				break
			}
			ok = want(ask("execute "+name+"(1)"), text+"/1") && want(ask("/* pgroute: primary */ execute "+name+"(2)"), text+"/2") &&
				want(ask("explain (costs off) execute "+name+"(3)"), "Result") && want(bound(p, name), text+"/4") &&
				want(ask(fmt.Sprintf("create temp table x on commit drop as execute %s(5)", name)), "SELECT 1")
			ok = ok && want(ask("discard all"), "DISCARD ALL") // it was pinned
			clear(meant)
		case 5: // no ROLLBACK takes it back
			ask("begin")
			if known {
				ok = want(ask("execute "+name+"(6)"), text+"/6") && want(ask("deallocate "+name), "DEALLOCATE")
				delete(meant, name)
			} else {
				meant[name] = fmt.Sprint("tx ", i)
				ok = want(ask(fmt.Sprintf("prepare %s (int) as select 'tx %d/' || $1", name, i)), "PREPARE")
			}
			ask("rollback")
		case 6: // a transaction with what was prepared before
			begin := []string{"begin", "begin read only", "begin isolation level repeatable read read only"}[rnd.IntN(3)]
			ask(begin)
			if known {
				ok = want(ask("execute "+name+"(7)"), text+"/7") && want(ask("execute "+name+"(8)"), text+"/8")
			} else {
				ok = want(ask("execute "+name+"(7)"), "26000") && want(ask("select 1"), "25P02")
			}
			ask("commit")
		case 7: // a write
			if ask("prepare w (int, int) as insert into "+table+" values ($1, $2)") == "PREPARE" {
				meant["w"] = ""
			}
			ok = want(ask(fmt.Sprintf("execute w (%d, %d)", i, round)), "INSERT 0 1")
			stored++
			ok = ok && want(ask(fmt.Sprintf("select count(*) from %s where client = %d", table, i)), fmt.Sprint(stored))
		case 8: // what fails is none
			if !known {
				ok = want(ask("prepare "+name+" as select nope"), "42703") && want(ask("execute "+name), "26000")
			}
		case 9:
			if rnd.IntN(2) == 0 {
				ok = want(ask("deallocate all"), "DEALLOCATE ALL")
				clear(meant)
			} else {
				ok = want(ask("discard plans"), "DISCARD PLANS")
			}
		default:
			var list []string
			for name := range meant {
				list = append(list, strings.Trim(name, `"`))
			}
			slices.Sort(list)
			if slices.Contains(list, "C d") { // as the database sorts it
				list = append(slices.DeleteFunc(list, func(s string) bool { return s == "C d" }), "C d")
				slices.SortFunc(list, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
			}
			got := strings.Split(ask(mine), ",")
			slices.SortFunc(got, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
			ok = want(strings.Join(got, ","), strings.Join(list, ","))
		}
		if !ok {
			return
		}
	}
}

// bound runs a prepared statement by the protocol, with the parameter 4.
func bound(p *peer, name string) string {
	b := wire.AppendBind(nil, nil, []byte(strings.Trim(name, `"`)), []byte("\x00\x00\x00\x01\x00\x00\x00\x014\x00\x00"))
	b = append(b, 'E', 0, 0, 0, 9, 0, 0, 0, 0, 0)
	if err := p.send(wire.AppendSync(b), nil); err != nil {
		return err.Error()
	}
	return value(p.answer())
}

// value is the first value of an answer, or its SQLSTATE, or its tag.
func value(out []message, err error) string {
	if err != nil {
		return err.Error()
	}
	if code := sqlState(out); code != "" {
		return code
	}
	tag := ""
	for _, m := range out {
		switch m.typ {
		case 'D':
			return string(m.body[6:])
		case 'C':
			tag = strings.TrimSuffix(string(m.body), "\x00")
		}
	}
	return tag
}

// TestSQLPrepareReadsOnReplicas: EXECUTE of a read is a read, and keeps what the
// client wrote in sight.
func TestSQLPrepareReadsOnReplicas(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 2, Policy: proxy.Policy{Wait: patience}})
	p := s.enter(t)
	p.get(t, "create table prepared_reads (v int)")
	p.get(t, "prepare w (int) as insert into prepared_reads values ($1)")
	p.get(t, "prepare r as select count(*) from prepared_reads")
	eventually(t, func() error { // the catalogue is fresh, and a replica serves
		p.get(t, "execute r")
		if role := p.lastRole(t); role != "replica" {
			return errString("a read on the " + role)
		}
		return nil
	})
	for i := range 20 {
		p.get(t, fmt.Sprintf("execute w (%d)", i))
		if role := p.lastRole(t); role != "primary" {
			t.Errorf("a write on the %s", role)
		}
		if n := p.get(t, "execute r"); n != fmt.Sprint(i+1) {
			t.Errorf("after %d rows EXECUTE sees %s", i+1, n)
		}
		if role := p.lastRole(t); role != "replica" {
			t.Errorf("a read on the %s", role)
		}
	}
	// What the text refers to has become what no replica may run.
	p.get(t, "create function prepared_f() returns int language sql stable as 'select 1'")
	p.get(t, "prepare f as select prepared_f()")
	p.get(t, "drop function prepared_f")
	p.get(t, "create sequence prepared_s")
	p.get(t, "create function prepared_f() returns bigint language sql volatile as 'select nextval(''prepared_s'')'")
	eventually(t, func() error {
		p.get(t, "execute r")
		if role := p.lastRole(t); role != "replica" {
			return errString("a read on the " + role)
		}
		return nil
	})
	if got := value(p.ask("execute f")); got != "1" && got != "0A000" { // as any server says it
		t.Errorf("the function is %q", got)
	}
	if role := p.lastRole(t); role != "primary" {
		t.Errorf("a volatile function on the %s", role)
	}
}

// TestSQLPrepareSurvivesItsServer: no backend is the client's, so none takes its
// statements along.
func TestSQLPrepareSurvivesItsServer(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust})
	p := s.enter(t)
	p.get(t, "create table survivors (v int)")
	p.get(t, "prepare w (int) as insert into survivors values ($1)")
	p.get(t, "prepare r as select count(*) from survivors")
	p.get(t, "execute w (1)")
	eventually(t, func() error {
		if n := p.get(t, "execute r"); n != "1" {
			t.Fatalf("%s rows", n)
		}
		if role := p.lastRole(t); role != "replica" {
			return errString("a read on the " + role)
		}
		return nil
	})
	if err := c.WaitCaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Failover(t.Context(), c.Replicas()[0]); err != nil {
		t.Fatal(err)
	}
	p.get(t, "execute w (2)")
	if n := p.get(t, "execute r"); n != "2" {
		t.Errorf("%s rows after the failover, want 2", n)
	}
	if got := p.get(t, mine); got != "r,w" {
		t.Errorf("the client has prepared %q", got)
	}
}

// TestSQLPrepareBounds: what is too much to follow pins, and a backend does not
// collect what clients leave behind.
func TestSQLPrepareBounds(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 1})
	const each = 250
	s.enter(t).get(t, "create table prepared_bounds (v int)")
	for i := range 4 {
		p := s.enter(t)
		for n := range each {
			p.get(t, fmt.Sprintf("prepare p%d_%d as delete from prepared_bounds where v = %d", i, n, i))
		}
		if got := p.get(t, "select count(*) from pg_prepared_statements where from_sql"); got != fmt.Sprint(each) {
			t.Errorf("client %d has %s statements", i, got)
		}
		p.get(t, fmt.Sprintf("execute p%d_7", i))
		p.conn.Close()
	}
	p := s.enter(t)
	long := strings.Repeat("x", 60<<10)
	for n := range 5 {
		p.get(t, fmt.Sprintf("prepare l%d as select '%s'", n, long))
	}
	// It is pinned now, and PREPARE goes on.
	if got := p.get(t, "select count(*) from pg_prepared_statements where from_sql"); got != "5" {
		t.Errorf("%s long statements", got)
	}
	p.get(t, "discard all")
	s.enter(t).get(t, "select pg_backend_pid()") // the one backend is free
}
