package proxy_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

var untilWrite = proxy.Policy{Wait: patience, TransactionReads: proxy.ReadsUntilWrite}

// TestReadsBeforeTheFirstWrite run on replicas, what follows on the primary,
// and what tells when the transaction began, too.
func TestReadsBeforeTheFirstWrite(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, Policy: untilWrite})
	p := s.enter(t)
	s.enter(t).get(t, "create table first_t (a int); insert into first_t values (1); create view dated_v as select a, current_date as d from first_t;"+
		"create function plain_f() returns bigint stable language sql as 'select count(*) from first_t';"+
		"create function timed_f() returns timestamptz stable language sql as 'select now()'")
	p.onReplicas(t, "select count(*) from first_t")
	on := func(role, reason, sql string) {
		t.Helper()
		p.get(t, sql)
		gotRole, gotReason := p.route(t)
		if gotRole != role || reason != "" && gotReason != reason {
			t.Errorf("%s runs on the %s (%s), want %s %s", sql, gotRole, gotReason, role, reason)
		}
	}
	p.get(t, "begin")
	on("replica", "", "select count(*) from first_t")
	p.get(t, "savepoint a")
	on("replica", "", "select plain_f()")
	on("replica", "", "copy (select 1) to stdout")
	on("primary", "write", "insert into first_t values (2)")
	on("primary", "transaction", "select count(*) from first_t")
	p.get(t, "rollback to a")
	if n := p.get(t, "select count(*) from first_t"); n != "1" {
		t.Errorf("%s rows after ROLLBACK TO, want 1", n)
	}
	p.get(t, "commit")
	p.onReplicas(t, "select count(*) from first_t")
	for _, sql := range []string{"select now()", "select current_date", "select 'now'::timestamptz", "table dated_v", "select timed_f()"} {
		p.get(t, "begin")
		on("replica", "", "select a from first_t")
		on("primary", "transaction", sql)
		began := p.get(t, "select now()")
		if again := p.get(t, "select now()"); again != began {
			t.Errorf("the transaction began at %s and at %s", began, again)
		}
		p.get(t, "commit")
	}
	// What has to come before any query is refused behind one on a replica.
	for _, before := range [][]string{{}, {"set local work_mem = '1MB'"}, {"savepoint a"}} {
		p.get(t, "begin")
		on("replica", "", "select a from first_t")
		for _, sql := range before {
			p.get(t, sql)
		}
		if out, err := p.ask("set transaction isolation level repeatable read"); err != nil || sqlState(out) != "25001" {
			t.Errorf("behind a query and %q, SET TRANSACTION says %v, %v", before, out, err)
		}
		p.get(t, "rollback")
	}
	p.get(t, "begin")
	p.get(t, "set transaction isolation level repeatable read")
	if level := p.get(t, "show transaction_isolation"); level != "repeatable read" {
		t.Errorf("the isolation level is %s", level)
	}
	p.get(t, "commit")
	// How it is switched, and that it is seen.
	p.get(t, "set pgroute.transaction_reads = 'primary'")
	p.get(t, "begin")
	on("primary", "transaction", "select count(*) from first_t")
	p.get(t, "commit")
	if v := s.enter(t, "pgroute.transaction_reads", "primary").get(t, "show pgroute.transaction_reads"); v != "primary" {
		t.Errorf("the startup packet's value is %q", v)
	}
}

// onReplicas waits until a statement by itself runs on a replica.
func (p *peer) onReplicas(t *testing.T, sql string) {
	t.Helper()
	eventually(t, func() error {
		p.get(t, sql)
		if role := p.lastRole(t); role != "replica" {
			return errString("it runs on the " + role)
		}
		return nil
	})
}

// TestDefaultIsolationDecides: where a plain BEGIN begins a REPEATABLE READ
// transaction, for the role, the database or this client, it begins at once and
// has one snapshot.
func TestDefaultIsolationDecides(t *testing.T) {
	c := use(t, trusting)
	if err := c.Primary().Exec(t.Context(), "create role repeats login superuser; alter role repeats set default_transaction_isolation = 'repeatable read'; create table if not exists iso_t (a int)"); err != nil {
		t.Fatal(err)
	}
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust, Policy: untilWrite})
	other := s.enter(t)
	for name, p := range map[string]*peer{
		"role": s.enterAs(t, "repeats", cluster.AppDatabase), "startup": s.enter(t, "default_transaction_isolation", "repeatable read"), "set": s.enter(t),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "set" {
				p.get(t, "set default_transaction_isolation to 'repeatable read'")
			}
			p.get(t, "begin")
			before := p.get(t, "select count(*) from iso_t")
			other.get(t, "insert into iso_t values (1)")
			if after := p.get(t, "select count(*) from iso_t"); after != before {
				t.Errorf("%s rows, and then %s", before, after)
			}
			p.get(t, "commit")
			p.onReplicas(t, "select count(*) from iso_t")
			p.get(t, "begin isolation level read committed")
			p.get(t, "select count(*) from iso_t")
			if role := p.lastRole(t); role != "replica" {
				t.Errorf("a READ COMMITTED transaction reads on the %s", role)
			}
			p.get(t, "commit")
		})
	}
}

