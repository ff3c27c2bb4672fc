package zookeeper_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// patroniTree is what was seen in a real cluster at one moment.
type patroniTree struct {
	Note string
	// ZNodes are the data of all znodes, by their path below the scope.
	ZNodes map[string]string
	// Replica is the HTTP status of each member's health check /replica, 0 if
	// it did not answer; Patronictl the table that patronictl list printed.
	Replica    map[string]int
	Patronictl []string
}

// patroniTrees are the trees in testdata, by version and scenario.
func patroniTrees(t testing.TB) map[string]map[string]patroniTree {
	t.Helper()
	files, err := filepath.Glob("testdata/patroni-*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no trees in testdata: %v", err)
	}
	all := make(map[string]map[string]patroniTree)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var trees map[string]patroniTree
		if err := json.Unmarshal(data, &trees); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = trees
	}
	return all
}

// listed is a row of patronictl list.
type listed struct{ addr, role, state string }

func (p *patroniTree) table() map[string]listed {
	rows := make(map[string]listed)
	for _, line := range p.Patronictl[1:] {
		cells := strings.Split(line, "|")
		if name := strings.TrimSpace(cells[1]); name != "" {
			rows[name] = listed{strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3]), strings.TrimSpace(cells[4])}
		}
	}
	return rows
}

// put writes a tree below base.
func (p *patroniTree) put(t *testing.T, raw *zk.Conn, base string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(p.ZNodes)) {
		create(t, raw, base+path, p.ZNodes[path])
	}
}

// create makes a znode and its parents.
func create(t *testing.T, raw *zk.Conn, path, data string) {
	t.Helper()
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			if _, err := raw.Create(path[:i], nil, 0, zk.WorldACL(zk.PermAll)); err != nil && err != zk.ErrNodeExists {
				t.Fatalf("create %s: %v", path[:i], err)
			}
		}
	}
	if _, err := raw.Create(path, []byte(data), 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatalf("create %s: %v", path, err)
	}
}

// Every tree that was recorded is read as Patroni itself read it: the judges
// are what patronictl printed and what the members' health checks answered at
// that moment.
func TestPatroniTreesAreReadAsPatroniReadsThem(t *testing.T) {
	z := startZooKeeper(t)
	raw := rawConn(t, z.Addr())
	for version, trees := range patroniTrees(t) {
		for name, tree := range trees {
			t.Run(version+"/"+name, func(t *testing.T) {
				scope := "service/" + version + "-" + name
				tree.put(t, raw, "/"+scope)
				w := watchPatroni(t, zookeeper.Config{Hosts: z.Addr(), Path: scope})
				c := w.until("the tree", func(router.Candidates) bool { return true })
				tree.check(t, &c)
				if strings.Contains(w.log.String(), "malformed") {
					t.Error("something is said to be malformed")
				}
			})
		}
	}
}

func (p *patroniTree) check(t *testing.T, c *router.Candidates) {
	t.Helper()
	rows := p.table()
	leader, standby := "", false
	for name, row := range rows {
		if row.role == "Leader" || row.role == "Standby Leader" {
			leader, standby = name, row.role == "Standby Leader"
		}
	}
	if p.ZNodes["/leader"] == "" {
		leader = "" // The table was printed a second later.
	}
	switch {
	case standby && (c.Primary != "" || !strings.Contains(c.Reason, "standby cluster") || !c.Management.Standby):
		t.Errorf("primary %q (%s) in a standby cluster", c.Primary, c.Reason)
	case !standby && c.Primary != leader:
		t.Errorf("primary %q, Patroni says %q", c.Primary, leader)
	case leader == "" && c.Reason == "":
		t.Error("no primary and no reason")
	}
	if len(c.Nodes) != len(rows) {
		t.Errorf("%d nodes, Patroni lists %d", len(c.Nodes), len(rows))
	}
	for _, n := range c.Nodes {
		row := rows[n.Name]
		if addr := n.Host + ":" + strconv.Itoa(n.Port); addr != row.addr {
			t.Errorf("%s is at %s, Patroni says %s", n.Name, addr, row.addr)
		}
		if serves := n.NoReads == "" && n.Name != leader; row.role == "Replica" && p.Replica[n.Name] != 0 && serves != (p.Replica[n.Name] == 200) {
			t.Errorf("%s (%+v) may serve reads: %v (%q), its health check says %d", n.Name, row, serves, n.NoReads, p.Replica[n.Name])
		}
	}
	if id, _ := strconv.ParseUint(p.ZNodes["/initialize"], 10, 64); c.SystemID != id || id == 0 {
		t.Errorf("system identifier %d, want %d", c.SystemID, id)
	}
	var config struct {
		Pause, FailsafeMode bool
	}
	must(t, json.Unmarshal([]byte(strings.Replace(p.ZNodes["/config"], "failsafe_mode", "failsafemode", 1)), &config))
	if m := &c.Management; m.Paused != config.Pause || m.Failsafe != config.FailsafeMode || m.Manager != "Patroni" {
		t.Errorf("management %+v, the configuration is %s", m, p.ZNodes["/config"])
	}
	var history [][]any
	if h := p.ZNodes["/history"]; h != "" {
		must(t, json.Unmarshal([]byte(h), &history))
	}
	if len(c.Management.History) != len(history) {
		t.Errorf("%d switches, the history has %d", len(c.Management.History), len(history))
	}
}

