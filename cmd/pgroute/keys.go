package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

// key is one word of the configuration: a flag, and with _ for - a key of the
// file.
type key struct {
	name   string // as in the file
	value  string // what stands for the value in the help
	def    string // the default, as one would write it; empty if there is none
	help   string
	list   bool // may be given several times
	policy bool // may be given in a rule
	live   bool // a reload takes it over, as it does a policy
	secret bool // nobody is shown it
	// set parses a value into s. A list's value is added to those before.
	set func(s *settings, value string) error
}

// flag is the key's name as a flag.
func (k *key) flag() string { return strings.ReplaceAll(k.name, "_", "-") }

// changeable reports whether a reload takes the key over.
func (k *key) changeable() bool { return k.policy || k.live }

// keys are all words of the configuration, in the order of the help.
func keys() []key {
	const levels, scopes = "eventual, bounded, session, strong, primary", "application, connection"
	const tlsWords, sslWords = "disable, allow, prefer, require", "disable, allow, prefer, require, verify-ca, verify-full"
	return slices.Concat([]key{
		{name: "listen", value: "ADDR", def: "127.0.0.1:6432", list: true,
			help: "where clients are served: HOST:PORT, :PORT for all interfaces, or unix:DIR; repeatable",
			set:  func(s *settings, v string) error { return appendTo(&s.listen, v, parseListen) }},
		{name: "admin", value: "ADDR", def: "off", help: "where /metrics, /livez, /readyz and a status page are served over HTTP, or off",
			set: func(s *settings, v string) (err error) {
				if s.admin = ""; v != "off" {
					s.admin, err = parseTCP(v)
				}
				return err
			}},
		{name: "node", value: "HOST:PORT", list: true, help: "a server of the cluster; repeatable; roles are found by asking",
			set: func(s *settings, v string) error { return appendTo(&s.nodes, v, parseNode) }},
		{name: "zookeeper", value: "HOSTS", help: "ZooKeeper's servers, HOST:PORT,HOST:PORT…, that know the cluster's",
			set: func(s *settings, v string) error { s.zookeeper = v; return filled(v) }},
		{name: "path", value: "ZNODE", help: "where in ZooKeeper: ZNODE/nodes/NAME, ZNODE/primary, and ZNODE/config, which all proxies obey",
			set: func(s *settings, v string) error { s.path = v; return filled(v) }},
		{name: "patroni", value: "NAMESPACE/SCOPE", help: "instead of path: where Patroni keeps the cluster in ZooKeeper, such as service/batman",
			set: func(s *settings, v string) error { s.patroni = v; return filled(v) }},
		{name: "zookeeper_auth", value: "USER:PASSWORD", secret: true, help: "for ZooKeeper's digest scheme; best in the file",
			set: func(s *settings, v string) error { s.zk.auth = v; return filled(v) }},
		{name: "zookeeper_timeout", value: "DURATION", def: "10s", help: "how long ZooKeeper's word on who leads is good for, and its session timeout",
			set: func(s *settings, v string) (err error) { s.zk.timeout, err = parseDuration(v); return err }},
		{name: "zookeeper_tls", value: "BOOL", def: "false", help: "true: speak TLS with ZooKeeper",
			set: func(s *settings, v string) (err error) {
				s.zk.tls, err = oneOf(v, parseBool, "true, false")
				return err
			}},
		{name: "zookeeper_tls_ca", value: "FILE", help: "the certificates that sign ZooKeeper's, PEM; without it the system's",
			set: func(s *settings, v string) error { s.zk.ca = v; return filled(v) }},
		{name: "zookeeper_tls_cert", value: "FILE", help: "the certificate that ZooKeeper sees if it asks for one; PEM",
			set: func(s *settings, v string) error { s.zk.cert = v; return filled(v) }},
		{name: "zookeeper_tls_key", value: "FILE", help: "its key; PEM",
			set: func(s *settings, v string) error { s.zk.key = v; return filled(v) }},
		{name: "monitor", value: "DSN", secret: true, help: "the connection string of the monitor's role; its host and port are ignored; required",
			set: func(s *settings, v string) error { s.monitor = v; return filled(v) }},
		{name: "auth", value: "MODE", def: "scram", help: "how clients prove who they are: scram, trust",
			set: func(s *settings, v string) (err error) {
				s.auth, err = oneOf(v, proxy.ParseAuth, "scram, trust")
				return err
			}},
		{name: "tls", value: "MODE", live: true, help: "whether clients speak TLS: " + tlsWords + " (default prefer with a certificate, else disable)",
			set: func(s *settings, v string) (err error) {
				s.tls.Mode, err = oneOf(v, proxy.ParseTLSMode, tlsWords)
				return err
			}},
		{name: "tls_cert", value: "FILE", live: true, help: "the certificate that clients see, with those that lead to its root; PEM",
			set: func(s *settings, v string) error { s.tls.CertFile = v; return filled(v) }},
		{name: "tls_key", value: "FILE", live: true, help: "its key; PEM",
			set: func(s *settings, v string) error { s.tls.KeyFile = v; return filled(v) }},
		{name: "tls_min_version", value: "VERSION", def: "1.2", live: true, help: "the oldest TLS that clients may speak: 1.2, 1.3",
			set: func(s *settings, v string) (err error) {
				s.tls.MinVersion, err = oneOf(v, parseTLSVersion, "1.2, 1.3")
				return err
			}},
		{name: "server_sslmode", value: "MODE", def: "prefer", live: true, help: "how servers are spoken to for clients, as libpq's sslmode: " + sslWords,
			set: func(s *settings, v string) (err error) {
				s.serverTLS.Mode, err = oneOf(v, proxy.ParseSSLMode, sslWords)
				return err
			}},
		{name: "server_sslrootcert", value: "FILE", live: true, help: "the certificates that sign those of the servers, PEM; or system, with verify-full",
			set: func(s *settings, v string) error { s.serverTLS.RootCertFile = v; return filled(v) }},
		{name: "server_sslcert", value: "FILE", live: true, help: "the certificate that servers see if they ask for one; PEM",
			set: func(s *settings, v string) error { s.serverTLS.CertFile = v; return filled(v) }},
		{name: "server_sslkey", value: "FILE", live: true, help: "its key; PEM",
			set: func(s *settings, v string) error { s.serverTLS.KeyFile = v; return filled(v) }},
		{name: "consistency", value: "LEVEL", def: "session", policy: true, help: "what a read sees at least: " + levels,
			set: func(s *settings, v string) (err error) {
				s.policy.Consistency, err = oneOf(v, router.ParseLevel, levels)
				return err
			}},
		{name: "scope", value: "SCOPE", def: "application", policy: true, help: "whose writes a read sees: " + scopes,
			set: func(s *settings, v string) (err error) {
				s.policy.Scope, err = oneOf(v, router.ParseScope, scopes)
				return err
			}},
		{name: "wait", value: "DURATION", def: "100ms", policy: true, help: "how long a read waits for a replica that has replayed enough; a bare number is milliseconds",
			set: func(s *settings, v string) (err error) {
				s.policy.Wait, err = parseDuration(v)
				if err == nil && s.policy.Wait == 0 {
					s.policy.Wait = -1 // proxy.Policy: 0 is the default
				}
				return err
			}},
		{name: "on_timeout", value: "POLICY", def: "primary", policy: true, help: "what happens then: primary, error, stale",
			set: func(s *settings, v string) (err error) {
				s.policy.OnTimeout, err = oneOf(v, router.ParseOnTimeout, "primary, error, stale")
				return err
			}},
		{name: "max_staleness", value: "DURATION", def: "1s", policy: true, help: "how old an answer at level bounded may be",
			set: func(s *settings, v string) (err error) {
				if s.policy.MaxStaleness, err = parseDuration(v); err == nil && s.policy.MaxStaleness == 0 {
					err = fmt.Errorf("%q: use consistency strong for no staleness at all", v)
				}
				return err
			}},
		{name: "transaction_reads", value: "WHERE", def: "primary", policy: true, help: "where a READ COMMITTED transaction that does not say READ ONLY reads before its first write: primary, until-write (on replicas)",
			set: func(s *settings, v string) (err error) {
				s.policy.TransactionReads, err = oneOf(v, proxy.ParseTransactionReads, "primary, until-write")
				return err
			}},
		{name: "shadow", value: "BOOL", def: "false", policy: true, help: "true: decide and count where reads would run, and run all of them on the primary (SHOW SHADOW)",
			set: func(s *settings, v string) (err error) {
				s.policy.Shadow, err = oneOf(v, parseBool, "true, false")
				return err
			}},
		{name: "lost_writes", value: "POLICY", def: "warning", policy: true,
			help: "how a client is told that a change of the primary has lost a write of its own: warning, error (its next statement fails)",
			set: func(s *settings, v string) (err error) {
				s.policy.LostWritesFail, err = oneOf(v, parseLostWrites, "warning, error")
				return err
			}},
		{name: "fallback_budget", value: "N", def: "32", help: "how many reads that no replica covered in time may run on the primary at once",
			set: func(s *settings, v string) (err error) {
				s.fallbackBudget, err = parseCount(v, 0)
				return err
			}},
		{name: "max_lag", value: "SIZE", def: "16MiB", help: "how far behind a replica may be for level eventual, and for other levels without being left for others; or off for no bound",
			set: func(s *settings, v string) (err error) {
				if v == "off" {
					s.maxLag = -1
					return nil
				}
				if s.maxLag, err = parseSize(v); err == nil && s.maxLag == 0 {
					err = errors.New("it must be more than 0, or off for no bound")
				}
				return err
			}},
		{name: "monotonic", value: "WHO", def: "connection", help: "for whom reads never go backwards: connection, session, off",
			set: func(s *settings, v string) (err error) {
				s.monotonic, err = oneOf(v, router.ParseMonotonic, "connection, session, off")
				return err
			}},
		{name: "position", value: "KIND", def: "insert", help: "which position of the primary stands for a write: insert, flush (only where no commit is asynchronous)",
			set: func(s *settings, v string) (err error) {
				s.position, err = oneOf(v, router.ParsePositionKind, "insert, flush")
				return err
			}},
		{name: "ticket_pace", value: "DURATION", def: "500us", help: "least time between two questions for the primary's position that nobody waits for",
			set: func(s *settings, v string) (err error) { s.ticketPace, err = parseDuration(v); return err }},
		{name: "position_pace", value: "DURATION", def: "0", help: "least time between any two of them: bounds what a fleet of proxies asks, and delays who waits; 0: none",
			set: func(s *settings, v string) (err error) { s.positionPace, err = parseDuration(v); return err }},
		{name: "pool_mode", value: "MODE", def: "auto", help: "how clients share server connections: auto, session (one for a client's life)",
			set: func(s *settings, v string) (err error) {
				s.poolMode, err = oneOf(v, proxy.ParsePoolMode, "auto, session")
				return err
			}},
	}, replicaKeys(), poolKeys(), []key{
		{name: "loops", value: "N", def: "1", help: "event loops, at most one for each processor is of use",
			set: func(s *settings, v string) (err error) { s.loops, err = parseCount(v, 1); return err }},
		{name: "failover_wait", value: "DURATION", def: "30s", help: "how long a statement, or a login, waits while there is no primary",
			set: func(s *settings, v string) (err error) {
				if s.failoverWait, err = parseDuration(v); err == nil && s.failoverWait == 0 {
					err = errors.New("it must be more than 0")
				}
				return err
			}},
		{name: "switchover_lead", value: "DURATION", def: "500ms", help: "how long before the announced time of a switchover new work waits for it; what runs has that long to end",
			set: func(s *settings, v string) (err error) { s.switchoverLead, err = parseDuration(v); return err }},
		{name: "peer_id", value: "N", def: "0", help: "the number of this proxy in the cancel keys that it gives out, 0 to 1023; another one for each peer",
			set: func(s *settings, v string) (err error) {
				if s.peerID, err = parseCount(v, 0); err == nil && s.peerID > proxy.MaxPeer {
					err = fmt.Errorf("it must be at most %d", proxy.MaxPeer)
				}
				return err
			}},
		{name: "peer", value: "ID=HOST:PORT", list: true, live: true,
			help: "a proxy with another peer_id behind the same load balancer, for cancel requests that reach the wrong one; repeatable",
			set: func(s *settings, v string) error {
				p, err := proxy.ParsePeer(v)
				if err == nil {
					s.peers = append(s.peers, p)
				}
				return err
			}},
		{name: "drain_timeout", value: "DURATION", def: "10s", help: "how long transactions may take to end after SIGTERM",
			set: func(s *settings, v string) (err error) { s.drain, err = parseDuration(v); return err }},
		{name: "log_format", value: "FORMAT", def: "text", help: "the form of the log on standard error: text, json",
			set: func(s *settings, v string) (err error) {
				s.logFormat, err = oneOf(v, parseLogFormat, "text, json")
				return err
			}},
		{name: "log_level", value: "LEVEL", def: "info", live: true, help: "the least level that is logged: debug, info, warn, error",
			set: func(s *settings, v string) (err error) {
				s.logLevel, err = oneOf(v, parseLogLevel, "debug, info, warn, error")
				return err
			}},
	})
}

