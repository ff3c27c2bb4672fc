package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// TestTLSWithPassword: libpq and pgx come in over TLS with a password, in
// every mode, and the channel binding that pgroute does not offer is no
// obstacle unless it is required.
func TestTLSWithPassword(t *testing.T) {
	a := newAuthority(t)
	s := start(t, proxy.Config{Source: source(use(t, asking)), TLS: a.door(t, proxy.TLSDefault)})
	base := "host=127.0.0.1 port=" + s.port() + " user=" + cluster.AppUser + " dbname=" + cluster.AppDatabase
	for _, x := range []struct{ params, refusal string }{
		{"sslmode=disable", ""},
		{"sslmode=prefer", ""},
		{"sslmode=require", ""},
		{"sslmode=require channel_binding=disable", ""},
		{"sslmode=verify-ca sslrootcert=" + a.root, ""},
		{"sslmode=verify-full sslrootcert=" + a.root, ""},
		{"sslmode=require ssl_max_protocol_version=TLSv1.2", ""},
		{"sslmode=verify-full host=127.0.0.2 hostaddr=127.0.0.1 sslrootcert=" + a.root, "127.0.0.2"},
		{"sslmode=verify-ca sslrootcert=" + newAuthority(t).root, "certificate verify failed"},
		{"sslmode=require channel_binding=require", "channel binding"},
	} {
		out, err := psql(t, base+" "+x.params, "select 1", "create temp table t (a int)", "select count(*) from t")
		switch {
		case x.refusal == "" && (err != nil || out != "1\n0"):
			t.Errorf("%s: %s, %v", x.params, out, err)
		case x.refusal != "" && (err == nil || !strings.Contains(out, x.refusal)):
			t.Errorf("%s: %s, %v; want %q", x.params, out, err, x.refusal)
		}
	}
	out, err := psql(t, base+" sslmode=require", `\conninfo`)
	if err != nil || !strings.Contains(out, "SSL connection (protocol: TLSv1.3") {
		t.Errorf("%s, %v", out, err)
	}
	dsn := "postgres://" + cluster.AppUser + ":" + cluster.AppPassword + "@" + s.addr() + "/" + cluster.AppDatabase + "?sslmode=verify-full&sslrootcert=" + a.root
	c := connect(t, dsn)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec} {
		for range 3 {
			var n int
			var text string
			if err := c.QueryRow(t.Context(), "select $1::int + 1, repeat('x', 100000)", mode, 41).Scan(&n, &text); err != nil || n != 42 || len(text) != 100000 {
				t.Errorf("%v: %d, %d bytes, %v", mode, n, len(text), err)
			}
		}
	}
	var b pgx.Batch
	for i := range 1000 {
		b.Queue("select $1::int", i)
	}
	if err := c.SendBatch(t.Context(), &b).Close(); err != nil {
		t.Error(err)
	}
}

