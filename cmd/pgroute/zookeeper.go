package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// zookeeperSettings say how ZooKeeper is spoken to.
type zookeeperSettings struct {
	auth          string
	timeout       time.Duration
	tls           bool
	ca, cert, key string
}

// zookeeperSource makes the source that asks ZooKeeper.
func (s *settings) zookeeperSource(log *slog.Logger) (router.Source, error) {
	switch {
	case s.path != "" && s.patroni != "":
		return nil, usagef("path and patroni exclude each other: pgroute's own layout or Patroni's")
	case s.zookeeper == "" && s.path != "":
		return nil, usagef("path needs zookeeper: the servers of ZooKeeper")
	case s.zookeeper == "":
		return nil, usagef("patroni needs zookeeper: the servers of ZooKeeper")
	case s.path == "" && s.patroni == "":
		return nil, usagef("zookeeper needs path, the znode below which the cluster is, or patroni, its NAMESPACE/SCOPE")
	}
	cfg, err := s.zookeeperConfig(log)
	if err != nil {
		return nil, err
	}
	var src *zookeeper.Source
	if cfg.Path = s.path; s.patroni != "" {
		cfg.Path = s.patroni
		src, err = zookeeper.NewPatroni(cfg)
	} else {
		src, err = zookeeper.New(cfg)
	}
	if err != nil {
		return nil, &usageError{err}
	}
	return src, nil
}

// zookeeperConfig is the configuration of every client of ZooKeeper, without
// the path.
func (s *settings) zookeeperConfig(log *slog.Logger) (zookeeper.Config, error) {
	cfg := zookeeper.Config{Hosts: s.zookeeper, SessionTimeout: s.zk.timeout, Auth: s.zk.auth, Logger: log,
		Trace: zookeeper.Trace{BadNode: s.refused.znode, Refused: s.refused.request}}
	if !s.zk.tls {
		if s.zk.ca != "" || s.zk.cert != "" || s.zk.key != "" {
			return cfg, usagef("zookeeper_tls_ca, zookeeper_tls_cert and zookeeper_tls_key need zookeeper_tls: true")
		}
		return cfg, nil
	}
	var err error
	if cfg.TLS, err = s.zk.tlsConfig(); err != nil {
		return cfg, &usageError{err}
	}
	return cfg, nil
}

// tlsConfig reads the files that TLS with ZooKeeper needs.
func (z *zookeeperSettings) tlsConfig() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if z.ca != "" {
		text, err := os.ReadFile(z.ca)
		if err != nil {
			return nil, fmt.Errorf("zookeeper_tls_ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("zookeeper_tls_ca: no certificate in %s", z.ca)
		}
	}
	if (z.cert == "") != (z.key == "") {
		return nil, errors.New("zookeeper_tls_cert and zookeeper_tls_key come together")
	}
	if z.cert != "" {
		pair, err := tls.LoadX509KeyPair(z.cert, z.key)
		if err != nil {
			return nil, fmt.Errorf("zookeeper_tls_cert: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
