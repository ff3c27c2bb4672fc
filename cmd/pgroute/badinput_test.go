package main

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
)

// misled is a proxy that is told nonsense.
type misled struct {
	*running
	t     *testing.T
	zk    *zk.Conn
	admin string
	conn  *pgx.Conn
}

// nonsense is one thing that is wrong with what the source says.
type nonsense struct {
	name string
	do   func()
	// log is what the log says once then, what the metric's label, which grows
	// by one.
	log, what string
	// undo makes it right again, nil if nothing needs it.
	undo func()
}

// set writes a znode, and what lies above it.
func (m *misled) set(znode, data string) {
	m.t.Helper()
	_, err := m.zk.Set(znode, []byte(data), -1)
	if errors.Is(err, zk.ErrNoNode) {
		for i := 1; i < len(znode) && err != nil; i++ {
			if znode[i] == '/' {
				_, _ = m.zk.Create(znode[:i], nil, 0, zk.WorldACL(zk.PermAll)) // it may be there
			}
		}
		_, err = m.zk.Create(znode, []byte(data), 0, zk.WorldACL(zk.PermAll))
	}
	if err != nil {
		m.t.Fatalf("write %s: %v", path.Base(znode), err)
	}
}

func (m *misled) hide(znode string, hidden bool) {
	m.t.Helper()
	list := zk.WorldACL(zk.PermAll)
	if hidden {
		list = zk.AuthACL(zk.PermAll)
	}
	if _, err := m.zk.SetACL(znode, list, -1); err != nil {
		m.t.Fatal(err)
	}
}