// TestRequiredTLS: a client without TLS is told what to do; a Unix socket needs
// none.
func TestRequiredTLS(t *testing.T) {
	a := newAuthority(t)
	dir := t.TempDir()
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, TLS: a.door(t, proxy.TLSRequire),
		Listen: []string{"127.0.0.1:0", "unix:" + dir}})
	_, err := login(s.addr(), cluster.SuperUser, cluster.AppDatabase)
	if err == nil || !strings.Contains(err.Error(), "C=28000") || !strings.Contains(err.Error(), "sslmode=require") {
		t.Errorf("a client without TLS is told %v", err)
	}
	s.enterTLS(t, a.config(), false).get(t, "select 1")
	local := connect(t, "host="+dir+" port=6432 user="+cluster.SuperUser+" dbname="+cluster.AppDatabase+" sslmode=disable")
	if _, err := local.Exec(t.Context(), "select 1"); err != nil {
		t.Error(err)
	}
	conn, err := net.Dial("unix", filepath.Join(dir, ".s.PGSQL.6432"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer := make([]byte, 1)
	if _, err = io.WriteString(conn, requestTLS); err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	if err != nil || answer[0] != 'N' {
		t.Errorf("a request for TLS on a Unix socket is answered %q, %v", answer, err)
	}
}

// TestTLSDirectly: as in PostgreSQL 17, a client may begin TLS without asking
// if it names the protocol; what came with its login is not forgotten.
func TestTLSDirectly(t *testing.T) {
	a := newAuthority(t)
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, TLS: a.door(t, proxy.TLSPrefer)})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, direct := range []bool{false, true} {
			cfg := a.config()
			cfg.MaxVersion = version
			p := s.enterTLS(t, cfg, direct)
			p.get(t, "select 1")
			if got := p.conn.(*tls.Conn).ConnectionState(); got.NegotiatedProtocol != "postgresql" || got.Version != version {
				t.Errorf("%+v", got)
			}
			conn, err := s.dialTLS(cfg, direct)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			// The first query comes in the record of the startup packet.
			eager, err := enterOn(conn, wire.AppendQuery(nil, "select 'eager'")...)
			if err != nil {
				t.Fatal(err)
			}
			if out, err := eager.answer(); err != nil || !strings.Contains(fmt.Sprint(out), "eager") {
				t.Errorf("%v, %v", out, err)
			}
		}
	}
	none, other := a.config(), a.config()
	none.NextProtos, other.NextProtos = nil, []string{"h2"}
	s.enterTLS(t, none, false).get(t, "select 1") // who asks need not name it
	for _, x := range []struct {
		cfg    *tls.Config
		direct bool
	}{{none, true}, {other, true}, {other, false}} {
		conn, err := s.dialTLS(x.cfg, x.direct)
		if err != nil {
			continue
		}
		if _, err := enterOn(conn); err == nil {
			t.Errorf("direct %v with %v is let in", x.direct, x.cfg.NextProtos)
		}
		conn.Close()
	}
	old := a.config()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, err := s.dialTLS(old, false); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
}

// TestTLSCopy: 64 MiB go through in each direction, also to somebody who reads
// slowly.
func TestTLSCopy(t *testing.T) {
	a := newAuthority(t)
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, TLS: a.door(t, proxy.TLSPrefer)})
	c := connect(t, strings.Replace(s.dsn(""), "sslmode=disable", "sslmode=require", 1))
	if _, err := c.Exec(t.Context(), "create table if not exists tls_copy_t (n int, a text)"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Exec(context.Background(), "drop table tls_copy_t") })
	const rows = 64 << 10
	n, next := 0, strings.Repeat("y", 1000)
	tag, err := c.CopyFrom(t.Context(), pgx.Identifier{"tls_copy_t"}, []string{"n", "a"}, pgx.CopyFromFunc(func() ([]any, error) {
		if n++; n > rows {
			return nil, nil
		}
		return []any{n, next}, nil
	}))
	if err != nil || tag != rows {
		t.Fatalf("%d rows, %v", tag, err)
	}
	before := heap()
	p := s.enterTLS(t, a.config(), false)
	if err := p.send(wire.AppendQuery(nil, "copy tls_copy_t to stdout"), nil); err != nil {
		t.Fatal(err)
	}
	// It does not read until the server waits for it.
	eventually(t, func() error {
		for _, node := range use(t, trusting).Nodes() {
			v, err := node.QueryString(t.Context(), "select count(*) from pg_stat_activity where wait_event = 'ClientWrite' and query like 'copy tls_copy_t%'")
			if err != nil || v != "0" {
				return err
			}
		}
		return errString("no server waits")
	})
	grewBy(t, before, 2<<20)
	sum, size := 0, 0
	for got := 0; got < rows; {
		m, err := p.next()
		if err != nil {
			t.Fatalf("%v after %d rows", err, got)
		}
		if m.typ != 'd' {
			continue
		}
		var i int
		if _, err := fmt.Sscan(string(m.body[:bytes.IndexByte(m.body, '\t')]), &i); err != nil {
			t.Fatal(err)
		}
		sum, size, got = sum+i, size+len(m.body), got+1
	}
	if sum != rows*(rows+1)/2 || size < rows*1000 {
		t.Errorf("the numbers add up to %d, in %d bytes", sum, size)
	}
	if out, err := p.answer(); err != nil || sqlState(out) != "" {
		t.Errorf("%v, %v", out, err)
	}
	p.get(t, "select 1")
}

