package main

import (
	bytesof "encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/internal/cluster"
)

// agentOf starts pgroute register for a server.
func agentOf(t *testing.T, hosts string, n *cluster.Node, more ...string) *running {
	t.Helper()
	r := startCommand(t, append([]string{"register", "--zookeeper", hosts, "--path", "/p", "--name", n.Name, "--node", n.Addr(),
		"--interval", "50ms", "--down-after", "2s"}, more...)...)
	if l := r.line(t); l != "pgroute: registered "+n.Name {
		t.Fatalf("the first line is %q", l)
	}
	return r
}

func registeredAs(t *testing.T, conn *zk.Conn, name string) (string, bool) {
	t.Helper()
	data, stat, err := conn.Get("/p/nodes/" + name)
	if errors.Is(err, zk.ErrNoNode) {
		return "", false
	}
	if err != nil {
		t.Fatal(err)
	}
	if stat.EphemeralOwner == 0 {
		t.Fatalf("/p/nodes/%s is not ephemeral", name)
	}
	return string(data), true
}

// The znode is there while the server answers and the agent runs.
func TestRegisterKeepsTheNode(t *testing.T) {
	t.Parallel()
	if !cluster.ZooKeeperInstalled() {
		t.Skip("ZooKeeper is not installed")
	}
	z := cluster.StartZooKeeper(t, cluster.ZooKeeperOptions{})
	conn := rawZooKeeper(t, z.Addr())
	for _, monitored := range []bool{false, true} {
		t.Run(fmt.Sprintf("monitor %t", monitored), func(t *testing.T) {
			c := cluster.Start(t, cluster.Options{Replicas: -1})
			n := c.Primary()
			more := []string{"--weight", "3", "--zone", "z1", "--tag", "disk=nvme"}
			if monitored {
				more = append(more, "--monitor", n.DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres"))
			}
			r := agentOf(t, z.Addr(), n, more...)
			data, ok := registeredAs(t, conn, n.Name)
			if want := fmt.Sprintf(`{"host":%q,"port":%d,"weight":3,"zone":"z1","tags":{"disk":"nvme"}}`, n.Host, n.Port); data != want {
				t.Errorf("registered %t: %s, want %s", ok, data, want)
			}
			if err := n.Stop(cluster.Fast); err != nil {
				t.Fatal(err)
			}
			gone := func() bool { _, ok := registeredAs(t, conn, n.Name); return !ok }
			eventually(t, "the stopped server is not registered", gone)
			if err := n.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the server is back", func() bool { return !gone() })
			if err := n.Freeze(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the server that hangs is not registered", gone)
			if err := n.Thaw(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the server is back", func() bool { return !gone() })
			if ok, _, err := conn.Exists("/p/primary"); ok || err != nil {
				t.Errorf("PATH/primary was published without being asked for: %v", err)
			}
			if code := r.end(t, syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if !gone() {
				t.Error("it is still registered after the agent's end")
			}
		})
	}
}

// A promotion is published; who was left behind does not get it back.
func TestRegisterPublishesThePrimary(t *testing.T) {
	t.Parallel()
	if !cluster.ZooKeeperInstalled() {
		t.Skip("ZooKeeper is not installed")
	}
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	z := cluster.StartZooKeeper(t, cluster.ZooKeeperOptions{})
	conn := rawZooKeeper(t, z.Addr())
	one, two := c.Primary(), c.Replicas()[0]
	flags := []string{"--publish-primary", "--monitor", one.DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres")}
	first := agentOf(t, z.Addr(), one, flags...)
	second := agentOf(t, z.Addr(), two, flags...)
	named := func(want string) {
		t.Helper()
		eventually(t, "PATH/primary names "+want, func() bool {
			data, _, err := conn.Get("/p/primary")
			return err == nil && string(data) == want
		})
	}
	named(one.Name)
	// A second primary on a higher timeline: the first one lives, and keeps it.
	if err := two.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the refusal", func() bool {
		return strings.Contains(second.log.String(), "it names "+one.Name+", which is still registered")
	})
	named(one.Name)
	if err := one.Stop(cluster.Immediate); err != nil {
		t.Fatal(err)
	}
	named(two.Name)
	// The old one comes back as the primary that it was.
	if err := one.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the refusal", func() bool {
		return strings.Contains(first.log.String(), two.Name+" claimed it on timeline 2, which is higher than 1")
	})
	if err := two.Stop(cluster.Immediate); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new one is gone", func() bool { _, ok := registeredAs(t, conn, two.Name); return !ok })
	// Once, of which it need not have heard: the answer may have come too late.
	if n := strings.Count(first.log.String(), "PATH/primary names this node"); n > 1 {
		t.Errorf("the old primary got it %d times", n)
	}
	named(two.Name)
	if err := two.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new one is back", func() bool { _, ok := registeredAs(t, conn, two.Name); return ok })
	named(two.Name)
	for _, r := range []*running{first, second} {
		if code := r.end(t, syscall.SIGTERM); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
	named(two.Name)
}

// A planned switchover without an agent of a failover manager: the demoted
// server gives the name up, and the promoted one takes it.
func TestRegisterFollowsASwitchover(t *testing.T) {
	t.Parallel()
	if !cluster.ZooKeeperInstalled() {
		t.Skip("ZooKeeper is not installed")
	}
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	z := cluster.StartZooKeeper(t, cluster.ZooKeeperOptions{})
	conn := rawZooKeeper(t, z.Addr())
	one, two := c.Primary(), c.Replicas()[0]
	flags := []string{"--publish-primary", "--monitor", one.DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres")}
	first := agentOf(t, z.Addr(), one, append(flags, "--down-after", "10m")...) // it stays registered throughout
	agentOf(t, z.Addr(), two, flags...)
	named := func(want string) bool {
		data, _, err := conn.Get("/p/primary")
		return err == nil && string(data) == want
	}
	eventually(t, "the first is named", func() bool { return named(one.Name) })
	if err := c.Failover(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	if err := c.Rebuild(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second is named", func() bool { return named(two.Name) })
	if !strings.Contains(first.log.String(), "PATH/primary names nobody") {
		t.Error("the first has not given it up")
	}
	if _, ok := registeredAs(t, conn, one.Name); !ok {
		t.Error("the first is not registered")
	}
}

// Whatever answers, ping ends, and believes only what PostgreSQL says.
func TestPing(t *testing.T) {
	t.Parallel()
	refusal := func(body string, more int) string {
		return string(bytesof.BigEndian.AppendUint32([]byte("E"), uint32(4+len(body)+more))) + body
	}
	for answer, want := range map[string]string{
		"R\x00\x00\x00\x17\x00\x00\x00\x0a":    "",
		refusal("SFATAL\x00C28000\x00\x00", 0): "",
		refusal("SFATAL\x00C57P03\x00\x00", 0): "it takes no connections now",
		refusal("SFATAL\x00C28000\x00", 5):     "EOF",
		"HTTP/1.1 400":                         "what answers there is not PostgreSQL",
		"E\xff\xff\xff\xff":                    "what answers there is not PostgreSQL",
		"R\x00\x00\x00\x00":                    "what answers there is not PostgreSQL",
		"":                                     "EOF",
		"E\x00":                                "EOF",
		"\x00\x00\x00\x00\x00":                 "what answers there is not PostgreSQL",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		// Ends with its only connection.
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = conn.Write([]byte(answer))
			conn.Close()
		}()
		a := l.Addr().(*net.TCPAddr)
		err = ping(t.Context(), "127.0.0.1", a.Port)
		if l.Close(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", answer, err, want)
		}
	}
}

// An agent that is killed leaves the znode until its session ends: one that
// starts within that time takes it over, and nobody misses it; later it is
// made again. So it is with an agent that is cut off from ZooKeeper.
func TestRegisterAfterItsDeath(t *testing.T) {
	t.Parallel()
	needsZooKeeper(t)
	c := cluster.Start(t, cluster.Options{Replicas: -1})
	z := cluster.StartZooKeeper(t, cluster.ZooKeeperOptions{})
	conn := rawZooKeeper(t, z.Addr())
	n := c.Primary()
	owner := func() (session int64, ctime int64) {
		_, stat, err := conn.Get("/p/nodes/" + n.Name)
		if errors.Is(err, zk.ErrNoNode) {
			return 0, 0
		}
		if err != nil {
			t.Fatal(err)
		}
		return stat.EphemeralOwner, stat.Ctime
	}
	// As long as ZooKeeper grants here: ten seconds.
	first := agentOf(t, z.Addr(), n, "--zookeeper-timeout", "10s")
	before, _ := owner()
	first.end(t, syscall.SIGKILL)
	if now, _ := owner(); now != before {
		t.Fatal("the znode went with the agent, not with its session")
	}
	second := agentOf(t, z.Addr(), n, "--zookeeper-timeout", "10s")
	taken, _ := owner()
	if taken == 0 || taken == before {
		t.Errorf("the session of the znode is %#x after %#x: it was not taken over", taken, before)
	}
	second.end(t, syscall.SIGKILL)
	eventually(t, "the znode goes with the session", func() bool { now, _ := owner(); return now == 0 })

	way, err := cluster.NewRelay(z.Addr(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer way.Close()
	third := agentOf(t, way.Addr(), n, "--zookeeper-timeout", "2s")
	if now, _ := owner(); now == 0 {
		t.Error("an agent that starts later has not registered")
	}
	way.Cut()
	eventually(t, "the znode of an agent that is cut off", func() bool { now, _ := owner(); return now == 0 })
	way.Heal()
	eventually(t, "it is back", func() bool { now, _ := owner(); return now != 0 })
	if code := third.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if now, _ := owner(); now != 0 {
		t.Error("the znode outlives an agent that ends properly")
	}
}