// What single trees say beyond what patronictl prints.
func TestPatroniDetails(t *testing.T) {
	z := startZooKeeper(t)
	raw := rawConn(t, z.Addr())
	trees := patroniTrees(t)
	for _, tt := range []struct {
		version, name string
		want          func(c router.Candidates) bool
	}{
		{"patroni-4.1.5", "02-tags", func(c router.Candidates) bool {
			pg2 := c.Nodes[2]
			return c.Nodes[1].NoReads == "tag noloadbalance" && pg2.Zone == "b" && pg2.Weight == 3 && pg2.NoReads == "" &&
				maps.Equal(pg2.Tags, map[string]string{"nofailover": "true", "clonefrom": "true", "nosync": "true"})
		}},
		{"patroni-3.0.2", "09-cascading-replica", func(c router.Candidates) bool { return c.Nodes[1].Tags["replicatefrom"] == "pg0" }},
		{"patroni-4.0.7", "10c-synchronous-two-strict", func(c router.Candidates) bool {
			return slices.Equal(c.Management.Synchronous.Standbys, []string{"pg0", "pg1"}) && c.Management.Synchronous.Quorum == 0
		}},
		{"patroni-3.0.2", "03c-scheduled-switchover", func(c router.Candidates) bool {
			return c.Switchover == router.Switchover{Leader: "pg1", Candidate: "pg0", At: time.Date(2026, 11, 22, 12, 54, 25, 0, time.UTC)}
		}},
		{"patroni-3.0.2", "03b-after-switchover", func(c router.Candidates) bool { return c.Switchover.IsZero() }},
		{"patroni-4.0.7", "11b-paused-leader-postgres-killed", func(c router.Candidates) bool {
			return c.Primary == "" && strings.Contains(c.Reason, "paused") && c.Nodes[1].NoReads == "state stopped"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tree := trees[tt.version][tt.name]
			tree.put(t, raw, "/chroot/details/"+tt.name)
			w := watchPatroni(t, zookeeper.Config{Hosts: z.Addr() + "/chroot", Path: "details/" + tt.name})
			if c := w.until("the tree", func(router.Candidates) bool { return true }); !tt.want(c) {
				t.Errorf("read %+v", c)
			}
		})
	}
}

func TestNewPatroniWantsNamespaceAndScope(t *testing.T) {
	for path, ok := range map[string]bool{
		"service/demo": true, "/service/demo/": true, "/demo": true, "a/b/demo/0": true, "//service//demo": true,
		"": false, "/": false, "demo": false, "demo/": false, "service/..": false, "service/\x00": false,
	} {
		if _, err := zookeeper.NewPatroni(zookeeper.Config{Hosts: "zk", Path: path}); (err == nil) != ok {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func memberData(port int, more string) string {
	return fmt.Sprintf(`{"conn_url":"postgres://127.0.0.1:%d/postgres","state":"running","role":"replica"%s}`, port, more)
}
