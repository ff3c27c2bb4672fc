package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// caught is a client that a failover catches in the middle of something.
type caught struct {
	name string
	// before is what it does before: statements, each answered.
	before []string
	// during is what it has sent when the primary dies, and comes is the message
	// that it waits for then, if any.
	during []byte
	comes  byte
	// after is what it sends when everything is over.
	after []byte
	ready byte // the transaction status that it is told with the error
	p     *peer
}

// TestFailoverCatchesClients: whatever a client is doing on the primary when
// that dies, it is told one error about it, and goes on.
func TestFailoverCatchesClients(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust})
	s.led(t)
	insert := wire.AppendQuery(nil, "insert into caught_t values (-1)")
	group := func(sql string) []byte {
		b := wire.AppendParse(nil, nil, []byte(sql+"\x00\x00\x00"))
		b = wire.AppendBind(b, nil, nil, make([]byte, 6))
		return append(b, frame('E', "\x00\x00\x00\x00\x00")...)
	}
	all := []*caught{
		{name: "in a transaction", before: []string{"begin", "insert into caught_t values (-1)"}, after: insert, ready: 'E'},
		{name: "behind a savepoint", before: []string{"begin", "insert into caught_t values (-1)", "savepoint a", "insert into caught_t values (-1)"}, after: insert, ready: 'E'},
		{name: "at a cursor", before: []string{"begin", "declare c cursor for select generate_series(1, 10) for update of caught_t", "rollback",
			"begin", "insert into caught_t values (-1)", "declare c cursor for select * from caught_t", "fetch 1 from c"}, after: wire.AppendQuery(nil, "fetch 1 from c"), ready: 'E'},
		{name: "in a transaction, extended", before: []string{"begin", "insert into caught_t values (-1)"},
			after: wire.AppendSync(group("insert into caught_t values (-1)")), ready: 'E'},
		{name: "at a statement", during: wire.AppendQuery(nil, "insert into caught_t select -1 from pg_sleep(600)"), ready: 'I'},
		{name: "at a statement of a transaction", before: []string{"begin", "insert into caught_t values (-1)"},
			during: wire.AppendQuery(nil, "select pg_sleep(600)"), ready: 'E'},
		{name: "in a group", during: append(group("insert into caught_t values (-1)"), frame('H', "")...), comes: 'C',
			after: wire.AppendSync(group("insert into caught_t values (-1)")), ready: 'I'},
		{name: "in a group of a transaction", before: []string{"begin"}, during: append(group("insert into caught_t values (-1)"), frame('H', "")...),
			comes: 'C', after: wire.AppendSync(group("insert into caught_t values (-1)")), ready: 'E'},
		{name: "in a copy", during: wire.AppendQuery(nil, "copy caught_t from stdin"), comes: 'G', after: frame('c', ""), ready: 'I'},
		{name: "in a copy of a transaction", before: []string{"begin"}, during: wire.AppendQuery(nil, "copy caught_t from stdin"),
			comes: 'G', after: frame('c', ""), ready: 'E'},
		{name: "in a copy, extended", during: wire.AppendSync(group("copy caught_t from stdin")), comes: 'G',
			after: wire.AppendSync(frame('c', "")), ready: 'I'},
	}
	idle := s.enter(t)
	idle.get(t, "create table caught_t (a int)")
	for _, x := range all {
		x.p = s.enter(t)
		x.p.get(t, fmt.Sprintf("set application_name = '%s'", x.name))
		x.p.get(t, "prepare mine as select 42")
		for _, sql := range x.before {
			if out, err := x.p.ask(sql); err != nil || sqlState(out) != "" && !strings.Contains(sql, "for update") {
				t.Fatalf("%s: %s: %v, %v", x.name, sql, out, err)
			}
		}
		if x.during != nil {
			if err := x.p.send(x.during, nil); err != nil {
				t.Fatal(err)
			}
		}
		if x.comes != 0 {
			x.p.until(t, x.comes)
		}
	}
	running := func() error {
		n, err := c.Primary().QueryString(t.Context(), "select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' and state = 'active' and pid <> pg_backend_pid()")
		if err == nil && n != "2" {
			err = errString(n + " statements run")
		}
		return err
	}
	eventually(t, running)
	if err := c.WaitCaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Primary().Stop(cluster.Kill); err != nil {
		t.Fatal(err)
	}
	// While there is no primary, new work waits.
	late := s.enter(t)
	if err := late.send(wire.AppendQuery(nil, "insert into caught_t values (1)"), nil); err != nil {
		t.Fatal(err)
	}
	begun := s.enter(t)
	if err := begun.send(wire.AppendQuery(nil, "begin"), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Replicas()[0].Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, x := range all {
		if x.after != nil {
			if err := x.p.send(x.after, nil); err != nil {
				t.Fatalf("%s: %v", x.name, err)
			}
		}
		var out []message
		errors, ready := 0, byte(0)
		for ready == 0 {
			m, err := x.p.next()
			if err != nil {
				t.Fatalf("%s: %v", x.name, err)
			}
			out = append(out, m)
			switch m.typ {
			case 'E':
				errors++
			case 'Z':
				ready = m.body[0]
			}
		}
		code := sqlState(out)
		if errors != 1 || code != "08006" && code != "57P01" && code != "57P02" || ready != x.ready {
			t.Errorf("%s: it is told %v, want one error and %c", x.name, out, x.ready)
			continue
		}
		if ready == 'E' {
			if out, err := x.p.ask("select 1"); err != nil || sqlState(out) != "25P02" {
				t.Errorf("%s: in the failed transaction: %v, %v", x.name, out, err)
			}
			x.p.get(t, "rollback")
		}
		x.p.get(t, "insert into caught_t values (2)")
		if got := x.p.get(t, "show application_name"); got != x.name {
			t.Errorf("%s is called %q", x.name, got)
		}
		if got := x.p.get(t, "execute mine"); got != "42" {
			t.Errorf("%s: its statement says %q", x.name, got)
		}
	}
	for _, p := range []*peer{late, begun} {
		if out, err := p.answer(); err != nil || sqlState(out) != "" {
			t.Errorf("who has waited is told %v, %v", out, err)
		}
	}
	begun.get(t, "insert into caught_t values (1)")
	begun.get(t, "commit")
	if n, want := idle.get(t, "select count(*) filter (where a = 1) * 100 + count(*) filter (where a = 2) + count(*) filter (where a < 0) * 10000 from caught_t"),
		fmt.Sprint(200+len(all)); n != want {
		t.Errorf("the rows are %s, want %s", n, want)
	}
}
