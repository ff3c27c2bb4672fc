package backend

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// An SSLMode is libpq's sslmode.
type SSLMode uint8

const (
	// SSLPrefer speaks TLS if the server does, and looks at no certificate.
	SSLPrefer SSLMode = iota
	// SSLDisable never speaks TLS.
	SSLDisable
	// SSLAllow speaks TLS if the server wants nothing else.
	SSLAllow
	// SSLRequire always speaks TLS. It looks at the certificate if root
	// certificates are given, as SSLVerifyCA does.
	SSLRequire
	// SSLVerifyCA looks who signed the server's certificate.
	SSLVerifyCA
	// SSLVerifyFull also looks whether it is for the server's host.
	SSLVerifyFull
)

// systemRoots stands for the roots that the system trusts, as in libpq.
const systemRoots = "system"

// alpn is the name that PostgreSQL has for its protocol in TLS.
const alpn = "postgresql"

// SecurityFiles say how servers are spoken to, and where the certificates are.
type SecurityFiles struct {
	Mode SSLMode
	// RootCert is a file of root certificates, or the word system.
	RootCert string
	// Cert and Key are what we show to servers that ask who we are.
	Cert, Key string
}

// Security is how servers are spoken to. All who dial share one, and it may
// change while they do.
type Security struct {
	logger  *slog.Logger
	current atomic.Pointer[secured]

	mu    sync.Mutex // guards the field below
	noted map[string]time.Time
}

// secured is one state of Security. It is not changed.
type secured struct {
	mode SSLMode
	tls  *tls.Config // without a name
}

// NewSecurity returns a Security that speaks in the clear. logger gets what is
// wrong with the servers' TLS.
func NewSecurity(logger *slog.Logger) *Security {
	s := &Security{logger: logger, noted: make(map[string]time.Time)}
	s.current.Store(&secured{mode: SSLDisable})
	return s
}

// Load reads the files. What they say counts for the dials that come after
// apply; after an error nothing changes.
func (s *Security) Load(f SecurityFiles) (apply func(), err error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{alpn}, DynamicRecordSizingDisabled: true}
	mode := f.Mode
	switch {
	case f.RootCert == systemRoots && mode != SSLVerifyFull:
		// Everybody gets a certificate that these roots have signed.
		return nil, errors.New("server_sslmode, server_sslrootcert: the system's root certificates prove nothing without verify-full")
	case f.RootCert == systemRoots:
	case f.RootCert != "":
		pem, err := os.ReadFile(f.RootCert)
		if err != nil {
			return nil, fmt.Errorf("server_sslmode, server_sslrootcert: read the root certificates: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("server_sslmode, server_sslrootcert: read the root certificates: %s holds no certificate", f.RootCert)
		}
		if mode == SSLRequire {
			mode = SSLVerifyCA // as libpq does
		}
	case mode == SSLVerifyCA || mode == SSLVerifyFull:
		return nil, errors.New("server_sslmode, server_sslrootcert: a certificate cannot be verified without root certificates")
	}
	if f.Cert != "" || f.Key != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("server_sslcert, server_sslkey: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	if mode != SSLVerifyFull {
		cfg.InsecureSkipVerify = true // SSLVerifyCA verifies by itself
	}
	if mode == SSLVerifyCA {
		cfg.VerifyConnection = func(state tls.ConnectionState) error { return verifyChain(state, cfg.RootCAs) }
	}
	next := &secured{mode: mode, tls: cfg}
	return func() { s.current.Store(next) }, nil
}

// verifyChain looks who signed a certificate, whoever it is for.
func verifyChain(state tls.ConnectionState, roots *x509.CertPool) error {
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	if _, err := state.PeerCertificates[0].Verify(options); err != nil {
		return fmt.Errorf("tls: failed to verify certificate: %w", err)
	}
	return nil
}

// attempt is one way to speak to a server.
type attempt struct {
	tls *tls.Config // nil: in the clear
	// optional: a server without TLS is spoken to in the clear.
	optional bool
}

// attempts returns the ways in which t may be spoken to, the best first. A
// further one is for a server that refuses the way of the one before.
func (t Target) attempts() []attempt {
	clear := attempt{}
	if network, _ := t.address(); t.Security == nil || network == "unix" {
		return []attempt{clear} // PostgreSQL speaks no TLS on Unix sockets
	}
	now := t.Security.current.Load()
	if now.mode == SSLDisable {
		return []attempt{clear}
	}
	cfg := now.tls.Clone()
	cfg.ServerName = t.Host
	switch now.mode {
	case SSLAllow:
		return []attempt{clear, {tls: cfg}}
	case SSLPrefer:
		return []attempt{{tls: cfg, optional: true}, clear}
	}
	return []attempt{{tls: cfg}}
}

// noteEvery bounds how often the log hears of one server's TLS.
const noteEvery = 10 * time.Second

// note tells the log what is wrong with a server's TLS.
func (t Target) note(err error) {
	s := t.Security
	now := time.Now()
	s.mu.Lock()
	last, seen := s.noted[t.Host]
	due := !seen || now.Sub(last) >= noteEvery
	if due {
		if len(s.noted) > 1000 {
			clear(s.noted)
		}
		s.noted[t.Host] = now
	}
	s.mu.Unlock()
	if due {
		s.logger.Warn("a server cannot be spoken to over TLS", "server", t.String(), "error", err)
	}
}

// Encrypted reports whether TLS is spoken on conn.
func Encrypted(conn net.Conn) bool {
	_, ok := conn.(interface{ ConnectionState() tls.ConnectionState })
	return ok
}
