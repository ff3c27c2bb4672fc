package proxy_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// limited is a configuration for one node: every statement goes to the primary.
func limited(t testing.TB, pool proxy.PoolLimits, limits proxy.Limits) proxy.Config {
	return proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolLimits: pool, Limits: limits,
		Policy: proxy.Policy{Consistency: router.LevelPrimary}}
}

// reload changes the configuration of a proxy that runs.
func (s *served) reload(t testing.TB, cfg proxy.Config) {
	t.Helper()
	if cfg.LeaseWait == 0 {
		cfg.LeaseWait = patience
	}
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
}

// enterAs is enter for any user and database.
func (s *served) enterAs(t testing.TB, user, database string) *peer {
	t.Helper()
	p, err := login(s.addr(), user, database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.conn.Close() })
	s.reads(t, database)
	return p
}

// start sends a query without waiting for its answer.
func (p *peer) start(t testing.TB, sql string) {
	t.Helper()
	if err := p.send(wire.AppendQuery(nil, sql), nil); err != nil {
		t.Fatal(err)
	}
}

// succeeds reads the answer to start.
func (p *peer) succeeds(t testing.TB) {
	t.Helper()
	out, err := p.answer()
	if code := sqlState(out); err != nil || code != "" {
		t.Fatalf("%v, %v", out, err)
	}
}

// pools adds up the pools of all nodes.
func (s *served) pools() (sum proxy.NodePool) {
	for _, n := range s.Pools().Nodes {
		sum.Active += n.Active
		sum.Idle += n.Idle
		sum.Used += n.Used
		sum.Opening += n.Opening
		sum.Waiting += n.Waiting
	}
	return sum
}

// until waits until the pools are so.
func (s *served) until(t testing.TB, what string, ok func(p proxy.NodePool) bool) {
	t.Helper()
	eventually(t, func() error {
		if p := s.pools(); !ok(p) {
			return errString(fmt.Sprintf("%s: %+v", what, p))
		}
		return nil
	})
}

func (s *served) waiting(t testing.TB, n int) {
	t.Helper()
	s.until(t, fmt.Sprint(n, " clients wait"), func(p proxy.NodePool) bool { return p.Waiting == n })
}

// admin asks the admin database.
func (s *served) admin(t testing.TB, show string) []map[string]any {
	t.Helper()
	c := connect(t, s.dsnOf(cluster.SuperUser, "pgroute", "default_query_exec_mode=simple_protocol"))
	defer c.Close(t.Context())
	rows, err := c.Query(t.Context(), "SHOW "+show)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToMap)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func field(m message, code byte) string { return string(wire.Field(m.body, code)) }

// TestLimitsOfConnections: each limit is kept, whoever runs into it is told
// which it was, and a reload that raises it lets those who wait go on.
func TestLimitsOfConnections(t *testing.T) {
	const other = cluster.AppUser
	for _, x := range []struct {
		key    string
		limits proxy.Limits
		size   int
		users  [3]string // those who hold connections, and who waits
		names  string
	}{
		{"pool_size", proxy.Limits{}, 2, [3]string{other, other, other}, cluster.AppDatabase},
		{"max_server_connections", proxy.Limits{MaxServerConnections: 2}, 0, [3]string{other, cluster.SuperUser, other}, "max_server_connections"},
		{"max_node_connections", proxy.Limits{MaxNodeConnections: 2}, 0, [3]string{other, cluster.SuperUser, other}, "node"},
		{"max_db_connections", proxy.Limits{MaxDatabaseConnections: 2}, 0, [3]string{other, cluster.SuperUser, other}, cluster.AppDatabase},
		{"max_user_connections", proxy.Limits{MaxUserConnections: 2}, 0, [3]string{other, other, other}, other},
	} {
		t.Run(x.key, func(t *testing.T) {
			cfg := limited(t, proxy.PoolLimits{}, x.limits)
			cfg.PoolSize, cfg.Loops = x.size, 2
			s := start(t, cfg)
			one, two, three := s.enterAs(t, x.users[0], cluster.AppDatabase), s.enterAs(t, x.users[1], cluster.AppDatabase), s.enterAs(t, x.users[2], cluster.AppDatabase)
			one.start(t, "begin; select 1")
			one.succeeds(t)
			two.start(t, "begin; select 1")
			two.succeeds(t)
			cfg.LeaseWait = 50 * time.Millisecond
			s.reload(t, cfg)
			out, err := three.ask("select 1")
			if err != nil || sqlState(out) != "53300" {
				t.Fatalf("%v, %v", out, err)
			}
			if m := out[0]; !strings.Contains(field(m, 'D'), x.key) || !strings.Contains(field(m, 'D'), x.names) ||
				!strings.Contains(field(m, 'D'), "(2)") || !strings.Contains(field(m, 'H'), x.key) {
				t.Errorf("it is told %s", m)
			}
			if r := s.Pools().Refused; len(r) != 1 || r[0].Limit != x.key || r[0].Count != 1 {
				t.Errorf("refused: %v", r)
			}
			cfg.LeaseWait = 0 // those who come wait now
			s.reload(t, cfg)
			three.start(t, "select 3")
			s.waiting(t, 1)
			if p := s.pools(); p.Active != 2 || p.Idle+p.Used+p.Opening != 0 {
				t.Errorf("%+v", p)
			}
			one.get(t, "commit")
			three.succeeds(t)
			one.start(t, "begin; select 1")
			one.succeeds(t)
			three.start(t, "select 3")
			s.waiting(t, 1)
			cfg.PoolSize, cfg.Limits = 20, proxy.Limits{MaxNodeConnections: 3}
			s.reload(t, cfg)
			three.succeeds(t)
			one.get(t, "commit")
			two.get(t, "commit")
			cfg.Limits = proxy.Limits{MaxServerConnections: 1}
			s.reload(t, cfg)
			s.until(t, "one is left at most", func(p proxy.NodePool) bool { return p.Active+p.Idle+p.Used+p.Opening <= 1 })
		})
	}
}