func (m *misled) errors(what string) int {
	m.t.Helper()
	_, text := fetch(m.t, m.admin, "/metrics")
	found := regexp.MustCompile(`(?m)^pgroute_source_errors_total\{what="` + what + `"\} (\d+)$`).FindStringSubmatch(text)
	if found == nil {
		m.t.Fatalf("there is no count of %q", what)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

// suffers does all of the list, one after the other. Whatever it is, clients go
// on to write and to read.
func (m *misled) suffers(list []nonsense, serves func(metrics string) bool) {
	m.t.Helper()
	for i, bad := range list {
		before, logged := m.errors(bad.what), strings.Count(m.log.String(), bad.log)
		bad.do()
		eventually(m.t, bad.name+": the log", func() bool { return strings.Count(m.log.String(), bad.log) == logged+1 })
		eventually(m.t, bad.name+": the metric", func() bool { return m.errors(bad.what) == before+1 })
		if _, err := m.conn.Exec(m.t.Context(), fmt.Sprintf("INSERT INTO kept VALUES (%d)", i)); err != nil {
			m.t.Errorf("%s: a write: %v", bad.name, err)
		}
		if got := queryText(m.t, m.conn, "SELECT count(*)::text FROM kept"); got != fmt.Sprint(i+1) {
			m.t.Errorf("%s: a read sees %s rows, want %d", bad.name, got, i+1)
		}
		if _, text := fetch(m.t, m.admin, "/metrics"); !serves(text) {
			m.t.Errorf("%s: the last good state does not stand", bad.name)
		}
		if bad.undo != nil {
			bad.undo()
		}
		if n := m.errors(bad.what); n != before+1 {
			m.t.Errorf("%s: it was counted %d times", bad.name, n-before)
		}
	}
}

// misguide starts a cluster of two and a proxy that follows a source which
// tell has told of them.
func misguide(t *testing.T, c *cluster.Cluster, tell func(m *misled), source ...string) *misled {
	t.Helper()
	z := cluster.StartZooKeeper(t, cluster.ZooKeeperOptions{})
	m := &misled{t: t, zk: rawZooKeeper(t, z.Addr()), admin: freeAddr(t)}
	if err := m.zk.AddAuth("digest", []byte("somebody:else")); err != nil {
		t.Fatal(err)
	}
	tell(m)
	m.running = start(t, append(source, "--zookeeper", z.Addr(), "--zookeeper-timeout", "4s", "--listen", "127.0.0.1:0", "--admin", m.admin,
		"--monitor", c.Primary().DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres"))...)
	m.ready(t)
	m.conn = m.connect(t, cluster.AppDatabase)
	eventually(t, "a table", func() bool {
		_, err := m.conn.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS kept (n int)")
		return err == nil
	})
	return m
}

func needsZooKeeper(t *testing.T) {
	t.Helper()
	if testing.Short() || !cluster.ZooKeeperInstalled() {
		t.Skip("needs ZooKeeper, and takes seconds")
	}
}

// bothServe reports whether both servers do, by name.
func bothServe(primary, replica string) func(string) bool {
	return func(metrics string) bool {
		return strings.Contains(metrics, "\npgroute_node_up{node=\""+primary+"\",role=\"primary\"} 1\n") &&
			strings.Contains(metrics, "\npgroute_node_up{node=\""+replica+"\",role=\"replica\"} 1\n")
	}
}

// Whatever is wrong below PATH: a line in the log, a metric, and the last good
// state stays in force.
func TestBadInputOfTheOwnLayout(t *testing.T) {
	t.Parallel()
	needsZooKeeper(t)
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	foreign := cluster.Start(t, cluster.Options{Replicas: -1, UniqueSystemID: true}).Primary()
	one, two := c.Primary(), c.Replicas()[0]
	node := func(n *cluster.Node) string { return fmt.Sprintf(`{"host":%q,"port":%d}`, n.Host, n.Port) }
	m := misguide(t, c, func(m *misled) {
		m.set("/p/nodes/n1", node(one))
		m.set("/p/nodes/n2", node(two))
		m.set("/p/primary", "n1")
		m.set("/p/config", "wait: 50ms\n")
	}, "--path", "/p")
	serves := bothServe("n1", "n2")
	eventually(t, "both serve", func() bool { _, text := fetch(t, m.admin, "/metrics"); return serves(text) })
	right := func() { m.set("/p/nodes/n2", node(two)) }
	m.suffers([]nonsense{
		{"no JSON", func() { m.set("/p/nodes/n2", "{") }, `msg="malformed node in ZooKeeper" path=/p/nodes/n2 keeps_last_state=true`, "malformed", right},
		{"no address", func() { m.set("/p/nodes/n2", `{"port":5}`) }, "host is missing", "malformed", right},
		{"a port that is none", func() { m.set("/p/nodes/n1", `{"host":"h","port":99999}`) }, "path=/p/nodes/n1 keeps_last_state=true", "malformed",
			func() { m.set("/p/nodes/n1", node(one)) }},
		{"a new node that makes no sense", func() { m.set("/p/nodes/n3", `[]`) }, "path=/p/nodes/n3 keeps_last_state=false", "malformed", nil},
		{"another cluster's server", func() { m.set("/p/nodes/n3", node(foreign)) }, "node=n3 reason=\"it belongs to another cluster: system identifier", "foreign",
			func() { _ = m.zk.Delete("/p/nodes/n3", -1) }},
		// Where somebody may not look, he hears of no change either.
		{"an ACL on one node", func() { m.hide("/p/nodes/n2", true); m.set("/p/nodes/n2", `{"host":"elsewhere","port":1}`) },
			`msg="ZooKeeper refuses to show a node" path=/p/nodes/n2 keeps_last_state=true`, "refused", func() { right(); m.hide("/p/nodes/n2", false) }},
		{"an ACL on the name of the primary", func() { m.hide("/p/primary", true); m.set("/p/primary", "n2") },
			`msg="ZooKeeper cannot be read; the last known topology stands"`, "refused", func() { m.set("/p/primary", "n1"); m.hide("/p/primary", false) }},
		{"an ACL on the configuration", func() { m.hide("/p/config", true); m.set("/p/config", "wait: 60ms\n") },
			`msg="ZooKeeper does not show the configuration of all proxies; the last one stays"`, "refused", nil},
	}, serves)
	// What comes after all that is believed.
	eventually(t, "ZooKeeper is read", func() bool {
		m.set("/p/nodes/n4", `{"host":"127.0.0.1","port":1}`)
		_, text := fetch(t, m.admin, "/metrics")
		return strings.Contains(text, `pgroute_node_up{node="n4"`)
	})
	m.suffersSecondPrimary(two, "n2")
	if got := invoke(t, "status", "--admin", m.admin); !strings.Contains(got.out, "told about the servers and not believed: 1 foreign, 4 malformed, 3 refused, 1 second_primary; the log says why") ||
		!strings.Contains(got.out, "the source of servers spoke for the present ") {
		t.Errorf("status:\n%s%s", got.out, got.err)
	}
	if code := m.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// suffersSecondPrimary: a replica is promoted that nobody names.
func (m *misled) suffersSecondPrimary(n *cluster.Node, name string) {
	m.t.Helper()
	m.conn.Close(m.t.Context())
	m.conn = m.connect(m.t, cluster.AppDatabase)
	if _, err := m.conn.Exec(m.t.Context(), "TRUNCATE kept"); err != nil {
		m.t.Fatal(err)
	}
	m.suffers([]nonsense{{"two leaders", func() {
		if err := n.Promote(m.t.Context()); err != nil {
			m.t.Fatal(err)
		}
	}, "node=" + name + " reason=\"it says that it is a primary, on timeline 2, beside ", "second_primary", nil}},
		func(metrics string) bool {
			return strings.Contains(metrics, "\npgroute_node_up{node=\""+name+"\",role=\"primary\"} 0\n") && strings.Contains(metrics, "\npgroute_leadership 1\n")
		})
}

// The same below NAMESPACE/SCOPE.
func TestBadInputOfPatroni(t *testing.T) {
	t.Parallel()
	needsZooKeeper(t)
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	foreign := cluster.Start(t, cluster.Options{Replicas: -1, UniqueSystemID: true}).Primary()
	one, two := c.Primary(), c.Replicas()[0]
	member := func(n *cluster.Node, role string) string {
		return fmt.Sprintf(`{"conn_url":"postgres://%s/postgres","state":"running","role":%q}`, n.Addr(), role)
	}
	id, err := one.QueryString(t.Context(), "SELECT system_identifier FROM pg_control_system()")
	if err != nil {
		t.Fatal(err)
	}
	const base = "/service/demo/"
	m := misguide(t, c, func(m *misled) {
		m.set(base+"initialize", id)
		m.set(base+"config", `{"ttl":30,"whatever":1}`)
		m.set(base+"history", `[[1,100,"x"],[2,200,"x"]]`)
		m.set(base+"sync", `{"leader":"pg1","sync_standby":"pg2"}`)
		m.set(base+"status", `{"optime":1}`)
		m.set(base+"members/pg1", member(one, "master"))
		m.set(base+"members/pg2", member(two, "replica"))
		m.set(base+"leader", "pg1")
	}, "--patroni", "service/demo")
	serves := bothServe("pg1", "pg2")
	eventually(t, "both serve", func() bool { _, text := fetch(t, m.admin, "/metrics"); return serves(text) })
	right := func() { m.set(base+"members/pg2", member(two, "replica")) }
	m.set(base+"status", "{") // Nobody reads it.
	m.suffers([]nonsense{
		{"no JSON", func() { m.set(base+"members/pg2", "{") }, `msg="malformed member of Patroni in ZooKeeper; what was known of it stands" path=/service/demo/members/pg2`, "malformed", right},
		{"no conn_url", func() { m.set(base+"members/pg2", `{"state":"running"}`) }, "it has no conn_url", "malformed", right},
		{"a conn_url without an address", func() { m.set(base+"members/pg2", `{"conn_url":"postgres://:/"}`) }, "path=/service/demo/members/pg2", "malformed", right},
		{"config", func() { m.set(base+"config", "[") }, "path=/service/demo/config", "malformed", nil},
		{"sync", func() { m.set(base+"sync", `{"leader":"pg1","quorum":"many"}`) }, `malformed quorum`, "malformed", nil},
		{"failover", func() { m.set(base+"failover", `{"leader":"pg1","scheduled_at":"soon"}`) }, `malformed time`, "malformed", nil},
		{"a history that is none", func() { m.set(base+"history", "{}") }, "path=/service/demo/history", "malformed", nil},
		{"a history that shrinks", func() { m.set(base+"history", `[[1,100,"x"]]`) }, "it ends before timeline 2, which was there", "malformed", nil},
		{"initialize", func() { m.set(base+"initialize", "x") }, "path=/service/demo/initialize", "malformed", nil},
		{"another cluster's server", func() { m.set(base+"members/pg3", member(foreign, "replica")) },
			"node=pg3 reason=\"it belongs to another cluster: system identifier", "foreign", func() { _ = m.zk.Delete(base+"members/pg3", -1) }},
		{"an ACL on a member", func() {
			m.hide(base+"members/pg2", true)
			m.set(base+"members/pg2", `{"conn_url":"postgres://elsewhere/"}`)
		},
			`msg="ZooKeeper refuses to show a member of Patroni; what was known of it stands"`, "refused", func() { right(); m.hide(base+"members/pg2", false) }},
		{"an ACL on the leader", func() { m.hide(base+"leader", true); m.set(base+"leader", "pg2") },
			`msg="ZooKeeper cannot be read; the last known topology stands"`, "refused", func() { m.set(base+"leader", "pg1"); m.hide(base+"leader", false) }},
	}, serves)
	m.suffersSecondPrimary(two, "pg2")
}
