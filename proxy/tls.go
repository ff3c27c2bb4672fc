package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
	"github.com/pgroute/pgroute/proxy/internal/tlsconn"
)

// TLSMode is whether clients speak TLS. On Unix sockets they never do.
type TLSMode uint8

const (
	// TLSDefault is TLSPrefer with a certificate and TLSDisable without one.
	TLSDefault TLSMode = iota
	// TLSDisable offers no TLS.
	TLSDisable
	// TLSAllow leaves it to the client.
	TLSAllow
	// TLSPrefer is the same: it is the client who begins.
	TLSPrefer
	// TLSRequire refuses clients without TLS.
	TLSRequire
)

var tlsModes = [...]string{TLSDefault: "default", TLSDisable: "disable", TLSAllow: "allow", TLSPrefer: "prefer", TLSRequire: "require"}

// ParseTLSMode reads disable, allow, prefer or require.
func ParseTLSMode(s string) (TLSMode, error) {
	for m := TLSDisable; m <= TLSRequire; m++ {
		if tlsModes[m] == s {
			return m, nil
		}
	}
	return 0, fmt.Errorf("unknown tls %q: it is disable, allow, prefer or require", s)
}

// String returns what ParseTLSMode reads, and default for TLSDefault.
func (m TLSMode) String() string {
	if int(m) < len(tlsModes) {
		return tlsModes[m]
	}
	return "unknown"
}

// ClientTLS says how clients speak TLS. The zero value is not at all.
type ClientTLS struct {
	// Mode says who may, and who must.
	Mode TLSMode
	// CertFile and KeyFile are PEM files: our certificate with those that
	// lead to its root, and its key.
	CertFile, KeyFile string
	// MinVersion is the oldest version that is spoken, of crypto/tls. 0 means
	// TLS 1.2.
	MinVersion uint16
}

// SSLMode is how servers are spoken to, as libpq's sslmode. Unix sockets are
// never encrypted.
type SSLMode uint8

const (
	// SSLPrefer speaks TLS if the server does, and looks at no certificate.
	SSLPrefer = SSLMode(backend.SSLPrefer)
	// SSLDisable never speaks TLS.
	SSLDisable = SSLMode(backend.SSLDisable)
	// SSLAllow speaks TLS if the server wants nothing else.
	SSLAllow = SSLMode(backend.SSLAllow)
	// SSLRequire always speaks TLS. With a RootCertFile it is SSLVerifyCA.
	SSLRequire = SSLMode(backend.SSLRequire)
	// SSLVerifyCA looks who signed the server's certificate.
	SSLVerifyCA = SSLMode(backend.SSLVerifyCA)
	// SSLVerifyFull also looks whether it is for the node's host.
	SSLVerifyFull = SSLMode(backend.SSLVerifyFull)
)

var sslModes = [...]string{
	SSLDisable: "disable", SSLAllow: "allow", SSLPrefer: "prefer", SSLRequire: "require",
	SSLVerifyCA: "verify-ca", SSLVerifyFull: "verify-full",
}

// ParseSSLMode reads disable, allow, prefer, require, verify-ca or
// verify-full.
func ParseSSLMode(s string) (SSLMode, error) {
	for m, word := range sslModes {
		if word == s {
			return SSLMode(m), nil
		}
	}
	return 0, fmt.Errorf("unknown server_sslmode %q: it is disable, allow, prefer, require, verify-ca or verify-full", s)
}

// String returns what ParseSSLMode reads.
func (m SSLMode) String() string {
	if int(m) < len(sslModes) {
		return sslModes[m]
	}
	return "unknown"
}

// ServerTLS says how the servers are spoken to. The zero value is SSLPrefer,
// as in libpq.
type ServerTLS struct {
	// Mode says whether TLS is spoken, and what is verified.
	Mode SSLMode
	// RootCertFile is a PEM file with the certificates that sign those of the
	// servers, or the word system for those that the system trusts, which
	// needs SSLVerifyFull.
	RootCertFile string
	// CertFile and KeyFile are what we show to servers that ask who we are.
	CertFile, KeyFile string
}

// frontDoor is how clients speak TLS at a moment. It is not changed.
type frontDoor struct {
	config  *tls.Config // nil: not at all
	require bool
}

// load reads the certificate.
func (c *ClientTLS) load() (*frontDoor, error) {
	mode := c.Mode
	given := c.CertFile != "" || c.KeyFile != ""
	switch {
	case int(mode) >= len(tlsModes):
		return nil, errors.New("tls: unknown mode")
	case mode == TLSDisable || mode == TLSDefault && !given:
		return &frontDoor{}, nil
	case c.CertFile == "":
		return nil, errors.New("tls_cert: clients cannot speak TLS without a certificate")
	case c.KeyFile == "":
		return nil, errors.New("tls_key: the certificate needs its key")
	}
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("tls_cert, tls_key: %w", err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   max(c.MinVersion, tls.VersionTLS12),
		NextProtos:   []string{alpn},
		// As in PostgreSQL; sessions are long.
		SessionTicketsDisabled: true,
		// Small first records are for browsers.
		DynamicRecordSizingDisabled: true,
	}
	return &frontDoor{config, mode == TLSRequire}, nil
}

// alpn is PostgreSQL's name for its protocol in TLS.
const alpn = "postgresql"

// errNoALPN is a client that began TLS at once and did not say for what.
var errNoALPN = errors.New("direct TLS without the ALPN protocol postgresql")

// accept is the server's side of a handshake; see handshake.Config.
func (d *frontDoor) accept(ctx context.Context, conn net.Conn, read []byte) (net.Conn, error) {
	c := tlsconn.Server(conn, read, d.config)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if len(read) > 0 && c.ConnectionState().NegotiatedProtocol != alpn {
		return nil, errNoALPN
	}
	return c, nil
}

// admission is the configuration for one login.
func (s *Server) admission() handshake.Config {
	cfg := s.handshake
	if d := s.door.Load(); d.config != nil {
		cfg.TLS, cfg.RequireTLS = d.accept, d.require
	}
	return cfg
}

// loadTLS reads all certificates. Nothing changes before apply, nor after an
// error.
func (s *Server) loadTLS(cfg *Config) (apply func(), err error) {
	door, err := cfg.TLS.load()
	if err != nil {
		return nil, err
	}
	f := &cfg.ServerTLS
	servers, err := s.security.Load(backend.SecurityFiles{
		Mode: backend.SSLMode(f.Mode), RootCert: f.RootCertFile, Cert: f.CertFile, Key: f.KeyFile,
	})
	if err != nil {
		return nil, err
	}
	return func() {
		s.door.Store(door)
		servers()
	}, nil
}
