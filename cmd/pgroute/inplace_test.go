package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// What ZooKeeper says of a server changes while clients work there: nothing is
// closed, nobody fails, and there is no new epoch.
func TestNodeChangesInPlace(t *testing.T) {
	t.Parallel()
	if !cluster.ZooKeeperInstalled() {
		t.Skip("ZooKeeper is not installed")
	}
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	z := cluster.StartZooKeeper(t, cluster.ZooKeeperOptions{})
	reg, err := zookeeper.NewRegistry(t.Context(), zookeeper.Config{Hosts: z.Addr(), Path: "/p"})
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	put := func(change func(*zookeeper.Node)) {
		t.Helper()
		for _, n := range c.Nodes() {
			node := zookeeper.Node{Host: n.Host, Port: n.Port}
			change(&node)
			if err := reg.Put(t.Context(), n.Name, node, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(func(*zookeeper.Node) {})
	if err := reg.SetPrimary(t.Context(), c.Primary().Name); err != nil {
		t.Fatal(err)
	}
	httpAddr := freeAddr(t)
	r := start(t, "--admin", httpAddr, "--zookeeper", z.Addr(), "--path", "/p", "--listen", "127.0.0.1:0", "--zone", "east",
		"--monitor", c.Primary().DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres"))
	r.ready(t)
	admin := r.connect(t, "pgroute")
	replica := c.Replicas()[0].Name
	row := func(name string) map[string]any {
		t.Helper()
		rows, err := admin.Query(t.Context(), "SHOW NODES")
		if err != nil {
			t.Fatal(err)
		}
		nodes, err := pgx.CollectRows(rows, pgx.RowToMap)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			if n["name"] == name {
				return n
			}
		}
		return map[string]any{}
	}
	eventually(t, "the replica serves", func() bool { return row(replica)["state"] == "serving" })

	// Clients that write and read all the time, each on connections of its own.
	setup := r.connect(t, cluster.AppDatabase)
	if _, err := setup.Exec(t.Context(), "CREATE TABLE in_place (a int)"); err != nil {
		t.Fatal(err)
	}
	const clients = 4
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range clients {
		conn := r.connect(t, cluster.AppDatabase)
		if _, err := conn.Exec(t.Context(), "CREATE TEMP TABLE mine (a int)"); err != nil { // it pins a server connection
			t.Fatal(err)
		}
		reader := r.connect(t, cluster.AppDatabase)
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := conn.Exec(t.Context(), "INSERT INTO in_place VALUES (1)"); err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				var n int
				if err := reader.QueryRow(t.Context(), "SELECT count(*) FROM in_place").Scan(&n); err != nil || n == 0 {
					t.Errorf("client %d: %d rows, %v", i, n, err)
					return
				}
			}
		})
	}
	// backends are the server connections of the clients.
	backends := func() string {
		var list []string
		for _, n := range c.Nodes() {
			v, err := n.QueryString(t.Context(), "SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity WHERE usename = $1", cluster.AppUser)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, strings.Fields(v)...)
		}
		return strings.Join(list, " ")
	}
	eventually(t, "all pinned clients have a connection", func() bool { return len(strings.Fields(backends())) > clients })
	before, epoch := strings.Fields(backends()), epochOf(t, httpAddr)
	for weight := 2; weight <= 5; weight++ {
		put(func(n *zookeeper.Node) {
			n.Weight, n.Zone, n.Tags = weight, "east", map[string]string{"round": fmt.Sprint(weight)}
		})
		for _, n := range c.Nodes() {
			eventually(t, "the weight is known", func() bool {
				got := row(n.Name)
				return got["weight"] == int64(weight) && got["zone"] == "east"
			})
		}
	}
	close(stop)
	all.Wait()
	_, text := fetch(t, httpAddr, "/metrics")
	for _, line := range []string{
		`pgroute_node_state{node="` + replica + `",state="serving"} 1`, `pgroute_node_state{node="` + replica + `",state="ejected"} 0`,
		`pgroute_node_ejections_total{node="` + replica + `",why="breaker"} 0`, `pgroute_node_weight{node="` + replica + `"} 5`,
		`pgroute_node_state{node="` + c.Primary().Name + `",state="primary"} 1`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
	if got := epochOf(t, httpAddr); got != epoch {
		t.Errorf("now %s, before %s", got, epoch)
	}
	after := " " + backends() + " "
	for _, pid := range before {
		if !strings.Contains(after, " "+pid+" ") {
			t.Errorf("the server connection %s was closed; left are%s", pid, after)
		}
	}
}

// epochOf returns the line of the metrics that tells the epoch.
func epochOf(t *testing.T, admin string) string {
	t.Helper()
	_, text := fetch(t, admin, "/metrics")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "pgroute_epoch ") {
			return strings.TrimSpace(line)
		}
	}
	t.Fatal("no epoch in the metrics")
	return ""
}