// TestTLSCancelAndNotify: cancel requests come over TLS and in the clear, and
// notifications reach a client that is idle.
func TestTLSCancelAndNotify(t *testing.T) {
	a := newAuthority(t)
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, TLS: a.door(t, proxy.TLSRequire)})
	for _, secret := range []bool{true, false} {
		p := s.enterTLS(t, a.config(), false)
		if err := p.send(wire.AppendQuery(nil, "select pg_sleep(600) /* tls_cancel_t */"), nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error {
			for _, node := range use(t, trusting).Nodes() {
				v, err := node.QueryString(t.Context(), "select count(*) from pg_stat_activity where query like '%tls_cancel_t */' and state = 'active'")
				if err != nil || v == "1" {
					return err
				}
			}
			return errString("it does not run")
		})
		if secret {
			conn, err := s.dialTLS(a.config(), false)
			if err != nil {
				t.Fatal(err)
			}
			b := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e}, p.pid)
			if _, err := conn.Write(append(b, p.secret...)); err != nil {
				t.Fatal(err)
			}
			if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("a cancel request is answered %d, %v", n, err)
			}
			conn.Close()
		} else {
			s.cancelKey(t, p.pid, p.secret)
		}
		if out, err := p.answer(); err != nil || sqlState(out) != "57014" {
			t.Errorf("the cancelled client is told %v, %v", out, err)
		}
	}
	l, n := s.enterTLS(t, a.config(), false), s.enterTLS(t, a.config(), true)
	l.get(t, "listen tls_channel")
	n.get(t, "notify tls_channel, 'over TLS'")
	for {
		m, err := l.next()
		if err != nil {
			t.Fatal(err)
		}
		if m.typ == 'A' {
			if !strings.Contains(string(m.body), "over TLS") {
				t.Error(m)
			}
			return
		}
	}
}

