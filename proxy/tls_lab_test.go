package proxy_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
)

// An authority signs certificates.
type authority struct {
	dir, root string // root is its own certificate's file
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
	pool      *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir(), pool: x509.NewCertPool()}
	a.root, _ = a.issue(t, "root", 1)
	a.pool.AddCert(a.cert)
	return a
}

// issue writes a certificate for some hosts, or for a user, and its key. The
// first one is the authority's own.
func (a *authority) issue(t testing.TB, name string, serial int64, hosts ...string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(crand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert == nil {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		a.key = key
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// config is that of a client which trusts the authority.
func (a *authority) config() *tls.Config {
	return &tls.Config{RootCAs: a.pool, ServerName: "127.0.0.1", NextProtos: []string{"postgresql"}}
}

// door is how a proxy of this authority speaks TLS with clients.
func (a *authority) door(t testing.TB, mode proxy.TLSMode) proxy.ClientTLS {
	t.Helper()
	cert, key := a.issue(t, "pgroute", 10, "127.0.0.1", "localhost")
	return proxy.ClientTLS{Mode: mode, CertFile: cert, KeyFile: key}
}

const requestTLS = "\x00\x00\x00\x08\x04\xd2\x16\x2f"

// dialTLS opens a connection that speaks TLS: after asking, or directly.
func (s *served) dialTLS(cfg *tls.Config, direct bool) (*tls.Conn, error) {
	conn, err := net.Dial("tcp", s.addr())
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	if !direct {
		answer := make([]byte, 1)
		if _, err = io.WriteString(conn, requestTLS); err == nil {
			_, err = io.ReadFull(conn, answer)
		}
		if err == nil && answer[0] != 'S' {
			err = fmt.Errorf("the answer is %q", answer)
		}
	}
	c := tls.Client(conn, cfg)
	if err == nil {
		err = c.Handshake()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// enterOn logs a user without a password in on a connection. more is sent in
// the same write as the startup packet.
func enterOn(conn net.Conn, more ...byte) (*peer, error) {
	p := &peer{conn: conn, params: map[string]string{}}
	b := []byte("\x00\x00\x00\x00\x00\x03\x00\x00user\x00" + cluster.SuperUser + "\x00database\x00" + cluster.AppDatabase + "\x00\x00")
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	if _, err := conn.Write(append(b, more...)); err != nil {
		return nil, err
	}
	for {
		m, err := p.next()
		if err != nil {
			return nil, err
		}
		switch m.typ {
		case 'K':
			p.pid, p.secret = binary.BigEndian.Uint32(m.body), m.body[4:]
		case 'E':
			return nil, fmt.Errorf("refused: %s", m)
		case 'Z':
			return p, nil
		}
	}
}

// enterTLS is enter over TLS.
func (s *served) enterTLS(t testing.TB, cfg *tls.Config, direct bool) *peer {
	t.Helper()
	conn, err := s.dialTLS(cfg, direct)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p, err := enterOn(conn)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// psql runs statements and returns what it prints.
func psql(t testing.TB, conninfo string, sql ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("psql"); err != nil {
		t.Skip("psql is not installed")
	}
	args := []string{"-XAtq", "-v", "ON_ERROR_STOP=1", "-d", conninfo}
	for _, q := range sql {
		args = append(args, "-c", q)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "psql", args...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+cluster.AppPassword, "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// output is what a program has printed so far.
type output struct {
	mu sync.Mutex // guards the field below
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
