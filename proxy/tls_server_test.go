package proxy_test

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// encrypted starts servers that speak TLS with a certificate for the hosts.
func encrypted(t *testing.T, a *authority, hosts ...string) *cluster.Cluster {
	t.Helper()
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	cert, key := a.issue(t, "postgresql", 100, hosts...)
	for _, n := range c.Nodes() {
		put(t, n, "server.crt", read(t, cert))
		put(t, n, "server.key", read(t, key))
		put(t, n, "root.crt", read(t, a.root))
		if err := n.Exec(t.Context(), "alter system set ssl = on", "alter system set ssl_ca_file = 'root.crt'"); err != nil {
			t.Fatal(err)
		}
		reload(t, n)
		if v, err := n.QueryString(t.Context(), "show ssl"); err != nil || v != "on" {
			t.Fatalf("ssl is %s, %v: %s", v, err, n.LogTail(2000))
		}
	}
	return c
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// put writes a file into a server's folder, as the server's user.
func put(t *testing.T, n *cluster.Node, name, text string) {
	t.Helper()
	if err := n.Exec(t.Context(), fmt.Sprintf("copy (select '%s') to program 'umask 077; base64 -d > %s'",
		base64.StdEncoding.EncodeToString([]byte(text)), name)); err != nil {
		t.Fatal(err)
	}
}

// reload makes a server read its files again, and waits until it has.
func reload(t *testing.T, n *cluster.Node) {
	t.Helper()
	const loaded = "select pg_conf_load_time()"
	before, err := n.QueryString(t.Context(), loaded)
	if err == nil {
		err = n.Exec(t.Context(), "select pg_reload_conf()")
	}
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		now, err := n.QueryString(t.Context(), loaded) // on a new connection
		if err == nil && now == before {
			err = errString("it has not read them yet")
		}
		return err
	})
}

// admit replaces the servers' rules for everybody but the monitor.
func admit(t *testing.T, c *cluster.Cluster, rules ...string) {
	t.Helper()
	for _, n := range c.Nodes() {
		put(t, n, "pg_hba.conf", "local all all trust\nhost replication all 127.0.0.1/32 scram-sha-256\n"+
			"host all "+cluster.MonitorUser+" 127.0.0.1/32 scram-sha-256\n"+strings.Join(rules, "\n")+"\n")
		reload(t, n)
	}
}

// TestServerTLS: the servers are spoken to as server_sslmode says, and what
// they refuse the client and the log are told.
func TestServerTLS(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	c := encrypted(t, a, "127.0.0.1")
	const anybody = "host all all 127.0.0.1/32 trust"
	tlsOnly, clearOnly := "hostssl all all 127.0.0.1/32 trust", "hostnossl all all 127.0.0.1/32 trust"
	cert, key := a.issue(t, "visitor", 200)
	ours := func(mode proxy.SSLMode, root string) proxy.ServerTLS {
		return proxy.ServerTLS{Mode: mode, RootCertFile: root}
	}
	for _, x := range []struct {
		why, rule string
		tls       proxy.ServerTLS
		ssl       string // what the servers say of the connections
		code      string // or what the client is told at its login
		says      string
	}{
		{"disable", anybody, ours(proxy.SSLDisable, ""), "false", "", ""},
		{"allow", anybody, ours(proxy.SSLAllow, ""), "false", "", ""},
		{"prefer", anybody, proxy.ServerTLS{}, "true", "", ""},
		{"require", anybody, ours(proxy.SSLRequire, ""), "true", "", ""},
		{"require with a root", anybody, ours(proxy.SSLRequire, a.root), "true", "", ""},
		{"verify-ca", anybody, ours(proxy.SSLVerifyCA, a.root), "true", "", ""},
		{"verify-full", anybody, ours(proxy.SSLVerifyFull, a.root), "true", "", ""},
		{"prefer looks at nothing", anybody, ours(proxy.SSLPrefer, stranger.root), "true", "", ""},
		{"require with another's root", anybody, ours(proxy.SSLRequire, stranger.root), "", "08001", "certificate signed by unknown authority"},
		{"verify-ca with another's root", anybody, ours(proxy.SSLVerifyCA, stranger.root), "", "08001", "certificate signed by unknown authority"},
		{"verify-full with another's root", anybody, ours(proxy.SSLVerifyFull, stranger.root), "", "08001", "certificate signed by unknown authority"},
		{"verify-full with the system's roots", anybody, ours(proxy.SSLVerifyFull, "system"), "", "08001", "verify certificate"},

		{"disable, but TLS is wanted", tlsOnly, ours(proxy.SSLDisable, ""), "", "28000", "no pg_hba.conf entry"},
		{"allow, and TLS is wanted", tlsOnly, ours(proxy.SSLAllow, ""), "true", "", ""},
		{"prefer, but TLS is not wanted", clearOnly, ours(proxy.SSLPrefer, ""), "false", "", ""},
		{"require, but TLS is not wanted", clearOnly, ours(proxy.SSLRequire, ""), "", "28000", "no pg_hba.conf entry"},

		{"a certificate is wanted", tlsOnly + " clientcert=verify-ca", ours(proxy.SSLRequire, ""), "", "28000", "certificate"},
		{"a certificate is shown", tlsOnly + " clientcert=verify-ca",
			proxy.ServerTLS{Mode: proxy.SSLVerifyFull, RootCertFile: a.root, CertFile: cert, KeyFile: key}, "true", "", ""},
	} {
		t.Run(x.why, func(t *testing.T) {
			admit(t, c, x.rule)
			var log output
			s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust, ServerTLS: x.tls, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			p, err := login(s.addr(), cluster.SuperUser, cluster.AppDatabase)
			if x.code != "" {
				if err == nil || !strings.Contains(err.Error(), "C="+x.code) || !strings.Contains(err.Error(), x.says) {
					t.Errorf("the client is told %v, want %s with %q", err, x.code, x.says)
				}
				if x.code == "08001" && !strings.Contains(log.String(), x.says) {
					t.Errorf("the log says %s", log.String())
				}
				return
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, log.String())
			}
			defer p.conn.Close()
			eventually(t, func() error {
				p.get(t, "select count(*) from pg_class")
				if role := p.lastRole(t); role != "replica" {
					return errString("reads on the " + role)
				}
				p.get(t, "create temp table if not exists x (a int)")
				for _, n := range c.Nodes() {
					v, err := n.QueryString(t.Context(), "select string_agg(distinct s.ssl::text, ' ') from pg_stat_ssl s join pg_stat_activity a using (pid)"+
						" where usename = 'postgres' and client_addr is not null")
					if err != nil || v != x.ssl {
						return fmt.Errorf("on %s ssl is %q, want %q, %w", n, v, x.ssl, err)
					}
				}
				return nil
			})
		})
	}
}

