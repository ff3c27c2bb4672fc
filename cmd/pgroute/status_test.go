package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/internal/cluster"
)

// pgroute status prints what a running proxy knows, and says by its exit code
// whether that is ready.
func TestStatus(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	admin := freeAddr(t)
	r := start(t, append(servers(c), "--listen", "127.0.0.1:0", "--admin", admin)...)
	r.ready(t)
	r.connect(t, cluster.AppDatabase)
	var st proxyStatus
	eventually(t, "the status of a healthy cluster", func() bool {
		got := invoke(t, "status", "--json", "--config", writeFile(t, "admin: "+admin+"\n"))
		st = proxyStatus{}
		if err := json.Unmarshal([]byte(got.out), &st); err != nil || got.err != "" {
			t.Fatalf("%v: %s%s", err, got.out, got.err)
		}
		if (got.code == 0) != st.Ready {
			t.Fatalf("exit code %d: %s", got.code, got.out)
		}
		return st.Ready && st.Leadership && st.Clients == 1 && len(st.Nodes) == 2 && st.Nodes[0].Up && st.Nodes[1].Up
	})
	if st.Primary != c.Primary().Addr() || st.Timeline != 1 || st.PID != r.cmd.Process.Pid || st.Listen[0] != r.addr || st.State != "ok" {
		t.Errorf("%+v", st)
	}
	for _, n := range st.Nodes {
		want := "replica"
		if n.Name == c.Primary().Addr() {
			want = "primary"
		}
		if n.Role != want || n.Leads != (want == "primary") || n.Timeline != 1 || (n.LagBytes == nil) != n.Leads || n.State != "serves" {
			t.Errorf("%+v", n)
		}
	}
	got := invoke(t, "status", "--admin", admin)
	for _, want := range []string{": ok\n", c.Primary().Addr() + " takes writes on timeline 1\n", "1 clients, 0 of them wait", "\nNODE ", " replica ", " yes "} {
		if got.code != 0 || !strings.Contains(got.out, want) || strings.Contains(got.out, "PROXY") {
			t.Errorf("code %d, it lacks %q:\n%s%s", got.code, want, got.out, got.err)
		}
	}
	if code := r.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got = invoke(t, "status", "--admin", admin); got.code != 1 || got.out != "" || strings.Count(got.err, "\n") != 1 || !strings.Contains(got.err, "ask the proxy: ") {
		t.Errorf("without a proxy: code %d, %s%s", got.code, got.out, got.err)
	}
}

func TestStatusOfAProxyThatIsNotReady(t *testing.T) {
	t.Parallel()
	admin := freeAddr(t)
	r := start(t, "--node", freeAddr(t), "--listen", "127.0.0.1:0", "--admin", admin, "--monitor", "postgres://m@h/d")
	r.ready(t)
	got := invoke(t, "status", "--admin", admin)
	if got.code != 1 || !strings.Contains(got.out, "not ready: no primary and no replica") || !strings.Contains(got.out, "does not answer") || got.err != "" {
		t.Errorf("code %d\n%s%s", got.code, got.out, got.err)
	}
}

// With ZooKeeper the running proxies are listed, and what is in PATH/config
// counts.
func TestStatusListsProxies(t *testing.T) {
	t.Parallel()
	o := ownLayout(t)
	status := append([]string{"status"}, o.args...)
	if got := invoke(t, status...); got.code != 1 || !strings.Contains(got.out, "none is registered") {
		t.Errorf("without proxies: code %d\n%s%s", got.code, got.out, got.err)
	}
	r := start(t, append(o.args, "--listen", "127.0.0.1:0", "--peer-id", "9")...)
	r.ready(t)
	eventually(t, "the proxy is listed", func() bool {
		got := invoke(t, status...)
		return got.code == 0 && strings.Contains(got.out, r.addr) && !strings.Contains(got.out, "NODE")
	})
	admin := freeAddr(t)
	o.put(t, "admin: "+admin+"\n")
	r = start(t, append(o.args, "--listen", "127.0.0.1:0")...)
	r.ready(t)
	eventually(t, "both are listed, and one is asked", func() bool {
		got := invoke(t, status...)
		return got.code == 0 && strings.Contains(got.out, "NODE") && strings.Contains(got.out, admin)
	})
}

// What answers may be anything.
func TestStatusOfSomethingElse(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		"<html>": "is no status", `{"version":5}`: "is no status", "": "is no status",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answer)) }))
		got := invoke(t, "status", "--admin", strings.TrimPrefix(srv.URL, "http://"))
		if srv.Close(); got.code != 1 || strings.Count(got.err, "\n") != 1 || !strings.Contains(got.err, want) {
			t.Errorf("%q: code %d, %s", answer, got.code, got.err)
		}
	}
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	if got := invoke(t, "status", "--admin", strings.TrimPrefix(srv.URL, "http://")); got.code != 1 || !strings.Contains(got.err, "404 Not Found") {
		t.Errorf("code %d, %s", got.code, got.err)
	}
	if s := safe("a\x1b[31m\nb\u009bc\u00e4"); s != "a [31m b c\u00e4" {
		t.Errorf("%q", s)
	}
}

func TestReachable(t *testing.T) {
	for addr, want := range map[string]string{":80": "127.0.0.1:80", "0.0.0.0:80": "127.0.0.1:80", "[::]:80": "[::1]:80", "db:80": "db:80", "x": "x"} {
		if got := reachable(addr); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// What ZooKeeper knows of the servers is shown as it is, with what is wrong.
func TestStatusShowsTheLayout(t *testing.T) {
	t.Parallel()
	o := ownLayout(t)
	status := append([]string{"status"}, o.args...)
	for znode, data := range map[string]string{
		"/p/nodes/bad": "{", "/p/nodes/far": `{"host":"h","port":1,"zone":"z\u001b"}`, "/p/claim": `{"primary":"pg1","system_id":"7","timeline":3}`,
	} {
		if _, err := o.Create(znode, []byte(data), 0, zk.WorldACL(zk.PermAll)); err != nil {
			t.Fatal(err)
		}
	}
	o.put(t, "wait: 5ms\n")
	got := invoke(t, status...)
	for _, want := range []string{`bad +- +- +- +hand +parse node: `, `far +h:1 +1 +z  +hand +ok`, `pg1 +127.0.0.1:\d+ +1 +- +hand +named as the primary`,
		"the last claim to be the primary is that of pg1, on timeline 3", "there is a configuration for all proxies"} {
		if !regexp.MustCompile(want).MatchString(got.out) {
			t.Errorf("it does not say %q", want)
		}
	}
	if _, err := o.Set("/p/primary", []byte("gone"), -1); err != nil {
		t.Fatal(err)
	}
	if now := invoke(t, status...); !strings.Contains(now.out, "gone is named as the primary, and is not registered: writes wait") {
		t.Errorf("a primary that is not there:\n%s", now.out)
	}
	if t.Failed() {
		t.Logf("code %d\n%s%s", got.code, got.out, got.err)
	}
	asJSON := invoke(t, append(status, "--json")...)
	if !strings.Contains(asJSON.out, `"timeline": 3`) || !strings.Contains(asJSON.out, `"problem": "parse node: `) {
		t.Errorf("as JSON:\n%s", asJSON.out)
	}
}