// TestTLSComesAndGoes: clients that vanish anywhere, and garbage, leave nothing
// behind and disturb nobody.
func TestTLSComesAndGoes(t *testing.T) {
	a := newAuthority(t)
	settled(t)
	goroutines, files := ours(), descriptors(t)
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, Loops: 2, TLS: a.door(t, proxy.TLSPrefer)})
	stays := s.enterTLS(t, a.config(), false)
	stays.get(t, "create temp table stays (a int)")
	leave := func(i int) error {
		switch i % 8 {
		case 0, 1: // in the middle of a handshake, or with nonsense in it
			conn, err := net.Dial("tcp", s.addr())
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = io.WriteString(conn, requestTLS)
			if err == nil {
				_, err = io.ReadFull(conn, make([]byte, 1))
			}
			if err == nil {
				_, err = io.WriteString(conn, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"+strings.Repeat("\x42", i%8*600))
			}
			return err
		}
		conn, err := s.dialTLS(a.config(), i%2 == 0)
		if err != nil {
			return err
		}
		raw := conn.NetConn()
		defer raw.Close()
		if i%8 == 2 { // before it says who it is
			return nil
		}
		p, err := enterOn(conn)
		if err != nil {
			return err
		}
		for range 3 {
			out, err := p.ask("select 1")
			if err != nil || sqlState(out) != "" {
				return fmt.Errorf("%v, %v", out, err)
			}
		}
		switch i % 8 {
		case 3: // as one should
			if _, err = conn.Write([]byte("X\x00\x00\x00\x04")); err == nil {
				err = conn.Close()
			}
		case 4: // with what is no TLS
			_, err = raw.Write(wire.AppendQuery(nil, "select 1"))
		case 5: // in the middle of a record
			_, err = raw.Write([]byte{0x17, 3, 3, 0x40, 0, 1, 2, 3})
		case 6: // with half a message
			_, err = conn.Write([]byte("Q\x00\x00\x01\x00select"))
		case 7: // it closes TLS, but not the socket, while it waits for an answer
			if _, err = conn.Write(wire.AppendQuery(nil, "select pg_sleep(600)")); err == nil {
				err = conn.CloseWrite()
			}
			if err == nil {
				_, err = io.Copy(io.Discard, raw)
			}
			if err != nil && strings.Contains(err.Error(), "reset") {
				err = nil
			}
		}
		return err
	}
	var crowd sync.WaitGroup
	for k := range 20 {
		crowd.Go(func() {
			for i := range 10 {
				if err := leave(10*k + i); err != nil {
					t.Errorf("client %d: %v", 10*k+i, err)
				}
			}
		})
	}
	crowd.Wait()
	stays.get(t, "select count(*) from stays")
	eventually(t, func() error {
		if n := s.Stats().Clients; n != 1 {
			return errString(fmt.Sprintf("%d clients are left", n))
		}
		return nil
	})
	if err := stays.send([]byte("X\x00\x00\x00\x04"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := stays.next(); err != io.EOF {
		t.Errorf("the end is %v, want a close_notify", err)
	}
	stays.conn.Close()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s.ended <- nil // for the end of the test
	eventually(t, func() error {
		if now := ours(); now > goroutines {
			return errString(fmt.Sprintf("%d goroutines, there were %d\n%s", now, goroutines, stacks()))
		}
		if now := descriptors(t); now > files {
			return errString(fmt.Sprintf("%d descriptors, there were %d", now, files))
		}
		return nil
	})
}

// TestTLSDrain: when the proxy ends, clients over TLS are told as others are.
func TestTLSDrain(t *testing.T) {
	a := newAuthority(t)
	s, err := serve(proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, TLS: a.door(t, proxy.TLSPrefer)})
	if err != nil {
		t.Fatal(err)
	}
	idle, busy := s.enterTLS(t, a.config(), false), s.enterTLS(t, a.config(), true)
	idle.get(t, "select 1")
	busy.get(t, "begin")
	busy.get(t, "create temp table x (a int)")
	s.cancel()
	ends := func(p *peer) {
		t.Helper()
		if m, err := p.next(); err != nil || !strings.Contains(m.String(), "C=57P01") {
			t.Errorf("the client is told %v, %v", m, err)
		}
		if _, err := p.next(); err != io.EOF {
			t.Errorf("the end is %v, want a close_notify", err)
		}
	}
	ends(idle)
	busy.get(t, "insert into x values (1)")
	busy.get(t, "commit")
	ends(busy)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
}

// TestTLSReload: a new certificate is for new clients, and a broken one for
// nobody; who is connected notices neither.
func TestTLSReload(t *testing.T) {
	a := newAuthority(t)
	door := a.door(t, proxy.TLSPrefer)
	cfg := proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, TLS: door}
	s := start(t, cfg)
	serial := func(p *peer) int64 {
		return p.conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	p := s.enterTLS(t, a.config(), false)
	p.get(t, "create temp table stays (a int)")
	a.issue(t, "pgroute", 20, "127.0.0.1")
	if n := serial(s.enterTLS(t, a.config(), false)); n != 10 {
		t.Errorf("certificate %d before the reload", n)
	}
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if n := serial(s.enterTLS(t, a.config(), false)); n != 20 {
		t.Errorf("certificate %d after the reload", n)
	}
	for what, spoil := range map[string]func(){
		"not a certificate": func() { os.WriteFile(door.CertFile, []byte("not a certificate"), 0o600) },
		"another's key":     func() { a.issue(t, "other", 30); os.Rename(filepath.Join(a.dir, "other.key"), door.KeyFile) },
		"no key":            func() { os.Remove(door.KeyFile) },
	} {
		a.issue(t, "pgroute", 40, "127.0.0.1")
		spoil()
		if err := s.Reload(cfg); err == nil || !strings.Contains(err.Error(), "tls_cert") {
			t.Errorf("%s: %v", what, err)
		}
		if n := serial(s.enterTLS(t, a.config(), false)); n != 20 {
			t.Errorf("certificate %d after %s", n, what)
		}
	}
	cfg.TLS = proxy.ClientTLS{}
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := s.dialTLS(a.config(), false); err == nil || !strings.Contains(err.Error(), `"N"`) {
		t.Errorf("without a certificate a request for TLS brings %v", err)
	}
	p.get(t, "select count(*) from stays")
}

// TestTLSMisconfigured: what cannot work is said at the start.
func TestTLSMisconfigured(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue(t, "pgroute", 10)
	for want, cfg := range map[string]proxy.Config{
		"tls_cert: clients cannot speak TLS without": {TLS: proxy.ClientTLS{Mode: proxy.TLSPrefer}},
		"tls_key: the certificate needs its key":     {TLS: proxy.ClientTLS{CertFile: cert}},
		"tls_cert, tls_key: ":                        {TLS: proxy.ClientTLS{CertFile: key, KeyFile: cert}},
		"no such file":                               {ServerTLS: proxy.ServerTLS{RootCertFile: filepath.Join(a.dir, "none")}},
		"holds no certificate":                       {ServerTLS: proxy.ServerTLS{RootCertFile: key}},
		"without root certificates":                  {ServerTLS: proxy.ServerTLS{Mode: proxy.SSLVerifyFull}},
		"without verify-full":                        {ServerTLS: proxy.ServerTLS{Mode: proxy.SSLVerifyCA, RootCertFile: "system"}},
		"server_sslcert, server_sslkey: ":            {ServerTLS: proxy.ServerTLS{CertFile: cert}},
	} {
		cfg.Source, cfg.Auth = source(use(t, trusting)), proxy.AuthTrust
		cfg.Logger = slog.New(slog.DiscardHandler)
		s, err := serve(cfg)
		if err == nil {
			s.stop()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestNoRenegotiation: a client may change its keys, but not begin anew.
func TestNoRenegotiation(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	a := newAuthority(t)
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, TLS: a.door(t, proxy.TLSPrefer)})
	for _, x := range []struct {
		version, letter string
		goesOn          bool
	}{{"-tls1_2", "R\n", false}, {"-tls1_3", "K\n", true}} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		cmd := exec.CommandContext(ctx, "openssl", "s_client", "-starttls", "postgres", "-connect", s.addr(), x.version)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var out output
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		until := func(want string) {
			t.Helper()
			eventually(t, func() error {
				if !strings.Contains(out.String(), want) {
					return errors.New(out.String())
				}
				return nil
			})
		}
		until("Verify return code")
		b := []byte("\x00\x00\x00\x00\x00\x03\x00\x00user\x00" + cluster.SuperUser + "\x00database\x00" + cluster.AppDatabase + "\x00\x00")
		binary.BigEndian.PutUint32(b, uint32(len(b)))
		in.Write(b)
		until("server_version")
		io.WriteString(in, x.letter)
		if x.goesOn {
			until("KEYUPDATE")
			b = wire.AppendParse(nil, nil, []byte("select 'after' || 'wards'\x00\x00\x00"))
			b = append(wire.AppendBind(b, nil, nil, make([]byte, 6)), frame('E', "\x00\x00\x00\x00\x00")...)
			in.Write(wire.AppendSync(b))
			until("afterwards")
			in.Close()
		}
		if err := cmd.Wait(); !x.goesOn && err == nil {
			t.Errorf("%s: renegotiation goes well: %s", x.version, out.String())
		}
		cancel()
		in.Close()
	}
}
