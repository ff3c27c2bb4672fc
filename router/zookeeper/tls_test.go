package zookeeper_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// tlsFront speaks TLS in front of a ZooKeeper that does not, and returns its
// address and the certificates that sign its own.
func tlsFront(t *testing.T, zk string) (addr string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "zk"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	must(t, err)
	roots = x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	must(t, err)
	roots.AddCert(parsed)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go serveTLS(l, zk) // Ends with the listener.
	return l.Addr().String(), roots
}

func serveTLS(l net.Listener, zk string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", zk)
		if err != nil {
			_ = in.Close()
			continue
		}
		// Each ends when one side closes, and closes the other.
		go pump(in, out)
		go pump(out, in)
	}
}

func pump(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
}

func TestTLS(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	addr, roots := tlsFront(t, z.Addr())
	cfg := zookeeper.Config{Hosts: addr, Path: "/p", SessionTimeout: 2 * time.Second, TLS: &tls.Config{RootCAs: roots}}
	must(t, registry(t, cfg).Put(t.Context(), "n1", zookeeper.Node{Host: "h", Port: 1}, false))
	watch(t, cfg).until("n1", func(c router.Candidates) bool { return names(c) == "n1" })

	// Nobody else's certificate will do, and that is told once.
	cfg.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
	w := watch(t, cfg)
	eventually(t, "the failure in the log", func() bool {
		return strings.Contains(w.log.String(), "TLS with ZooKeeper failed") && strings.Contains(w.log.String(), "does not answer")
	})
	if n := strings.Count(w.log.String(), "TLS with ZooKeeper failed"); n != 1 {
		t.Errorf("the failure was told %d times", n)
	}
	if _, n := w.state(); n != 0 {
		t.Error("something was published")
	}
}
