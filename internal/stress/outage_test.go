package stress_test

import (
	"context"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// outageFlag is at least as long as it takes for every proof to age.
var outageFlag = flag.Duration("stress.outage", 9*time.Second, "how long ZooKeeper is away")

// session is the timeout of the sessions with ZooKeeper in these tests.
const session = 4 * time.Second

// failoverWait is how long a statement waits for a primary in these tests,
// longer than any outage.
const failoverWait = 10 * time.Minute

// ownLayout writes a cluster into ZooKeeper: agents keep the nodes, and somebody
// has named the primary.
func ownLayout(t *testing.T, z *cluster.ZooKeeper, c *cluster.Cluster) (*zookeeper.Registry, *zookeeper.Source) {
	t.Helper()
	cfg := zookeeper.Config{Hosts: z.Addr(), Path: "/p", SessionTimeout: session, Logger: logger("zookeeper")}
	for _, n := range c.Nodes() {
		r, err := zookeeper.NewRegistrar(cfg)
		if err == nil {
			err = r.Node(n.Name, zookeeper.Node{Host: n.Host, Port: n.Port})
		}
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }() // ends with cancel, waited for below
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		if err := r.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	slow := cfg
	slow.SessionTimeout = 0
	reg, err := zookeeper.NewRegistry(t.Context(), slow)
	if err == nil {
		t.Cleanup(func() { _ = reg.Close() })
		err = reg.SetPrimary(t.Context(), c.Primary().Name)
	}
	if err != nil {
		t.Fatal(err)
	}
	src, err := zookeeper.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return reg, src
}

// patroniLab starts a cluster of Patroni with the tables, and a sidecar.
func patroniLab(t *testing.T, members int, dynamic map[string]any) (*cluster.PatroniCluster, *sidecar) {
	t.Helper()
	if testing.Short() || !cluster.PatroniInstalled() {
		t.Skip("needs Patroni and ZooKeeper, and takes seconds")
	}
	p := cluster.StartPatroni(t, members, cluster.PatroniOptions{Dynamic: dynamic})
	leader, err := p.Leader(t.Context())
	if err == nil {
		err = leader.Exec(t.Context(), schema...)
	}
	if err != nil {
		t.Fatal(err)
	}
	src, err := zookeeper.NewPatroni(zookeeper.Config{Hosts: p.ZooKeeper().Addr(), Path: p.Path(), SessionTimeout: session, Logger: logger("zookeeper")})
	if err != nil {
		t.Fatal(err)
	}
	s := startSidecar(t, "a", src, func(cfg *proxy.Config) { cfg.Auth, cfg.PrimaryWait = proxy.AuthSCRAM, failoverWait })
	if err := s.settle(t.Context(), probeSQL, members-1); err != nil {
		t.Fatal(err)
	}
	return p, s
}

func needsZooKeeper(t *testing.T) {
	t.Helper()
	if testing.Short() || !cluster.ZooKeeperInstalled() {
		t.Skip("needs ZooKeeper, and takes seconds")
	}
}

// away kills ZooKeeper and returns once nothing that it said before is good any
// more, and the outage has lasted as long as was asked for.
func away(t *testing.T, z *cluster.ZooKeeper, s *sidecar) {
	t.Helper()
	if err := z.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	err := until(t.Context(), "the outage lasts", func() (bool, error) {
		age := time.Since(s.srv.Stats().Router.SourceConfirmed)
		return age > 2*session && time.Since(killed) >= *outageFlag, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// back starts ZooKeeper again and returns once it was heard.
func back(t *testing.T, z *cluster.ZooKeeper, s *sidecar) {
	t.Helper()
	if err := z.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	err := until(t.Context(), "ZooKeeper is heard again", func() (bool, error) {
		return s.srv.Stats().Router.SourceConfirmed.After(started), nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// goOnWithout: nobody notices that ZooKeeper is away, nor that it comes back.
func goOnWithout(t *testing.T, z *cluster.ZooKeeper, s *sidecar) {
	t.Helper()
	tr := startTraffic(t, s)
	tr.goesOn("before")
	noErrors(t, "before", tr.report("before"))
	away(t, z, s)
	// Now only the servers themselves prove who leads.
	tr.goesOn("while ZooKeeper is away")
	noErrors(t, "while ZooKeeper was away", tr.report("while ZooKeeper is away"))
	back(t, z, s)
	tr.goesOn("after its return")
	// Sessions that were lost end now, if any were.
	rested := time.Now()
	if err := until(t.Context(), "all sessions are settled", func() (bool, error) { return time.Since(rested) > 2*session, nil }); err != nil {
		t.Fatal(err)
	}
	tr.goesOn("well after its return")
	noErrors(t, "after its return", tr.report("after its return"))
}

// TestNobodyNoticesThatZooKeeperIsAway: with our own layout the servers go on,
// and so do reads and writes.
func TestNobodyNoticesThatZooKeeperIsAway(t *testing.T) {
	needsZooKeeper(t)
	z := cluster.StartZooKeeper(t, cluster.ZooKeeperOptions{})
	c := cluster.Start(t, cluster.Options{Trust: true})
	if err := c.Primary().Exec(t.Context(), schema...); err != nil {
		t.Fatal(err)
	}
	_, src := ownLayout(t, z, c)
	s := startSidecar(t, "a", src, func(cfg *proxy.Config) { cfg.PrimaryWait = failoverWait })
	if err := s.settle(t.Context(), probeSQL, 2); err != nil {
		t.Fatal(err)
	}
	goOnWithout(t, z, s)
}

// TestNobodyNoticesThatZooKeeperIsAwayFromPatroni: so it is with a Patroni in
// failsafe mode.
func TestNobodyNoticesThatZooKeeperIsAwayFromPatroni(t *testing.T) {
	p, s := patroniLab(t, 3, map[string]any{"failsafe_mode": true})
	goOnWithout(t, p.ZooKeeper(), s)
}

// TestPatroniDemotesWithoutZooKeeper: without failsafe mode Patroni demotes its
// leader. Reads go on, writes wait until ZooKeeper is back, and nobody sees an
// error but who was in the middle of something when the server was stopped. A
// read that must see such a write waits, too: nobody can tell where it is.
func TestPatroniDemotesWithoutZooKeeper(t *testing.T) {
	p, s := patroniLab(t, 3, nil)
	tr := startTraffic(t, s)
	tr.goesOn("before")
	noErrors(t, "before", tr.report("before"))
	away(t, p.ZooKeeper(), s)
	if err := s.srv.Router().WaitTopology(t.Context(), func(t *router.Topology) bool { return t.Primary == nil }); err != nil {
		t.Fatal(err)
	}
	tr.goesOn("while nobody leads", "own read", "stale read", "eventual read")
	legs := tr.report("while ZooKeeper is away")
	noErrors(t, "while ZooKeeper was away", legs, "read", "own read", "stale read", "eventual read")
	onlyStopped(t, "while ZooKeeper was away", legs, "write", "transaction")
	back(t, p.ZooKeeper(), s)
	tr.goesOn("after its return")
	// Who had just begun when the server was stopped hears it only now.
	legs = tr.report("after its return")
	noErrors(t, "after its return", legs, "read", "own read", "stale read", "eventual read")
	onlyStopped(t, "after its return", legs, "write", "transaction")
}

// stoppedServer reports whether an error may be that of a statement that ran
// when its server was stopped.
func stoppedServer(text string) bool {
	for _, code := range []string{"57P01", "57P02", "57P03", "08006", "08007", "25006", "40001"} {
		if strings.HasPrefix(text, code) {
			return true
		}
	}
	return false
}

// TestWaitForAPrimaryIsNoWaitForAConnection: who waited for a connection when
// the primary was lost has his whole lease_wait again when there is one.
func TestWaitForAPrimaryIsNoWaitForAConnection(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: -1})
	if err := c.Primary().Exec(t.Context(), schema...); err != nil {
		t.Fatal(err)
	}
	src := newSource(c.Primary())
	const leaseWait = 10 * time.Second
	s := startSidecar(t, "a", src, func(cfg *proxy.Config) { cfg.PoolSize, cfg.LeaseWait, cfg.PrimaryWait = 1, leaseWait, failoverWait })
	holder, err := s.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp(holder)
	waiter, err := s.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp(waiter)
	for _, sql := range []string{"BEGIN", "UPDATE kv SET v = v + 1 WHERE k = 1"} {
		if _, err := simple(t.Context(), holder, sql); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	// Ends with its answer; waited for below.
	go func() {
		_, err := simple(t.Context(), waiter, "UPDATE kv SET v = v + 1 WHERE k = 2")
		done <- err
	}()
	waiting := func(n int) {
		t.Helper()
		err := until(t.Context(), "a client waits for a connection, or does not", func() (bool, error) {
			have := 0
			for _, p := range s.srv.Pools().Nodes {
				have += p.Waiting
			}
			return have == n, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	waiting(1)
	src.name("")
	waiting(0)
	gone := time.Now()
	if err := until(t.Context(), "nobody leads for long", func() (bool, error) { return time.Since(gone) > leaseWait, nil }); err != nil {
		t.Fatal(err)
	}
	src.name(c.Primary().Addr())
	waiting(1)
	if _, err := simple(t.Context(), holder, "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the write that waited: %v", err)
	}
}
