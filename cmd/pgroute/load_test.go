package main

import (
	"crypto/tls"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

func loaded(t *testing.T, text string, args ...string) *settings {
	t.Helper()
	if text != "" {
		args = append([]string{"--config", writeFile(t, text)}, args...)
	}
	a, err := parseArguments("proxy", args, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := load(a)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The defaults are a contract.
func TestDefaults(t *testing.T) {
	got := loaded(t, "")
	got.texts = nil
	want := &settings{
		listen: []string{"127.0.0.1:6432"}, auth: proxy.AuthSCRAM,
		tls: proxy.ClientTLS{MinVersion: tls.VersionTLS12}, serverTLS: proxy.ServerTLS{Mode: proxy.SSLPrefer},
		zk: zookeeperSettings{timeout: 10 * time.Second},
		policy: proxy.Policy{Consistency: router.LevelSession, Scope: router.ScopeApplication, Wait: 100 * time.Millisecond,
			OnTimeout: router.OnTimeoutPrimary, MaxStaleness: time.Second},
		fallbackBudget: 32, maxLag: 16 << 20, monotonic: router.MonotonicConnection, position: router.PositionInsert,
		poolMode: proxy.PoolAuto, poolSize: 20, loops: 1, drain: 10 * time.Second, logFormat: "text", logLevel: slog.LevelInfo,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

const wholeFile = `
# every key
listen: ["127.0.0.1:7000", "unix:/tmp"]
admin: 127.0.0.1:9000
node:
  - db1:5432
  - db2:5432
monitor: postgres://m@h/d
auth: trust
tls: require
tls_cert: /etc/pgroute/tls.crt
tls_key: /etc/pgroute/tls.key
tls_min_version: 1.3
server_sslmode: verify-full
server_sslrootcert: system
server_sslcert: a.crt
server_sslkey: a.key
consistency: strong
scope: connection
wait: 50ms
on_timeout: error
max_staleness: 2s
fallback_budget: 8
max_lag: 1MiB
monotonic: session
position: flush
pool_mode: session
pool_size: 7
loops: 2
drain_timeout: 3s
log_format: json
log_level: debug
rules:
  - {user: reports, consistency: eventual}
  - database: audit
    on_timeout: stale
    wait: 0
`

func TestFileIsRead(t *testing.T) {
	got := loaded(t, wholeFile)
	got.texts = nil
	policy := proxy.Policy{Consistency: router.LevelStrong, Scope: router.ScopeConnection, Wait: 50 * time.Millisecond,
		OnTimeout: router.OnTimeoutError, MaxStaleness: 2 * time.Second}
	reports, audit := policy, policy
	reports.Consistency = router.LevelEventual
	audit.OnTimeout, audit.Wait = router.OnTimeoutStale, -1
	want := &settings{
		listen: []string{"127.0.0.1:7000", "unix:/tmp"}, admin: "127.0.0.1:9000", nodes: []string{"db1:5432", "db2:5432"},
		monitor: "postgres://m@h/d", auth: proxy.AuthTrust, policy: policy,
		tls:            proxy.ClientTLS{Mode: proxy.TLSRequire, CertFile: "/etc/pgroute/tls.crt", KeyFile: "/etc/pgroute/tls.key", MinVersion: tls.VersionTLS13},
		serverTLS:      proxy.ServerTLS{Mode: proxy.SSLVerifyFull, RootCertFile: "system", CertFile: "a.crt", KeyFile: "a.key"},
		zk:             zookeeperSettings{timeout: 10 * time.Second},
		rules:          []proxy.Rule{{User: "reports", Policy: reports}, {Database: "audit", Policy: audit}},
		fallbackBudget: 8, maxLag: 1 << 20, monotonic: router.MonotonicSession, position: router.PositionFlush,
		poolMode: proxy.PoolSession, poolSize: 7, loops: 2, drain: 3 * time.Second, logFormat: "json", logLevel: slog.LevelDebug,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestFlagsOutrankTheFile(t *testing.T) {
	s := loaded(t, wholeFile, "--consistency=eventual", "-wait", "1s", "--listen", ":1", "--listen", ":2", "--node", "x:1", "--pool-size", "9")
	if s.policy.Consistency != router.LevelEventual || s.policy.Wait != time.Second || s.poolSize != 9 {
		t.Errorf("flags do not outrank the file: %+v", s)
	}
	if want := []string{":1", ":2"}; !reflect.DeepEqual(s.listen, want) {
		t.Errorf("listen is %v, want %v", s.listen, want)
	}
	if want := []string{"x:1"}; !reflect.DeepEqual(s.nodes, want) {
		t.Errorf("node is %v, want %v", s.nodes, want)
	}
	// What the file says and no flag does stays.
	if s.policy.OnTimeout != router.OnTimeoutError || s.loops != 2 {
		t.Errorf("the file is lost: %+v", s)
	}
	// A rule outranks the default, wherever that comes from.
	if s.rules[0].Consistency != router.LevelEventual || s.rules[1].Consistency != router.LevelEventual || s.rules[1].Wait != -1 {
		t.Errorf("rules are %+v", s.rules)
	}
}

func TestFlagReplacesTheFilesSource(t *testing.T) {
	s := loaded(t, "zookeeper: z:1\npath: /p\n", "--node", "a:1")
	if s.zookeeper != "" || s.path != "" || len(s.nodes) != 1 {
		t.Errorf("%+v", s)
	}
	s = loaded(t, "node: a:1\n", "--zookeeper", "z:1", "--path", "/p")
	if s.zookeeper != "z:1" || s.path != "/p" || len(s.nodes) != 0 {
		t.Errorf("%+v", s)
	}
}

func TestFlagReplacesTheFilesLayout(t *testing.T) {
	s := loaded(t, "zookeeper: z:1\npath: /p\n", "--patroni", "service/demo")
	if s.zookeeper != "z:1" || s.path != "" || s.patroni != "service/demo" {
		t.Errorf("%+v", s)
	}
	s = loaded(t, "zookeeper: z:1\npatroni: service/demo\n", "--path", "/p")
	if s.zookeeper != "z:1" || s.path != "/p" || s.patroni != "" {
		t.Errorf("%+v", s)
	}
	s = loaded(t, "zookeeper: z:1\npatroni: service/demo\n", "--node", "a:1")
	if s.zookeeper != "" || s.patroni != "" || len(s.nodes) != 1 {
		t.Errorf("%+v", s)
	}
}

// Zero has a meaning of its own where a proxy.Config takes it for the default.
func TestZeroIsNotTheDefault(t *testing.T) {
	s := loaded(t, "", "--wait", "0", "--fallback-budget", "0", "--max-lag", "off")
	c := s.config(slog.New(slog.DiscardHandler))
	if c.Wait >= 0 || c.FallbackBudget >= 0 || c.MaxLag >= 0 {
		t.Errorf("wait %v, fallback_budget %d, max_lag %d", c.Wait, c.FallbackBudget, c.MaxLag)
	}
}

func TestEmptyFile(t *testing.T) {
	for _, text := range []string{"\n", "# nothing\n", "---\n"} {
		if s := loaded(t, text); s.poolSize != 20 {
			t.Errorf("%q: %+v", text, s)
		}
	}
}

func TestFixedChanges(t *testing.T) {
	a := loaded(t, "pool_size: 5\nwait: 5ms\n")
	b := loaded(t, "pool_size: 6\nwait: 6ms\nlog_level: debug\nnode: a:1\ntls_cert: x\n")
	if got, want := a.fixedChanges(b), []string{"node", "pool_size"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
