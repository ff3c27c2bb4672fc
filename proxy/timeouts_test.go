package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// pids are the processes of the proxy's connections.
func (s *served) pids(t testing.TB) map[int]bool {
	list := make(map[int]bool)
	for _, row := range s.admin(t, "SERVERS") {
		list[int(row["remote_pid"].(int64))] = true
	}
	return list
}

// terminate ends a backend of the primary as an administrator does.
func terminate(t testing.TB, pid int) {
	t.Helper()
	if err := use(t, trusting).Primary().Exec(t.Context(), fmt.Sprintf("select pg_terminate_backend(%d)", pid)); err != nil {
		t.Fatal(err)
	}
}

// ended reads up to the end of the connection and returns the code of the
// last error.
func (p *peer) ended(t testing.TB) (code string) {
	t.Helper()
	for {
		m, err := p.next()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "reset") {
				t.Fatal(err)
			}
			return code
		}
		if m.typ == 'E' {
			code = field(m, 'S') + " " + field(m, 'C')
		}
	}
}

// TestReserve: a client that has waited long enough gets a connection of the
// reserve, and that is closed when nobody needs it any more.
func TestReserve(t *testing.T) {
	cfg := limited(t, proxy.PoolLimits{ReserveSize: 1, ReserveTimeout: 20 * time.Millisecond}, proxy.Limits{})
	cfg.PoolSize = 1
	s := start(t, cfg)
	holder, more, most := s.enter(t), s.enter(t), s.enter(t)
	holder.start(t, "begin; select 1")
	holder.succeeds(t)
	more.start(t, "begin; select 1")
	more.succeeds(t)
	most.start(t, "select 1") // the reserve is used up
	s.waiting(t, 1)
	more.get(t, "commit")
	most.succeeds(t)
	s.until(t, "the reserve is closed", func(p proxy.NodePool) bool { return p.Active == 1 && p.Idle+p.Opening+p.Used == 0 })
	holder.get(t, "commit")
}

// TestMinimumIsKeptOpen: also after the servers have ended the connections.
func TestMinimumIsKeptOpen(t *testing.T) {
	cfg := limited(t, proxy.PoolLimits{MinSize: 3, IdleTimeout: 500 * time.Millisecond}, proxy.Limits{})
	cfg.PoolSize = 6
	s := start(t, cfg)
	three := func(p proxy.NodePool) bool { return p.Idle == 3 && p.Opening+p.Active+p.Used == 0 }
	s.enter(t).get(t, "select 1")
	s.until(t, "three are open", three)
	before := s.pids(t)
	for pid := range before {
		terminate(t, pid)
	}
	eventually(t, func() error {
		for pid := range s.pids(t) {
			if before[pid] {
				return errString("an old one is there")
			}
		}
		return nil
	})
	s.until(t, "three are open again", three)
	var busy []*peer
	for range 6 {
		p := s.enter(t)
		p.start(t, "begin; select 1")
		p.succeeds(t)
		busy = append(busy, p)
	}
	for _, p := range busy {
		p.get(t, "commit")
	}
	s.until(t, "the others are closed", three)
}

