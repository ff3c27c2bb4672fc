package stress_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

var logFlag = flag.Bool("stress.log", false, "show what the proxies log")

// patience is how long a test waits for what is to happen, on a busy machine.
const patience = 5 * time.Minute

// logger is silent unless asked for: faults make proxies talk a lot.
func logger(name string) *slog.Logger {
	if !*logFlag {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("proxy", name)
}

// monitorDSN is how routers enter servers. Host and port are ignored.
const monitorDSN = "postgres://" + cluster.MonitorUser + ":" + cluster.MonitorPassword + "@x/postgres?sslmode=disable"

// sidecar is a proxy in this process.
type sidecar struct {
	name   string
	srv    *proxy.Server
	addr   string
	cancel context.CancelFunc
	ended  chan error
}

// startSidecar starts a proxy over src. It ends with the test, or with stop.
func startSidecar(t testing.TB, name string, src router.Source, change func(*proxy.Config)) *sidecar {
	t.Helper()
	monitor := newProber(t)
	// On a busy machine a statement waits; it does not fail.
	cfg := proxy.Config{Listen: []string{"127.0.0.1:0"}, Source: src, Monitor: monitor, Auth: proxy.AuthTrust, Logger: logger(name),
		PrimaryWait: pairTimeout, LeaseWait: pairTimeout}
	if change != nil {
		change(&cfg)
	}
	srv, err := proxy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &sidecar{name: name, srv: srv, ended: make(chan error, 1)}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(t.Context()))
	// stop ends it and waits for it.
	go s.run(ctx)
	t.Cleanup(func() { s.stop(t) })
	select {
	case <-srv.Ready():
	case err := <-s.ended:
		t.Fatalf("proxy %s ended: %v", name, err)
	}
	s.addr = srv.Addrs()[0].String()
	return s
}

func newProber(t testing.TB) *pgprobe.Prober {
	t.Helper()
	monitor, err := pgprobe.New(pgprobe.Config{DSN: monitorDSN})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := monitor.Close(); err != nil {
			t.Errorf("close the prober: %v", err)
		}
	})
	return monitor
}

func (s *sidecar) run(ctx context.Context) {
	s.ended <- s.srv.Run(ctx, 0)
	close(s.ended)
}

// stop may be called more than once.
func (s *sidecar) stop(t testing.TB) {
	s.cancel()
	if err := <-s.ended; err != nil {
		t.Errorf("proxy %s: %v", s.name, err)
	}
}

// dial connects to the application's database. settings go into the startup
// packet, in pairs of name and value.
func (s *sidecar) dial(ctx context.Context, settings ...string) (*pgx.Conn, error) {
	return connect(ctx, s.addr, cluster.AppDatabase, settings...)
}

func connect(ctx context.Context, addr, database string, settings ...string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable&connect_timeout=120",
		cluster.AppUser, cluster.AppPassword, addr, database))
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(settings); i += 2 {
		cfg.RuntimeParams[settings[i]] = settings[i+1]
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return conn, nil
}

// hangUp ends a connection without waiting for anybody.
func hangUp(conn *pgx.Conn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = conn.Close(ctx)
}

// route is what SHOW pgroute.last_route tells of the last statement.
type route struct {
	node, role, reason string
	waited             string
}

func lastRoute(ctx context.Context, conn *pgx.Conn) (route, error) {
	results, err := conn.PgConn().Exec(ctx, "SHOW pgroute.last_route").ReadAll()
	if err != nil {
		return route{}, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 4 {
		return route{}, fmt.Errorf("SHOW pgroute.last_route: %d results", len(results))
	}
	row := results[0].Rows[0]
	return route{string(row[0]), string(row[1]), string(row[2]), string(row[3])}, nil
}

// simple runs statements by the simple protocol and returns the first column
// of the last row, empty if there is none.
func simple(ctx context.Context, conn *pgx.Conn, sql string) (string, error) {
	results, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		return "", err
	}
	if n := len(results); n > 0 && len(results[n-1].Rows) > 0 {
		rows := results[n-1].Rows
		return string(rows[len(rows)-1][0]), nil
	}
	return "", nil
}

// settle waits until every one of nodes has served a read of conn's sidecar,
// so that what follows does not measure the start.
func (s *sidecar) settle(ctx context.Context, sql string, replicas int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := s.srv.Router().WaitTopology(ctx, func(t *router.Topology) bool {
		return t.Primary != nil && t.Replicas() == replicas
	})
	if err != nil {
		return err
	}
	conn, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	return until(ctx, "a replica serves a read through "+s.name, func() (bool, error) {
		if _, err := simple(ctx, conn, sql); err != nil {
			return false, err
		}
		r, err := lastRoute(ctx, conn)
		return r.role == "replica", err
	})
}

// until asks done again and again until it says so.
func until(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %v", patience))
	defer cancel()
	for {
		ok, err := done()
		if err != nil {
			return fmt.Errorf("wait until %s: %w", what, err)
		}
		if ok {
			return nil
		}
		if !rest(ctx, 2*time.Millisecond) {
			return fmt.Errorf("wait until %s: %w", what, context.Cause(ctx))
		}
	}
}

// rest lets time pass; false once ctx is done.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
