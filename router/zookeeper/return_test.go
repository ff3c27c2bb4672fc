package zookeeper_test

import (
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// mortal is a session that others have in ZooKeeper, of the shortest kind.
func mortal(t *testing.T, z *cluster.ZooKeeper) *zk.Conn {
	t.Helper()
	c, _, err := zk.Connect([]string{z.Addr()}, 4*time.Second, zk.WithLogInfo(false))
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// outlive kills ZooKeeper, lets the session die meanwhile, and starts it again.
// It returns a time before which nobody can have connected again.
func outlive(t *testing.T, z *cluster.ZooKeeper, session *zk.Conn, watched *zk.Conn, path string) time.Time {
	t.Helper()
	must(t, z.Kill())
	session.Close()
	back := time.Now()
	must(t, z.Start(t.Context()))
	// The server's own clock of the session begins anew now.
	eventually(t, "the end of the session that nobody renewed", func() bool {
		exists, _, err := watched.Exists(path)
		return err == nil && !exists
	})
	return back
}

// After ZooKeeper's return the sessions of agents may have expired: their nodes
// stay listed until these have had the time to notice, and no longer.
func TestNodesOutliveZooKeepersReturn(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	cfg := zookeeper.Config{Hosts: z.Addr(), Path: "/p", SessionTimeout: 8 * time.Second}
	raw, agent := rawConn(t, z.Addr()), mortal(t, z)
	create(t, raw, "/p/primary", "n1")
	create(t, raw, "/p/nodes/n0", `{"host":"h","port":1}`)
	_, err := agent.Create("/p/nodes/n1", []byte(`{"host":"h","port":2}`), zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	must(t, err)
	w := watch(t, cfg)
	w.until("both", func(c router.Candidates) bool { return names(c) == "n0,n1" })
	back := outlive(t, z, agent, raw, "/p/nodes/n1")
	w.until("a node that nobody keeps is given up", func(c router.Candidates) bool { return names(c) == "n0" })
	if kept := time.Since(back); kept < 2*cfg.SessionTimeout {
		t.Errorf("it was given up %v after the return, want %v at least", kept, 2*cfg.SessionTimeout)
	}
	// Otherwise the end of a session is the end of the node, soon.
	agent = mortal(t, z)
	_, err = agent.Create("/p/nodes/n1", []byte(`{"host":"h","port":2}`), zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	must(t, err)
	w.until("it is back", func(c router.Candidates) bool { return names(c) == "n0,n1" })
	agent.Close()
	w.until("its end", func(c router.Candidates) bool { return names(c) == "n0" })
}

// In failsafe mode Patroni's leader goes on while ZooKeeper is away, also if its
// key is gone when that comes back: until Patroni has had the time to make it
// again, ZooKeeper says nothing of who leads, rather than that nobody does.
func TestLeaderOutlivesZooKeepersReturn(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	raw, agent := rawConn(t, z.Addr()), mortal(t, z)
	for key, data := range map[string]string{"initialize": "77", "config": `{"failsafe_mode":true}`, "members/pg1": memberData(5001, "")} {
		create(t, raw, "/service/demo/"+key, data)
	}
	for key, data := range map[string]string{"leader": "pg0", "members/pg0": memberData(5000, "")} {
		_, err := agent.Create("/service/demo/"+key, []byte(data), zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
		must(t, err)
	}
	cfg := zookeeper.Config{Hosts: z.Addr(), Path: "service/demo", SessionTimeout: 8 * time.Second}
	w := watchPatroni(t, cfg)
	w.until("a cluster", func(c router.Candidates) bool { return c.Primary == "pg0" && names(c) == "pg0,pg1" })
	back := outlive(t, z, agent, raw, "/service/demo/leader")
	c := w.until("no leader", func(c router.Candidates) bool { return c.Primary == "" })
	if kept := time.Since(back); kept < 2*cfg.SessionTimeout {
		t.Errorf("nobody led %v after the return, want %v at least", kept, 2*cfg.SessionTimeout)
	}
	if names(c) != "pg1" && names(c) != "pg0,pg1" {
		t.Errorf("the nodes are %s", names(c))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gap < cfg.SessionTimeout {
		t.Errorf("what was not known was confirmed meanwhile: confirmations are at most %v apart", w.gap)
	}
}