// TestReadFirstIsNeverStale: clients whose transactions read, then write, see in
// each read at least every write of their service that was acknowledged before,
// within the transactions and after them.
func TestReadFirstIsNeverStale(t *testing.T) {
	c := use(t, trusting)
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust, Policy: untilWrite})
	first := s.enter(t)
	first.get(t, "create table counts_t (id int primary key, n int); insert into counts_t values (1, 0)")
	first.onReplicas(t, "select count(*) from counts_t") // the catalogue knows the table
	var mu sync.Mutex
	acknowledged := 0
	floor := func() int {
		mu.Lock()
		defer mu.Unlock()
		return acknowledged
	}
	var all sync.WaitGroup
	replicas := make([]int, 4)
	for i := range replicas {
		p := s.enter(t)
		all.Go(func() {
			read := func() {
				least := floor()
				n, err := strconv.Atoi(p.get(t, "select n from counts_t where id = 1"))
				if err != nil || n < least {
					t.Errorf("client %d reads %d, %v; acknowledged were %d", i, n, err, least)
				}
				if p.lastRole(t) == "replica" {
					replicas[i]++
				}
			}
			for range 40 {
				p.get(t, "begin")
				read()
				read()
				n, _ := strconv.Atoi(p.get(t, "update counts_t set n = n + 1 where id = 1 returning n"))
				p.get(t, "commit")
				mu.Lock()
				acknowledged = max(acknowledged, n)
				mu.Unlock()
				read()
			}
		})
	}
	all.Wait()
	if n := s.enter(t).get(t, "/* pgroute: primary */ select n from counts_t"); n != fmt.Sprint(40*len(replicas)) {
		t.Errorf("%s of %d updates are there", n, 40*len(replicas))
	}
	for i, n := range replicas {
		if n == 0 {
			t.Errorf("client %d has read nothing on a replica", i)
		}
	}
}

// TestPromotionBeforeTheFirstWrite: a transaction that has only read does not
// notice that the primary has changed.
func TestPromotionBeforeTheFirstWrite(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 2})
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust, Policy: untilWrite})
	p := s.enter(t)
	p.get(t, "create table moved_t (a int)")
	p.onReplicas(t, "select count(*) from moved_t")
	p.get(t, "begin")
	p.get(t, "savepoint a")
	p.get(t, "select count(*) from moved_t")
	if role := p.lastRole(t); role != "replica" {
		t.Fatalf("the transaction reads on the %s", role)
	}
	if err := c.WaitCaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Failover(t.Context(), c.Replicas()[0]); err != nil {
		t.Fatal(err)
	}
	p.get(t, "select count(*) from moved_t")
	p.get(t, "insert into moved_t values (1)")
	p.get(t, "rollback to a")
	p.get(t, "insert into moved_t values (2)")
	p.get(t, "commit")
	if n := p.get(t, "select count(*) from moved_t"); n != "1" {
		t.Errorf("%s rows, want 1", n)
	}
}

// TestShadowReadsFirst: in shadow mode such a transaction runs on the primary,
// and what is counted is where its reads would have run.
func TestShadowReadsFirst(t *testing.T) {
	policy := untilWrite
	policy.Shadow = true
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, Policy: policy})
	p := s.enter(t)
	p.get(t, "create table shadow_first_t (a int)")
	seen := func() uint64 {
		return s.shadowed(router.RoleReplica, router.ReasonCovered, router.ReasonWaited) + s.shadowed(router.RolePrimary, router.ReasonNotCovered)
	}
	eventually(t, func() error { // the catalogue is known
		before := seen()
		p.get(t, "select count(*) from shadow_first_t")
		if seen() == before {
			return errString("no read is judged yet")
		}
		return nil
	})
	judged := func(n uint64, sql ...string) {
		t.Helper()
		before := seen()
		for _, sql := range sql {
			p.get(t, sql)
			if role := p.lastRole(t); role != "primary" {
				t.Errorf("%s runs on the %s", sql, role)
			}
		}
		if got := seen() - before; got != n {
			t.Errorf("%d reads of %q would have run elsewhere, want %d", got, sql, n)
		}
	}
	judged(3, "begin", "select count(*) from shadow_first_t", "savepoint a", "select 1; select 2", "copy shadow_first_t to stdout", "select now()", "select 1", "commit")
	judged(1, "begin", "select count(*) from shadow_first_t", "insert into shadow_first_t values (1)", "select count(*) from shadow_first_t", "rollback")
	judged(0, "begin isolation level repeatable read", "select count(*) from shadow_first_t", "rollback")
}
