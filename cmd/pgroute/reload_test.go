package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// certify writes a certificate that nobody has signed, and its key.
func certify(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, b := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// serialAt returns the serial number of the certificate that a client is shown.
func serialAt(t *testing.T, addr string) int64 {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer := make([]byte, 1)
	if _, err = io.WriteString(conn, "\x00\x00\x00\x08\x04\xd2\x16\x2f"); err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	if err != nil || answer[0] != 'S' {
		t.Fatalf("a request for TLS is answered %q, %v", answer, err)
	}
	c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// SIGHUP reads the certificates again, also where there is no file of keys; a
// broken one changes nothing.
func TestReloadCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	certify(t, cert, key, 1)
	r := start(t, "--node", freeAddr(t), "--listen", "127.0.0.1:0", "--monitor", "postgres://m@h/d", "--tls-cert", cert, "--tls-key", key)
	r.ready(t)
	addr := r.addr
	hup := func(logged string) {
		t.Helper()
		before := strings.Count(r.log.String(), logged)
		if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, logged, func() bool { return strings.Count(r.log.String(), logged) > before })
	}
	if n := serialAt(t, addr); n != 1 {
		t.Errorf("certificate %d", n)
	}
	certify(t, cert, key, 2)
	hup("the certificates were read again")
	if n := serialAt(t, addr); n != 2 {
		t.Errorf("certificate %d after SIGHUP", n)
	}
	if err := os.WriteFile(cert, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	hup("the configuration is refused; the old one stays")
	if n := serialAt(t, addr); n != 2 {
		t.Errorf("certificate %d after a broken one", n)
	}
	if code := r.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
