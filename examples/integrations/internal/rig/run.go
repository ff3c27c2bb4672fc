package rig

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
	"github.com/pgroute/pgroute/router/pgxdb"
)

const (
	// patience is how long a read waits for a replica: so long that on a busy
	// machine too a replica that is held back serves reads.
	patience = 20 * time.Second

	appDSN     = "postgres://" + cluster.AppUser + ":" + cluster.AppPassword + "@ignored/" + cluster.AppDatabase + "?sslmode=disable"
	monitorDSN = "postgres://" + cluster.MonitorUser + ":" + cluster.MonitorPassword + "@ignored/postgres?sslmode=disable"
)

// Run starts a cluster and runs test twice over it, as the subtests sidecar
// and library. Each begins with an empty database.
func Run(t *testing.T, test func(t *testing.T, w *Way)) {
	t.Helper()
	c := cluster.Start(t, cluster.Options{})
	t.Run("sidecar", func(t *testing.T) {
		empty(t, c)
		test(t, &Way{Cluster: c, reach: startSidecar(t, c)})
	})
	t.Run("library", func(t *testing.T) {
		empty(t, c)
		test(t, &Way{Cluster: c, reach: openLibrary(t, c)})
	})
}

// empty removes what an earlier test has left in the application's database.
func empty(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := c.Primary().Exec(ctx, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public AUTHORIZATION "+cluster.AppUser)
	if err != nil {
		t.Fatalf("empty the database: %v", err)
	}
	if err := c.WaitCaughtUp(ctx); err != nil {
		t.Fatalf("empty the database: %v", err)
	}
}

func source(t *testing.T, c *cluster.Cluster) router.Source {
	t.Helper()
	s, err := router.Static(c.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// startSidecar runs a proxy in front of the cluster until the test ends.
func startSidecar(t *testing.T, c *cluster.Cluster) *sidecar {
	t.Helper()
	monitor, err := pgprobe.New(pgprobe.Config{DSN: monitorDSN})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { monitor.Close() })
	server, err := proxy.New(proxy.Config{
		Listen:  []string{"127.0.0.1:0"},
		Source:  source(t, c),
		Monitor: monitor,
		Policy:  proxy.Policy{Wait: patience},
		Logger:  quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &sidecar{server: server, ended: make(chan error, 1)}
	go s.run(ctx) // ended and awaited by the cleanup below
	t.Cleanup(func() {
		cancel()
		if err := <-s.ended; err != nil {
			t.Errorf("end the sidecar: %v", err)
		}
	})
	select {
	case <-server.Ready():
	case err := <-s.ended:
		s.ended <- nil
		t.Fatalf("start the sidecar: %v", err)
	}
	return s
}

// openLibrary opens the cluster in this process until the test ends.
func openLibrary(t *testing.T, c *cluster.Cluster) *library {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db, err := pgxdb.Open(ctx, pgxdb.Config{
		Source:     source(t, c),
		DSN:        appDSN,
		MonitorDSN: monitorDSN,
		Wait:       patience,
		Logger:     quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return &library{db: db}
}