// find returns the key of that name, nil if there is none.
func find(keys []key, name string) *key {
	for i := range keys {
		if keys[i].name == name {
			return &keys[i]
		}
	}
	return nil
}

// settings are the values of all keys.
type settings struct {
	listen, nodes            []string
	admin                    string
	zookeeper, path, monitor string
	patroni                  string
	zk                       zookeeperSettings
	auth                     proxy.Auth
	tls                      proxy.ClientTLS
	serverTLS                proxy.ServerTLS
	policy                   proxy.Policy
	rules                    []proxy.Rule
	fallbackBudget           int
	maxLag                   int64
	preferences              router.Preferences
	monotonic                router.Monotonic
	position                 router.PositionKind
	ticketPace, positionPace time.Duration
	poolMode                 proxy.PoolMode
	poolSize, loops          int
	peerID                   int
	failoverWait             time.Duration
	switchoverLead           time.Duration
	peers                    []proxy.Peer
	pool                     proxy.PoolLimits
	limits                   proxy.Limits
	leaseWait                time.Duration
	drain                    time.Duration
	logFormat                string
	logLevel                 slog.Level

	// refused counts what a source says in vain, nil if nobody counts.
	refused *refusals

	// texts are the values as they were written, by key.
	texts map[string][]string
	// origins say where they come from, by key: default, zookeeper, file, flag.
	origins map[string]string
}