// TestIdleConnectionsMakeRoom: a connection that nobody uses is closed when
// another pool needs its place, also if another loop has it.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	cfg := limited(t, proxy.PoolLimits{}, proxy.Limits{MaxServerConnections: 2})
	cfg.Loops = 3
	s := start(t, cfg)
	for i := range 30 {
		user, database := cluster.SuperUser, cluster.AppDatabase
		if i%2 == 0 {
			user = cluster.AppUser
		}
		if i%3 == 0 {
			database = "postgres"
		}
		p := s.enterAs(t, user, database)
		p.get(t, "select 1")
		if i%4 == 0 {
			p.conn.Close()
		}
	}
	if p := s.pools(); p.Idle > 2 || p.Waiting != 0 {
		t.Errorf("%+v", p)
	}
}

// TestUsersShareADatabase: a user whose clients always want more connections
// than there are does not keep another from getting one.
func TestUsersShareADatabase(t *testing.T) {
	cfg := limited(t, proxy.PoolLimits{}, proxy.Limits{MaxDatabaseConnections: 2})
	cfg.Loops = 2
	s := start(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var crowd sync.WaitGroup
	var count atomic.Int64
	for range 12 {
		p := s.enterAs(t, cluster.SuperUser, cluster.AppDatabase)
		crowd.Go(func() {
			for ctx.Err() == nil {
				if out, err := p.ask("select 1"); err != nil || sqlState(out) != "" {
					t.Errorf("%v, %v", out, err)
					return
				}
				count.Add(1)
			}
		})
	}
	for range 3 {
		p := s.enterAs(t, cluster.AppUser, cluster.AppDatabase)
		for range 20 {
			p.get(t, "select 1")
		}
	}
	// And the crowd is not shut out in turn.
	before := count.Load()
	eventually(t, func() error {
		if count.Load() < before+100 {
			return errString("the others wait")
		}
		return nil
	})
	cancel()
	crowd.Wait()
}

// TestQueueIsServedInOrder: 500 clients over 5 connections, of which 4 are
// never given back.
func TestQueueIsServedInOrder(t *testing.T) {
	cfg := limited(t, proxy.PoolLimits{}, proxy.Limits{})
	cfg.PoolSize = 5
	s := start(t, cfg)
	const n = 500
	var holders []*peer
	for range cfg.PoolSize {
		p := s.enter(t)
		holders = append(holders, p)
	}
	holders[0].get(t, "drop table if exists queue_t; create table queue_t (place serial, client int)")
	for _, p := range holders {
		p.start(t, "begin; select 1")
		p.succeeds(t)
	}
	queue := make([]*peer, n)
	for i := range queue {
		queue[i] = s.enter(t)
		queue[i].start(t, fmt.Sprintf("insert into queue_t (client) values (%d)", i))
		s.waiting(t, i+1)
	}
	if row := s.admin(t, "POOLS")[0]; row["cl_waiting"] != int64(n) || row["maxwait"].(int64)+row["maxwait_us"].(int64) == 0 {
		t.Errorf("SHOW POOLS: %v", row)
	}
	queue[250].conn.Close() // one leaves
	s.waiting(t, n-1)
	holders[0].get(t, "commit")
	for i, p := range queue {
		if i != 250 {
			p.succeeds(t)
		}
	}
	if v := holders[0].get(t, "select count(*) || ' ' || bool_and(place = client + 1 - (client > 250)::int) from queue_t"); v != "499 true" {
		t.Errorf("the order of the queue is lost: %s", v)
	}
	st := s.Pools()
	served := uint64(0)
	for _, x := range st.Waited.Counts {
		served += x
	}
	if served < n-1 || st.Waited.Sum == 0 {
		t.Errorf("%d statements waited, for %v", served, st.Waited.Sum)
	}
}

// TestQueueLimit: beyond it clients are refused at once, and those who wait
// are served.
func TestQueueLimit(t *testing.T) {
	cfg := limited(t, proxy.PoolLimits{QueueLimit: 2}, proxy.Limits{})
	cfg.PoolSize = 1
	s := start(t, cfg)
	holder, one, two, three := s.enter(t), s.enter(t), s.enter(t), s.enter(t)
	holder.start(t, "begin; select 1")
	holder.succeeds(t)
	one.start(t, "select 1")
	two.start(t, "select 2")
	s.waiting(t, 2)
	out, err := three.ask("select 3")
	if err != nil || sqlState(out) != "53300" || !strings.Contains(field(out[0], 'D'), "queue_limit (2)") || field(out[0], 'H') == "" {
		t.Fatalf("%v, %v", out, err)
	}
	holder.get(t, "commit")
	one.succeeds(t)
	two.succeeds(t)
	three.get(t, "select 3")
}

// TestLimitsOfClients: those who are too many are told so when they log in,
// and a place becomes free when somebody leaves.
func TestLimitsOfClients(t *testing.T) {
	for _, x := range []struct {
		key    string
		limits proxy.Limits
		user   string
		free   string // a user and database that are not concerned
		in     string
	}{
		{"max_client_conn", proxy.Limits{MaxClients: 2}, cluster.AppUser, cluster.SuperUser, "pgroute"},
		{"max_user_client_conn", proxy.Limits{MaxUserClients: 2}, cluster.SuperUser, cluster.AppUser, cluster.AppDatabase},
		{"max_db_client_conn", proxy.Limits{MaxDatabaseClients: 2}, cluster.AppUser, cluster.SuperUser, "postgres"},
	} {
		t.Run(x.key, func(t *testing.T) {
			s := start(t, limited(t, proxy.PoolLimits{}, x.limits))
			one := s.enter(t)
			s.enter(t)
			_, err := login(s.addr(), x.user, cluster.AppDatabase)
			if err == nil || !strings.Contains(err.Error(), "C=53300") || !strings.Contains(err.Error(), x.key) {
				t.Fatalf("the third is told: %v", err)
			}
			s.enterAs(t, x.free, x.in)
			one.conn.Close()
			eventually(t, func() error {
				p, err := login(s.addr(), x.user, cluster.AppDatabase)
				if err == nil {
					p.conn.Close()
				}
				return err
			})
		})
	}
}

// TestRefusedClientsAreNotCounted: whoever does not get in takes no place.
func TestRefusedClientsAreNotCounted(t *testing.T) {
	s := start(t, limited(t, proxy.PoolLimits{}, proxy.Limits{MaxClients: 1, MaxUserClients: 1, MaxDatabaseClients: 1}))
	for _, database := range []string{"no_such_database", cluster.AppDatabase} {
		for range 3 {
			if _, err := login(s.addr(), "nobody_there", database); err == nil || strings.Contains(err.Error(), "C=53300") {
				t.Fatalf("%v", err)
			}
		}
	}
	s.enter(t)
}

// TestCrowdWithinAllLimits: clients of several users, databases and loops with
// fewer connections than pools, while connections are killed and limits change:
// everybody is served, and in the end nothing is counted that is not there.
func TestCrowdWithinAllLimits(t *testing.T) {
	cfg := proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, Loops: 3, PoolSize: 2,
		Limits:     proxy.Limits{MaxServerConnections: 4, MaxNodeConnections: 3, MaxUserConnections: 3, MaxDatabaseConnections: 3},
		PoolLimits: proxy.PoolLimits{MinSize: 1, ReserveSize: 1, ReserveTimeout: 10 * time.Millisecond, Lifetime: 300 * time.Millisecond}}
	s := start(t, cfg)
	var crowd sync.WaitGroup
	var left atomic.Int64
	for i := range 30 {
		p := s.enterAs(t, []string{cluster.SuperUser, cluster.AppUser}[i%2], []string{cluster.AppDatabase, "postgres"}[i/2%2])
		left.Add(1)
		crowd.Go(func() {
			defer left.Add(-1)
			for j := range 20 {
				for _, sql := range [][]string{{"select 1"}, {"begin", "select 1", "commit"}, {"create temp table x (a int)", "drop table x"}, {"discard all"}}[(i+j)%4] {
					if out, err := p.ask(sql); err != nil || sqlState(out) != "" {
						t.Errorf("%s: %v, %v", sql, out, err)
						return
					}
				}
			}
			p.conn.Close()
		})
	}
	for n := 0; left.Load() > 0; n++ { // limits change meanwhile
		cfg.MaxServerConnections = 2 + n%3
		s.reload(t, cfg)
		// The loops are asked one after the other, so one that closes a
		// connection and one that opens it in its place may both be seen.
		over := 0
		var p proxy.NodePool
		for p = s.pools(); p.Active+p.Idle+p.Used+p.Opening > 4 && over < 20; p = s.pools() {
			over++
		}
		if over == 20 {
			t.Errorf("%+v", p)
		}
	}
	crowd.Wait()
	cfg.PoolLimits = proxy.PoolLimits{IdleTimeout: time.Millisecond}
	s.reload(t, cfg)
	eventually(t, func() error {
		for _, row := range s.admin(t, "DATABASES") {
			if n := row["current_connections"].(int64); n != 0 {
				return errString(fmt.Sprint(row["name"], ": ", n, " connections"))
			}
		}
		return nil
	})
	s.until(t, "all are closed", func(p proxy.NodePool) bool { return p == proxy.NodePool{} })
}
