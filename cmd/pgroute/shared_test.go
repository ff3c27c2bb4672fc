package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/go-zookeeper/zk"
)

// The words of the file are the words of PATH/config, but for those that say
// where that is. A flag outranks the file, and that outranks ZooKeeper.
func TestSharedConfigMerges(t *testing.T) {
	t.Parallel()
	merge := func(shared, text string, flags ...string) (*settings, error) {
		t.Helper()
		a, err := parseArguments("proxy", flags, nil)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parseFile("file", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		c := sharedConfig{where: "/p/config"}
		z, err := c.parse([]byte(shared))
		if err != nil {
			return nil, err
		}
		return a.merge(f, z)
	}
	s, err := merge("wait: 1ms\nmax_staleness: 3s\npool_size: 7\npeer: [2=a:1]\nrules:\n  - {user: u, scope: connection}\n",
		"wait: 2ms\nmax_staleness: 4s\n", "--wait", "5ms")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.texts["wait"], s.texts["max_staleness"], s.texts["pool_size"], s.texts["loops"], len(s.peers), len(s.rules)); got != "[5ms] [4s] [7] [1] 1 1" {
		t.Errorf("merged: %s", got)
	}
	if s.rules[0].Wait != s.policy.Wait || s.rules[0].PoolSize != 7 {
		t.Errorf("the rule begins with %+v", s.rules[0])
	}
	if s, err = merge("rules:\n  - {user: u, scope: connection}\n", "rules: []\n"); err != nil || len(s.rules) != 0 {
		t.Errorf("the file's rules are none: %v, %v", s.rules, err)
	}
	for text, want := range map[string]string{
		"wait: 5ms\nnode: a:1\n":         "/p/config:2:7: node cannot be in ZooKeeper: the servers are below nodes there",
		"zookeeper: a:1\n":               "/p/config:1:12: zookeeper cannot be in ZooKeeper: it says where this is",
		"path: /x\n":                     "/p/config:1:7: path cannot be in ZooKeeper: it says where this is",
		"patroni: a/b\n":                 "/p/config:1:10: patroni cannot be in ZooKeeper: it says where this is",
		"zookeeper_auth: a:b\n":          "/p/config:1:17: zookeeper_auth cannot be in ZooKeeper: it says how this is read",
		"peer_id: 5\n":                   "/p/config:1:10: peer_id cannot be in ZooKeeper: every proxy has another one",
		"wait: 5ms\nwiat: 5ms\n":         `/p/config:2:1: unknown key "wiat"`,
		"wait: [\n":                      "/p/config:1:7: sequence end token ']' not found",
		"rules:\n- min_pool_size: 500\n": "/p/config:2:16: rules: min_pool_size 500 is more than pool_size 20",
	} {
		if _, err := merge(text, ""); err == nil || err.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

// own is a cluster of one server in pgroute's own layout.
type own struct {
	*zk.Conn
	hosts string
	args  []string
}

func (o *own) put(t *testing.T, text string) {
	t.Helper()
	_, err := o.Set("/p/config", []byte(text), -1)
	if errors.Is(err, zk.ErrNoNode) {
		_, err = o.Create("/p/config", []byte(text), 0, zk.WorldACL(zk.PermAll))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// PATH/config is applied at the start and whenever it changes, unless it is
// bad.
func TestSharedConfigIsFollowed(t *testing.T) {
	t.Parallel()
	o := ownLayout(t)
	o.put(t, "consistency: primary\nscope: connection\nwait: 33ms\nloops: 2\n")
	admin := freeAddr(t)
	name := writeFile(t, "scope: application\n")
	r := start(t, append(o.args, "--listen", "127.0.0.1:0", "--admin", admin, "--config", name, "--wait", "70ms")...)
	r.ready(t)
	conn, shows := r.connect(t, "app"), r.connect(t, "pgroute")
	has := func(key, want string) bool {
		return queryText(t, conn, "SHOW pgroute."+key) == want
	}
	if !has("consistency", "primary") || !has("scope", "application") || !has("wait", "70ms") {
		t.Error("a flag outranks the file, and that ZooKeeper")
	}
	config := func(key string) string {
		rows, err := shows.Query(t.Context(), "SHOW CONFIG")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			if v, err := rows.Values(); err != nil {
				t.Fatal(err)
			} else if v[0] == key {
				return v[1].(string) + " " + v[4].(string)
			}
		}
		return ""
	}
	for key, want := range map[string]string{"loops": "2 zookeeper", "scope": "application file", "wait": "70ms flag", "auth": "scram default", "rules": "0 default",
		"monitor": hidden + " flag", "failover_wait": "30s default", "listen": r.addr + " flag"} {
		if got := config(key); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	o.put(t, "consistency: strong\nquery_timeout: 77s\nauth: trust\n")
	eventually(t, "the new text", func() bool { return has("consistency", "strong") && config("query_timeout") == "77s zookeeper" })
	eventually(t, "the log says what needs a restart", func() bool {
		return strings.Contains(r.log.String(), `keys="[auth loops]"`)
	})
	if config("auth") != "scram default" || config("loops") != "2 zookeeper" {
		t.Errorf("auth is %s, loops is %s", config("auth"), config("loops"))
	}

	refused := func(want string, n int) {
		t.Helper()
		eventually(t, want, func() bool { return strings.Contains(r.log.String(), want) })
		eventually(t, "it is counted", func() bool {
			_, text := fetch(t, admin, "/metrics")
			return strings.Contains(text, fmt.Sprintf("\npgroute_config_refused_total %d\n", n))
		})
		if !has("consistency", "strong") {
			t.Error("a refused text was applied")
		}
	}
	o.put(t, "consistency: eventual\nwiat: 5ms\n")
	refused(`/p/config:2:1: unknown key \"wiat\"`, 1)
	o.put(t, "consistency: eventual\nmin_pool_size: 21\n")
	refused("min_pool_size 21 is more than pool_size 20", 2)
	// With a file that suits it, it makes sense.
	if err := os.WriteFile(name, []byte("scope: connection\npool_size: 50\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the text that was held", func() bool { return has("consistency", "eventual") && has("scope", "connection") })
	if err := o.Delete("/p/config", -1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the default", func() bool { return has("consistency", "session") && has("scope", "connection") })
	if code := r.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := strings.Count(r.log.String(), "is refused"); n != 2 {
		t.Errorf("%d refusals in the log", n)
	}
}

// A text that nobody can start with, and a ZooKeeper that is away, do not keep
// a proxy from serving.
func TestStartWithoutSharedConfig(t *testing.T) {
	t.Parallel()
	o := ownLayout(t)
	o.put(t, "tls: require\n")
	admin := freeAddr(t)
	r := start(t, append(o.args, "--listen", "127.0.0.1:0", "--admin", admin)...)
	r.ready(t)
	if _, text := fetch(t, admin, "/metrics"); !strings.Contains(text, "\npgroute_config_refused_total 1\n") {
		t.Error("the refusal is not counted")
	}
	if log := r.log.String(); strings.Count(log, "is refused") != 1 || !strings.Contains(log, "clients cannot speak TLS without a certificate") {
		t.Error("the refusal is not in the log once")
	}
	conn := r.connect(t, "app")
	o.put(t, "consistency: primary\n")
	eventually(t, "the good text", func() bool { return queryText(t, conn, "SHOW pgroute.consistency") == "primary" })
	if code := r.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}

	away := start(t, "--zookeeper", freeAddr(t), "--path", "/p", "--listen", "127.0.0.1:0", "--monitor", "postgres://m@h/d")
	away.ready(t)
	if log := away.log.String(); !strings.Contains(log, "pgroute starts without it") {
		t.Error("the log does not say that ZooKeeper is away")
	}
}

// A running proxy is in PATH/proxies until its drain begins.
func TestProxyRegistersItself(t *testing.T) {
	t.Parallel()
	o := ownLayout(t)
	admin := freeAddr(t)
	r := start(t, append(o.args, "--listen", "127.0.0.1:0", "--admin", admin, "--peer-id", "17")...)
	r.ready(t)
	var znode string
	eventually(t, "the proxy is registered", func() bool {
		names, _, err := o.Children("/p/proxies")
		if err == nil && len(names) == 1 {
			znode = "/p/proxies/" + names[0]
		}
		return znode != ""
	})
	data, stat, err := o.Get(znode)
	var got map[string]any
	if err == nil {
		err = json.Unmarshal(data, &got)
	}
	if err != nil || stat.EphemeralOwner == 0 || got["pid"] != float64(r.cmd.Process.Pid) || got["peer_id"] != 17.0 || got["admin"] != admin ||
		fmt.Sprint(got["listen"]) != "["+r.addr+"]" || got["version"] == "" || got["host"] == "" || got["started"] == nil {
		t.Errorf("%s is %s, %v", znode, data, err)
	}
	// A transaction keeps the drain waiting; the znode is gone by then.
	conn := r.connect(t, "app")
	for _, sql := range []string{"BEGIN", "CREATE TABLE t (a int)"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the znode is gone", func() bool { ok, _, err := o.Exists(znode); return !ok && err == nil })
	if code, _ := fetch(t, admin, "/livez"); code != http.StatusOK && !strings.Contains(r.log.String(), "has ended") {
		t.Errorf("the proxy does not live any more: %d", code)
	}
	if _, err := conn.Exec(t.Context(), "COMMIT"); err != nil && !strings.Contains(err.Error(), "57P01") {
		t.Errorf("COMMIT: %v", err)
	}
	for range r.lines { // until the end
	}
	if _ = r.cmd.Wait(); r.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("exit code %d", r.cmd.ProcessState.ExitCode())
	}
}