func filled(v string) error {
	if v == "" {
		return errors.New("it is empty")
	}
	return nil
}

func appendTo(list *[]string, v string, parse func(string) (string, error)) error {
	v, err := parse(v)
	if err == nil {
		*list = append(*list, v)
	}
	return err
}

// parseNode checks one address as the router will read it.
func parseNode(s string) (string, error) {
	_, err := router.Static(s)
	if err != nil {
		return "", err
	}
	return s, nil
}

func parseBool(s string) (bool, error) {
	if s != "true" && s != "false" {
		return false, errors.New("not a Boolean")
	}
	return s == "true", nil
}

// parseLostWrites reads how the loss of a write is told; true is an error.
func parseLostWrites(s string) (bool, error) {
	if s != "warning" && s != "error" {
		return false, errors.New("unknown policy")
	}
	return s == "error", nil
}

func parseTLSVersion(s string) (uint16, error) {
	switch strings.TrimPrefix(s, "TLSv") { // as PostgreSQL spells it
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, errors.New("unknown version")
}

func parseLogFormat(s string) (string, error) {
	if s != "text" && s != "json" {
		return "", errors.New("unknown format")
	}
	return s, nil
}

func parseLogLevel(s string) (slog.Level, error) {
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if strings.EqualFold(l.String(), s) {
			return l, nil
		}
	}
	return 0, errors.New("unknown level")
}
