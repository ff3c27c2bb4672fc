package main

import (
	"strings"
	"testing"
)

// Every mistake in what pgroute is asked for is one line and exit code 2.
func TestBadUsage(t *testing.T) {
	t.Parallel()
	const ok = "--monitor=postgres://m@h/d"
	tests := []struct {
		args string // separated by blanks
		want string
	}{
		{"", "no command; pgroute --help lists them"},
		{"frobnicate", `unknown command "frobnicate"; pgroute --help lists them`},
		{"status", "status: no proxy: give the --admin ADDR of one that runs, or its --config FILE, or --zookeeper HOSTS with --path ZNODE"},
		{"status --admin off", "status: no proxy: give the --admin ADDR of one that runs, or its --config FILE, or --zookeeper HOSTS with --path ZNODE"},
		{"status --admin nowhere", `--admin: "nowhere" is not HOST:PORT`},
		{"status extra", `status: unexpected argument "extra"`},
		{"status --frobnicate", "unknown flag --frobnicate; pgroute status --help lists them"},
		{"verify", "verify: no target: give at least one connection string"},
		{"verify --frobnicate", "unknown flag --frobnicate; pgroute verify --help lists them"},
		{"verify host=h --for soon", `--for: parse error`},
		{"verify host=h --for -1s", "verify: for: -1s is negative"},
		{"verify host=h --clients -1 host=i", "verify: clients: -1 is negative"},
		{"verify host=h --levels strong,perfect", `verify: level: "perfect" is none of eventual, bounded, session, strong, primary`},
		{"verify host=h --workloads chess", `verify: workload: "chess" is none of register, append, bank, booking`},
		{"verify nonsense", "verify: connection string 1: cannot parse `nonsense`: failed to parse as keyword/value (invalid keyword/value)"},
		{"proxy --frobnicate", "unknown flag --frobnicate; pgroute proxy --help lists them"},
		{"proxy -frobnicate=1", "unknown flag --frobnicate; pgroute proxy --help lists them"},
		{"proxy --pool_size 3", "unknown flag --pool_size; pgroute proxy --help lists them"},
		{"proxy --wait", "the flag --wait needs a value"},
		{"proxy --wait soon", `--wait: "soon" is not a duration such as 100ms or 2s`},
		{"proxy --wait -5ms", `--wait: "-5ms" is not between 0 and 24h`},
		{"proxy --pool-size many", `--pool-size: "many" is not a number`},
		{"proxy --pool-size 0", `--pool-size: "0" is less than 1`},
		{"proxy --min-pool-size -1", `--min-pool-size: "-1" is less than 0`},
		{"proxy --min-pool-size 21 --node a:1 " + ok, "min_pool_size 21 is more than pool_size 20"},
		{"proxy --switchover-lead 30s --node a:1 " + ok, "switchover_lead 30s is not less than failover_wait 30s: new work would fail before the switchover begins"},
		{"proxy --switchover-lead 1s --failover-wait 400ms --node a:1 " + ok, "switchover_lead 1s is not less than failover_wait 400ms: new work would fail before the switchover begins"},
		{"proxy --reserve-pool-size few", `--reserve-pool-size: "few" is not a number`},
		{"proxy --reserve-pool-timeout 0", `--reserve-pool-timeout: "0": raise pool_size to have the connections at once`},
		{"proxy --max-server-connections -5", `--max-server-connections: "-5" is less than 0`},
		{"proxy --max-node-connections all", `--max-node-connections: "all" is not a number`},
		{"proxy --max-db-connections 1e3", `--max-db-connections: "1e3" is not a number`},
		{"proxy --max-user-connections 99999999999", `--max-user-connections: "99999999999" is not a number`},
		{"proxy --max-client-conn -1", `--max-client-conn: "-1" is less than 0`},
		{"proxy --max-db-client-conn x", `--max-db-client-conn: "x" is not a number`},
		{"proxy --max-user-client-conn x", `--max-user-client-conn: "x" is not a number`},
		{"proxy --queue-limit -1", `--queue-limit: "-1" is less than 0`},
		{"proxy --query-wait-timeout never", `--query-wait-timeout: "never" is not a duration such as 100ms or 2s`},
		{"proxy --server-lifetime 48h", `--server-lifetime: "48h" is not between 0 and 24h`},
		{"proxy --server-idle-timeout -1s", `--server-idle-timeout: "-1s" is not between 0 and 24h`},
		{"proxy --query-timeout soon", `--query-timeout: "soon" is not a duration such as 100ms or 2s`},
		{"proxy --idle-transaction-timeout 1day", `--idle-transaction-timeout: "1day" is not a duration such as 100ms or 2s`},
		{"proxy --client-idle-timeout -5", `--client-idle-timeout: "-5" is not between 0 and 24h`},
		{"proxy --loops -1", `--loops: "-1" is less than 1`},
		{"proxy --max-lag 5parsec", `--max-lag: "5parsec" is not a size such as 512kB or 16MiB`},
		{"proxy --consistency perfect", `--consistency: "perfect" is none of eventual, bounded, session, strong, primary`},
		{"proxy --scope world", `--scope: "world" is none of application, connection`},
		{"proxy --on-timeout panic", `--on-timeout: "panic" is none of primary, error, stale`},
		{"proxy --auth md5", `--auth: "md5" is none of scram, trust`},
		{"proxy --tls maybe", `--tls: "maybe" is none of disable, allow, prefer, require`},
		{"proxy --tls-min-version 1.1", `--tls-min-version: "1.1" is none of 1.2, 1.3`},
		{"proxy --server-sslmode full", `--server-sslmode: "full" is none of disable, allow, prefer, require, verify-ca, verify-full`},
		{"proxy --node a:1 --tls require " + ok, "tls_cert: clients cannot speak TLS without a certificate"},
		{"proxy --node a:1 --server-sslmode verify-full " + ok, "server_sslmode, server_sslrootcert: a certificate cannot be verified without root certificates"},
		{"proxy --node a:1 --server-sslrootcert /nonexistent.pem " + ok, "server_sslmode, server_sslrootcert: read the root certificates: open /nonexistent.pem: no such file or directory"},
		{"proxy --pool-mode statement", `--pool-mode: "statement" is none of auto, session`},
		{"proxy --monotonic maybe", `--monotonic: "maybe" is none of connection, session, off`},
		{"proxy --position middle", `--position: "middle" is none of insert, flush`},
		{"proxy --log-format xml", `--log-format: "xml" is none of text, json`},
		{"proxy --log-level loud", `--log-level: "loud" is none of debug, info, warn, error`},
		{"proxy --listen nowhere", `--listen: "nowhere" is not HOST:PORT`},
		{"proxy --listen host:99999", `--listen: "host:99999": the port is not a number up to 65535`},
		{"proxy --listen unix:tmp", `--listen: "unix:tmp" is not unix:DIR with an absolute directory`},
		{"proxy --admin nowhere", `--admin: "nowhere" is not HOST:PORT`},
		{"proxy --node db1", `--node: server "db1": want HOST:PORT`},
		{"proxy --patroni service/demo", "patroni needs zookeeper: the servers of ZooKeeper"},
		{"proxy --zookeeper z:2 --patroni demo", "want NAMESPACE/SCOPE as in Patroni's configuration, such as service/batman"},
		{"proxy --zookeeper z:2 --patroni service/demo --path /x", "path and patroni exclude each other: pgroute's own layout or Patroni's"},
		{"proxy --zookeeper z:2 --path /x --zookeeper-auth secret", "ZooKeeper auth is not USER:PASSWORD"},
		{"proxy --zookeeper z:2 --path /x --zookeeper-timeout 1ms", "ZooKeeper session timeout 1ms is under 100ms"},
		{"proxy --zookeeper z:2 --path /x --zookeeper-tls-ca /nonexistent.pem", "zookeeper_tls_ca, zookeeper_tls_cert and zookeeper_tls_key need zookeeper_tls: true"},
		{"proxy --zookeeper z:2 --path /x --zookeeper-tls true --zookeeper-tls-ca /nonexistent.pem", "zookeeper_tls_ca: open /nonexistent.pem: no such file or directory"},
		{"proxy --zookeeper z:2 --path /x --zookeeper-tls true --zookeeper-tls-cert x.pem", "zookeeper_tls_cert and zookeeper_tls_key come together"},
		{"proxy extra", `proxy: unexpected argument "extra"`},
		{"proxy", "no servers: give --node HOST:PORT for each, or --zookeeper HOSTS with --path ZNODE or --patroni NAMESPACE/SCOPE"},
		{"proxy --node a:1 --zookeeper z:2 --path /x", "node and zookeeper exclude each other: give a list of servers or ask ZooKeeper"},
		{"proxy --zookeeper z:2", "zookeeper needs path, the znode below which the cluster is, or patroni, its NAMESPACE/SCOPE"},
		{"proxy --path /x", "path needs zookeeper: the servers of ZooKeeper"},
		{"proxy --zookeeper z:x --path /x", `ZooKeeper hosts "z:x": port "x" is not between 1 and 65535`},
		{"proxy --zookeeper z --path x", `ZooKeeper path "x" does not begin with a slash`},
		{"proxy --node a:1 --node a:1 " + ok, `node: server "a:1" is named twice`},
		{"proxy --node a:1", "no monitor: give --monitor DSN, the role with which pgroute watches the servers (pgroute check --sql shows how to make one)"},
		{"proxy --config /nonexistent.yaml", "read the configuration: stat /nonexistent.yaml: no such file or directory"},
		{"proxy --node a:1 --listen 192.0.2.1:6432 " + ok, "listen on 192.0.2.1:6432: listen tcp 192.0.2.1:6432: bind: cannot assign requested address"},
		{"check extra", `check: unexpected argument "extra"`},
		{"check", "no servers: give --node HOST:PORT for each, or --zookeeper HOSTS with --path ZNODE or --patroni NAMESPACE/SCOPE"},
		{"explain", "explain: give one statement, in quotes; 0 words were given"},
		{"explain SELECT 1", "explain: give one statement, in quotes; 2 words were given"},
		{"explain --database x SELECT", "explain: --database needs servers: --node or --zookeeper, and --monitor"},
		{"register", "register: --zookeeper HOSTS is missing"},
		{"register --zookeeper z", "register: --path ZNODE is missing"},
		{"register --zookeeper z --path /x", "register: --name NAME is missing"},
		{"register --zookeeper z --path /x --name a", "register: --node HOST:PORT is missing"},
		{"register --zookeeper z --path /x --name a --node b", `--node: server "b": want HOST:PORT`},
		{"register --zookeeper z --path x --name a --node b:1", `ZooKeeper path "x" does not begin with a slash`},
		{"register --zookeeper z --path /x --name a/b --node b:1", `register node "a/b": malformed znode name "a/b"`},
		{"register --zookeeper z --path /x --name a --node b:1 --tag c", `--tag: "c" is not NAME=VALUE`},
		{"register --zookeeper z --path /x --name a --node b:1 --weight 0", `--weight: "0" is less than 1`},
		{"register --zookeeper z --path /x --name a --node b:1 --interval 0", `--interval: "0" is not more than 0`},
		{"register --zookeeper z --path /x --name a --node b:1 --down-after soon", `--down-after: "soon" is not a duration such as 100ms or 2s`},
		{"register --zookeeper z --path /x --name a --node b:1 --publish-primary", "register: --publish-primary needs --monitor, the role that asks the server who it is"},
		{"register --frobnicate", "unknown flag --frobnicate; pgroute register --help lists them"},
		{"register --pool-size 3", "unknown flag --pool-size; pgroute register --help lists them"},
		{"register extra", `register: unexpected argument "extra"`},
		{"demo --frobnicate", "unknown flag --frobnicate; pgroute demo --help lists them"},
		{"demo --seconds -1", "--seconds: -1 is not between 0 and 3600"},
		{"demo now", `demo: unexpected argument "now"`},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			r := invoke(t, strings.Fields(tt.args)...)
			if r.code != 2 || r.out != "" || r.err != "pgroute: "+tt.want+"\n" {
				t.Errorf("code %d, stdout %q, stderr:\n%swant code 2 and:\npgroute: %s", r.code, r.out, r.err, tt.want)
			}
		})
	}
}