// TestServerWithoutTLS: prefer is content with a server that has no TLS, and
// require is not.
func TestServerWithoutTLS(t *testing.T) {
	plainServers := use(t, trusting)
	s := start(t, proxy.Config{Source: source(plainServers), Auth: proxy.AuthTrust})
	s.enter(t).get(t, "select 1")
	s = start(t, proxy.Config{Source: source(plainServers), Auth: proxy.AuthTrust, ServerTLS: proxy.ServerTLS{Mode: proxy.SSLRequire}})
	_, err := login(s.addr(), cluster.SuperUser, cluster.AppDatabase)
	if err == nil || !strings.Contains(err.Error(), "C=08001") || !strings.Contains(err.Error(), "the server does not speak TLS") {
		t.Errorf("the client is told %v", err)
	}
}

// TestTLSOnBothSides: certificates for another name are found by verify-full
// only; everything goes through two layers of TLS; and a connected client that
// needs another server connection learns that it is refused.
func TestTLSOnBothSides(t *testing.T) {
	a := newAuthority(t)
	c := encrypted(t, a, "db.example")
	cfg := proxy.Config{Source: source(c), Auth: proxy.AuthTrust, TLS: a.door(t, proxy.TLSRequire),
		ServerTLS: proxy.ServerTLS{Mode: proxy.SSLVerifyCA, RootCertFile: a.root}}
	s := start(t, cfg)
	p := s.enterTLS(t, a.config(), true)
	p.get(t, "create table both_t as select n, repeat('z', 1000) as a from generate_series(1, 20000) n")
	var many []byte
	for range 5 {
		many = wire.AppendQuery(many, "select n, a from both_t order by n")
	}
	if err := p.send(many, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		out, err := p.answer()
		if err != nil || sqlState(out) != "" || len(out) != 20000+2 {
			t.Fatalf("answer %d has %d messages, %v", i, len(out), err)
		}
	}
	value := strings.Repeat("v", 5<<20)
	if v := p.get(t, "insert into both_t values (0, '"+value+"') returning length(a)"); v != fmt.Sprint(len(value)) {
		t.Errorf("%s bytes have arrived", v)
	}
	// Cancel requests take the same way.
	if err := p.send(wire.AppendQuery(nil, "select pg_sleep(600) /* both_cancel_t */"), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		for _, n := range c.Nodes() {
			v, err := n.QueryString(t.Context(), "select count(*) from pg_stat_activity where query like '%both_cancel_t */' and state = 'active'")
			if err != nil || v == "1" {
				return err
			}
		}
		return errString("it does not run")
	})
	s.cancelKey(t, p.pid, p.secret)
	if out, err := p.answer(); err != nil || sqlState(out) != "57014" {
		t.Errorf("the cancelled client is told %v, %v", out, err)
	}

	second := s.enterTLS(t, a.config(), false)
	p.get(t, "begin")
	p.get(t, "insert into both_t values (-1, 'x')")
	cfg.ServerTLS.Mode = proxy.SSLVerifyFull
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	p.get(t, "commit") // on the connection that there is
	// A further connection would have to be verified.
	p.get(t, "begin")
	p.get(t, "insert into both_t values (-2, 'x')")
	out, err := second.ask("insert into both_t values (-3, 'x')")
	if err != nil || sqlState(out) != "08001" || !strings.Contains(fmt.Sprint(out), "cannot validate certificate for 127.0.0.1") {
		t.Errorf("the client is told %v, %v", out, err)
	}
	p.get(t, "commit")
	if n := p.get(t, "select count(*) from both_t where n < 0"); n != "2" {
		t.Errorf("%s rows", n)
	}
}
