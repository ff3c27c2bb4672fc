package proxy_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// The clusters and proxies that the tests of this package share. Each is
// started by the first test that asks for it.
var (
	trusting = lazily(func() (*cluster.Cluster, error) {
		return cluster.New(context.Background(), cluster.Options{Trust: true})
	})
	asking = lazily(func() (*cluster.Cluster, error) {
		return cluster.New(context.Background(), cluster.Options{})
	})
	plain = lazily(func() (*served, error) {
		c, err := trusting.get()
		if err != nil {
			return nil, err
		}
		return serve(proxy.Config{Source: source(c), Auth: proxy.AuthTrust})
	})
)

func TestMain(m *testing.M) {
	code := m.Run()
	if s := plain.made(); s != nil {
		if err := s.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	for _, l := range []*lazy[*cluster.Cluster]{trusting, asking} {
		if c := l.made(); c != nil {
			if err := c.Close(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// lazy is a value that is made when it is first asked for.
type lazy[T any] struct {
	once  sync.Once
	make  func() (T, error)
	value T
	err   error
}

func lazily[T any](f func() (T, error)) *lazy[T] { return &lazy[T]{make: f} }

func (l *lazy[T]) get() (T, error) {
	l.once.Do(func() { l.value, l.err = l.make() })
	return l.value, l.err
}

// made returns the value if somebody asked for it.
func (l *lazy[T]) made() T {
	l.once.Do(func() {})
	return l.value
}

// use is get for a test.
func use[T any](t testing.TB, l *lazy[T]) T {
	t.Helper()
	v, err := l.get()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func source(c *cluster.Cluster) router.Source {
	s, err := router.Static(c.Addrs()...)
	if err != nil {
		panic(err)
	}
	return s
}

const monitorDSN = "postgres://" + cluster.MonitorUser + ":" + cluster.MonitorPassword + "@x/postgres?sslmode=disable"

// served is a proxy that runs in this process.
type served struct {
	*proxy.Server
	mon    *pgprobe.Prober
	cancel context.CancelFunc
	drain  time.Duration
	ended  chan error
}

// serve starts a proxy on a free port and waits until it is ready. It ends
// when its last client has left.
func serve(cfg proxy.Config) (*served, error) { return serveFor(cfg, time.Hour) }

// serveFor is serve with a bound for the last clients.
func serveFor(cfg proxy.Config, drain time.Duration) (*served, error) {
	mon, err := pgprobe.New(pgprobe.Config{DSN: monitorDSN})
	if err != nil {
		return nil, err
	}
	cfg.Monitor = mon
	// On a busy machine a test waits; it does not fail.
	if cfg.PrimaryWait == 0 {
		cfg.PrimaryWait = patience
	}
	if cfg.LeaseWait == 0 {
		cfg.LeaseWait = patience
	}
	if cfg.Listen == nil {
		cfg.Listen = []string{"127.0.0.1:0"}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	srv, err := proxy.New(cfg)
	if err != nil {
		mon.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &served{Server: srv, mon: mon, drain: drain, cancel: cancel, ended: make(chan error, 1)}
	go s.run(ctx)
	select {
	case <-srv.Ready():
	case err := <-s.ended:
		return nil, err
	}
	return s, nil
}

func (s *served) run(ctx context.Context) { s.ended <- s.Run(ctx, s.drain) }

// stop ends the proxy. Clients that are in a transaction have to leave first.
func (s *served) stop() error {
	s.cancel()
	select {
	case err := <-s.ended:
		s.mon.Close()
		return err
	case <-time.After(patience):
		return fmt.Errorf("the proxy does not end")
	}
}

// start is serve for a test, which ends the proxy.
func start(t testing.TB, cfg proxy.Config) *served {
	t.Helper()
	s, err := serve(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("end the proxy: %v", err)
		}
	})
	return s
}

func (s *served) addr() string { return s.Addrs()[0].String() }

func (s *served) port() string {
	_, port, _ := net.SplitHostPort(s.addr())
	return port
}

// dsn is how a user without a password comes to the database app.
func (s *served) dsn(params string) string {
	return s.dsnOf(cluster.SuperUser, cluster.AppDatabase, params)
}

func (s *served) dsnOf(user, database, params string) string {
	return "postgres://" + user + "@" + s.addr() + "/" + database + "?sslmode=disable&" + params
}

// connect opens a connection that ends with the test.
func (s *served) connect(t testing.TB, params string) *pgx.Conn {
	t.Helper()
	c := connect(t, s.dsn(params))
	s.reads(t, cluster.AppDatabase)
	return c
}

func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}