// TestLifetime: connections are replaced under load, and no client notices.
func TestLifetime(t *testing.T) {
	cfg := limited(t, proxy.PoolLimits{Lifetime: 50 * time.Millisecond}, proxy.Limits{})
	cfg.PoolSize = 2
	s := start(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var crowd sync.WaitGroup
	for range 6 {
		p := s.enter(t)
		crowd.Go(func() {
			for ctx.Err() == nil {
				for _, sql := range []string{"select 1", "begin", "select 2", "commit"} {
					if out, err := p.ask(sql); err != nil || sqlState(out) != "" {
						t.Errorf("%v, %v", out, err)
						return
					}
				}
			}
		})
	}
	seen := make(map[int]bool)
	eventually(t, func() error {
		for pid := range s.pids(t) {
			seen[pid] = true
		}
		if len(seen) < 8 {
			return errString("the connections are old")
		}
		return nil
	})
	cancel()
	crowd.Wait()
	s.until(t, "idle ones grow old too", func(p proxy.NodePool) bool { return p.Idle == 0 })
}

// TestQueryTimeout: a statement that runs too long is cancelled, and the
// session goes on. A rule can say so for some.
func TestQueryTimeout(t *testing.T) {
	cfg := limited(t, proxy.PoolLimits{}, proxy.Limits{})
	cfg.Rules = []proxy.Rule{{User: cluster.SuperUser, Policy: cfg.Policy, PoolLimits: proxy.PoolLimits{QueryTimeout: 50 * time.Millisecond}}}
	s := start(t, cfg)
	p, free := s.enter(t), s.enterAs(t, cluster.AppUser, cluster.AppDatabase)
	free.start(t, "select pg_sleep(1)")
	for range 2 {
		if out, err := p.ask("select pg_sleep(60)"); err != nil || sqlState(out) != "57014" {
			t.Fatalf("%v, %v", out, err)
		}
		p.get(t, "select 1")
	}
	p.get(t, "begin")
	if out, err := p.ask("select pg_sleep(60)"); err != nil || sqlState(out) != "57014" {
		t.Fatalf("%v, %v", out, err)
	}
	p.get(t, "rollback")
	free.succeeds(t)
	// The new time counts for whoever is there.
	cfg.Rules[0].User = ""
	s.reload(t, cfg)
	if out, err := free.ask("select pg_sleep(60)"); err != nil || sqlState(out) != "57014" {
		t.Fatalf("%v, %v", out, err)
	}
}

// TestQueryTimeoutOfADeafServer: a statement that does not end when it is
// cancelled is left alone, and its client is told.
func TestQueryTimeoutOfADeafServer(t *testing.T) {
	s := start(t, limited(t, proxy.PoolLimits{QueryTimeout: 50 * time.Millisecond}, proxy.Limits{}))
	p := s.enter(t)
	p.get(t, "select 1")
	for pid := range s.pids(t) {
		stop(t, pid)
	}
	p.start(t, "select 2")
	if code := p.ended(t); code != "FATAL 57014" {
		t.Errorf("it is told %q", code)
	}
	s.until(t, "the connection is closed", func(p proxy.NodePool) bool { return p.Active+p.Used+p.Idle == 0 })
}

// TestIdleTransaction: a client that does nothing in a transaction is ended,
// what it did is undone, and its connection serves others.
func TestIdleTransaction(t *testing.T) {
	cfg := limited(t, proxy.PoolLimits{IdleTransactionTimeout: 100 * time.Millisecond}, proxy.Limits{})
	cfg.PoolSize = 1
	s := start(t, cfg)
	p, q := s.enter(t), s.enter(t)
	q.get(t, "drop table if exists idle_t; create table idle_t (a int)")
	pids := s.pids(t)
	p.get(t, "begin")
	p.get(t, "insert into idle_t values (1)")
	if code := p.ended(t); code != "FATAL 25P03" {
		t.Errorf("it is told %q", code)
	}
	if v := q.get(t, "select count(*) from idle_t"); v != "0" {
		t.Errorf("%s rows are left", v)
	}
	for pid := range s.pids(t) {
		if !pids[pid] {
			t.Error("the connection was not used again")
		}
	}
	if out, err := q.ask("select pg_sleep(0.5)"); err != nil || sqlState(out) != "" {
		t.Errorf("a client that works is ended: %v, %v", out, err)
	}
}

// TestClientIdle: a client that does nothing at all is ended, one in a
// transaction is not.
func TestClientIdle(t *testing.T) {
	s := start(t, limited(t, proxy.PoolLimits{ClientIdleTimeout: 100 * time.Millisecond}, proxy.Limits{}))
	p, q := s.enter(t), s.enter(t)
	q.get(t, "begin")
	p.get(t, "select 1")
	if code := p.ended(t); code != "FATAL 57P05" {
		t.Errorf("it is told %q", code)
	}
	q.get(t, "commit")
	if code := q.ended(t); code != "FATAL 57P05" {
		t.Errorf("it is told %q", code)
	}
}

// TestReturnCostsNothing: a connection that comes back unchanged is not
// cleaned, and one that has died while nobody had it is noticed before
// somebody gets it.
func TestReturnCostsNothing(t *testing.T) {
	cfg := limited(t, proxy.PoolLimits{}, proxy.Limits{})
	cfg.PoolSize = 1
	s := start(t, cfg)
	p := s.enter(t)
	p.get(t, "select 'mine'")
	pids := s.pids(t)
	p.send(wire.AppendTerminate(nil), nil)
	p.ended(t)
	primary := use(t, trusting).Primary()
	for pid := range pids {
		last, err := primary.QueryString(t.Context(), "select query from pg_stat_activity where pid = $1", pid)
		if err != nil || last != "select 'mine'" {
			t.Errorf("its last statement is %q, %v", last, err)
		}
		terminate(t, pid)
	}
	s.until(t, "the dead one is closed", func(p proxy.NodePool) bool { return p.Idle == 0 })
	s.enter(t).get(t, "select 'yours'")
}
