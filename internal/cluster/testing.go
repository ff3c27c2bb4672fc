package cluster

import "context"

// TB is the part of testing.TB that this package needs. It is spelled out so
// that a program that runs a cluster does not link the testing package.
type TB interface {
	Helper()
	Context() context.Context
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
	Failed() bool
}

// shownLog is how much of each server's log a failed test shows.
const shownLog = 4 << 10

// Start starts a cluster for a test, which fails if it cannot. The cluster is
// closed when the test ends; if the test failed, the ends of the servers' logs
// are shown first.
func Start(t TB, opts Options) *Cluster {
	t.Helper()
	c, err := New(t.Context(), opts)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range c.nodes {
				t.Logf("log of %s (%s):\n%s", n.Name, n.Addr(), n.LogTail(shownLog))
			}
		}
		if err := c.Close(); err != nil {
			t.Errorf("close the cluster: %v", err)
		}
	})
	return c
}

// StartZooKeeper starts a ZooKeeper server for a test, which fails if it
// cannot. The server is closed when the test ends; if the test failed, the end
// of its log is shown first.
func StartZooKeeper(t TB, opts ZooKeeperOptions) *ZooKeeper {
	t.Helper()
	z, err := NewZooKeeper(t.Context(), opts)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of ZooKeeper (%s):\n%s", z.Addr(), z.LogTail(shownLog))
		}
		if err := z.Close(); err != nil {
			t.Errorf("close ZooKeeper: %v", err)
		}
	})
	return z
}

// StartPatroni starts a cluster of n members that Patroni runs, and a
// ZooKeeper for it unless opts has one, for a test, which fails if it cannot.
// Both are closed when the test ends; if the test failed, the ends of the
// members' logs are shown first.
func StartPatroni(t TB, n int, opts PatroniOptions) *PatroniCluster {
	t.Helper()
	if opts.ZooKeeper == nil {
		opts.ZooKeeper = StartZooKeeper(t, ZooKeeperOptions{})
	}
	p, err := NewPatroni(t.Context(), n, opts)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, m := range p.members {
				t.Logf("log of %s (%s):\n%s", m.Name, m.Addr(), m.LogTail(shownLog))
			}
		}
		if err := p.Close(); err != nil {
			t.Errorf("close Patroni: %v", err)
		}
	})
	return p
}
