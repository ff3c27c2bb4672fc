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
	s, _, err := load(a)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The defaults are a contract.
func TestDefaults(t *testing.T) {
	got := loaded(t, "")
	got.texts, got.origins = nil, nil
	want := &settings{
		listen: []string{"127.0.0.1:6432"}, auth: proxy.AuthSCRAM,
		tls: proxy.ClientTLS{MinVersion: tls.VersionTLS12}, serverTLS: proxy.ServerTLS{Mode: proxy.SSLPrefer},
		zk: zookeeperSettings{timeout: 10 * time.Second},
		policy: proxy.Policy{Consistency: router.LevelSession, Scope: router.ScopeApplication, Wait: 100 * time.Millisecond,
			OnTimeout: router.OnTimeoutPrimary, MaxStaleness: time.Second},
		fallbackBudget: 32, maxLag: 16 << 20, monotonic: router.MonotonicConnection, position: router.PositionInsert, ticketPace: 500 * time.Microsecond,
		preferences: router.Preferences{SlowStart: 10 * time.Second},
		poolMode:    proxy.PoolAuto, poolSize: 20, loops: 1, drain: 10 * time.Second, logFormat: "text", logLevel: slog.LevelInfo,
		pool: proxy.PoolLimits{MinSize: -1, ReserveSize: -1, ReserveTimeout: 5 * time.Second, QueueLimit: -1, Lifetime: time.Hour,
			IdleTimeout: 10 * time.Minute, QueryTimeout: -1, IdleTransactionTimeout: -1, ClientIdleTimeout: -1},
		leaseWait: 30 * time.Second, failoverWait: 30 * time.Second, switchoverLead: 500 * time.Millisecond,
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
transaction_reads: until-write
fallback_budget: 8
max_lag: 1MiB
zone: a
slow_start: 5s
monotonic: session
position: flush
ticket_pace: 2ms
position_pace: 5ms
pool_mode: session
pool_size: 7
min_pool_size: 2
reserve_pool_size: 3
reserve_pool_timeout: 2s
max_server_connections: 90
max_node_connections: 40
max_db_connections: 30
max_user_connections: 20
max_client_conn: 500
max_db_client_conn: 400
max_user_client_conn: 300
query_wait_timeout: 10s
queue_limit: 100
server_lifetime: 0
server_idle_timeout: 1m
query_timeout: 20s
idle_transaction_timeout: 30s
client_idle_timeout: 1h
failover_wait: 7s
switchover_lead: 2s
loops: 2
drain_timeout: 3s
log_format: json
log_level: debug
rules:
  - {user: reports, consistency: eventual}
  - database: audit
    on_timeout: stale
    wait: 0
    transaction_reads: primary
    pool_size: 3
    query_timeout: 0
    query_wait_timeout: 0
`

func TestFileIsRead(t *testing.T) {
	got := loaded(t, wholeFile)
	got.texts, got.origins = nil, nil
	policy := proxy.Policy{Consistency: router.LevelStrong, Scope: router.ScopeConnection, Wait: 50 * time.Millisecond,
		OnTimeout: router.OnTimeoutError, MaxStaleness: 2 * time.Second,
		TransactionReads: proxy.ReadsUntilWrite}
	reports, audit := policy, policy
	reports.Consistency = router.LevelEventual
	audit.OnTimeout, audit.Wait, audit.TransactionReads = router.OnTimeoutStale, -1, proxy.ReadsPrimary
	pool := proxy.PoolLimits{MinSize: 2, ReserveSize: 3, ReserveTimeout: 2 * time.Second, QueueLimit: 100, Lifetime: -1, IdleTimeout: time.Minute,
		QueryTimeout: 20 * time.Second, IdleTransactionTimeout: 30 * time.Second, ClientIdleTimeout: time.Hour}
	auditPool := pool
	auditPool.QueryTimeout = -1
	want := &settings{
		listen: []string{"127.0.0.1:7000", "unix:/tmp"}, admin: "127.0.0.1:9000", nodes: []string{"db1:5432", "db2:5432"},
		monitor: "postgres://m@h/d", auth: proxy.AuthTrust, policy: policy,
		tls:       proxy.ClientTLS{Mode: proxy.TLSRequire, CertFile: "/etc/pgroute/tls.crt", KeyFile: "/etc/pgroute/tls.key", MinVersion: tls.VersionTLS13},
		serverTLS: proxy.ServerTLS{Mode: proxy.SSLVerifyFull, RootCertFile: "system", CertFile: "a.crt", KeyFile: "a.key"},
		rules: []proxy.Rule{{User: "reports", Policy: reports, PoolSize: 7, LeaseWait: 10 * time.Second, PoolLimits: pool},
			{Database: "audit", Policy: audit, PoolSize: 3, LeaseWait: -1, PoolLimits: auditPool}},
		pool: pool, leaseWait: 10 * time.Second,
		limits: proxy.Limits{MaxServerConnections: 90, MaxNodeConnections: 40, MaxDatabaseConnections: 30, MaxUserConnections: 20,
			MaxClients: 500, MaxDatabaseClients: 400, MaxUserClients: 300},
		zk:           zookeeperSettings{timeout: 10 * time.Second},
		failoverWait: 7 * time.Second, switchoverLead: 2 * time.Second, fallbackBudget: 8, maxLag: 1 << 20, monotonic: router.MonotonicSession, position: router.PositionFlush, ticketPace: 2 * time.Millisecond, positionPace: 5 * time.Millisecond,
		preferences: router.Preferences{Zone: "a", SlowStart: 5 * time.Second},
		poolMode:    proxy.PoolSession, poolSize: 7, loops: 2, drain: 3 * time.Second, logFormat: "json", logLevel: slog.LevelDebug,
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
	s := loaded(t, "", "--wait", "0", "--fallback-budget", "0", "--max-lag", "off", "--slow-start", "0")
	c := s.config(slog.New(slog.DiscardHandler))
	if c.Wait >= 0 || c.FallbackBudget >= 0 || c.MaxLag >= 0 || c.Preferences.SlowStart >= 0 {
		t.Errorf("wait %v, fallback_budget %d, max_lag %d, slow_start %v", c.Wait, c.FallbackBudget, c.MaxLag, c.Preferences.SlowStart)
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
	a := loaded(t, "loops: 1\nwait: 5ms\n")
	b := loaded(t, "loops: 2\npool_size: 6\nmax_client_conn: 9\nwait: 6ms\nlog_level: debug\nnode: a:1\ntls_cert: x\n")
	if got, want := a.fixedChanges(b), []string{"node", "loops"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