func TestMonitorDSNIsChecked(t *testing.T) {
	t.Parallel()
	r := invoke(t, "proxy", "--node", "a:1", "--monitor", "postgres://m:hunter2@h/d?sslmode=bogus")
	if r.code != 2 || strings.Count(r.err, "\n") != 1 || !strings.HasPrefix(r.err, "pgroute: monitor: ") || strings.Contains(r.err, "hunter2") {
		t.Errorf("code %d, stderr %q", r.code, r.err)
	}
}

// The help names every key with its default, on standard output.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"help"}, {"-h"}, {"proxy", "--help"}, {"proxy", "-h"}, {"check", "--help"},
		{"explain", "--help"}, {"demo", "--help"}, {"register", "--help"}, {"status", "--help"}, {"version"}} {
		r := invoke(t, args...)
		if r.code != 0 || r.err != "" || r.out == "" {
			t.Errorf("%v: code %d, stdout %q, stderr %q", args, r.code, r.out, r.err)
		}
	}
	help := invoke(t, "proxy", "--help").out
	for _, k := range keys() {
		if !strings.Contains(help, "  --"+k.flag()+" "+k.value+"\n") {
			t.Errorf("the help does not tell of --%s", k.flag())
		}
		if k.def != "" && !strings.Contains(help, "(default "+k.def+")") {
			t.Errorf("the help does not tell the default of --%s", k.flag())
		}
	}
}
