package grpcsession_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/grpcsession"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// counter is a service over a database of its own: Check writes a row, List
// counts them.
type counter struct {
	health.UnimplementedHealthServer
	db *pgxdb.DB
}

func (c *counter) Check(ctx context.Context, _ *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	_, err := c.db.Exec(ctx, "INSERT INTO numbers VALUES (1)")
	return &health.HealthCheckResponse{}, err
}

func (c *counter) List(ctx context.Context, _ *health.HealthListRequest) (*health.HealthListResponse, error) {
	var n int32
	err := c.db.Read().QueryRow(ctx, "SELECT count(*)::int4 FROM numbers").Scan(&n)
	return &health.HealthListResponse{Statuses: map[string]*health.HealthCheckResponse{
		"rows": {Status: health.HealthCheckResponse_ServingStatus(n)}}}, err
}

// startCounter starts one instance and returns a client of it.
func startCounter(ctx context.Context, t *testing.T, c *cluster.Cluster) health.HealthClient {
	t.Helper()
	source, err := router.Static(c.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	db, err := pgxdb.Open(ctx, pgxdb.Config{
		Source: source, DSN: c.Primary().DSN(cluster.AppUser, cluster.AppPassword, cluster.AppDatabase),
		MonitorDSN: c.Primary().DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres"),
		Logger:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	all := func(topology *router.Topology) bool { return topology.Replicas() == len(c.Replicas()) }
	if err := db.Router().WaitTopology(ctx, all); err != nil {
		t.Fatal(err)
	}
	listener := bufconn.Listen(1 << 20)
	srv := grpc.NewServer(grpc.UnaryInterceptor(grpcsession.UnaryServer(db.Router(), patient)))
	health.RegisterHealthServer(srv, &counter{db: db})
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		srv.Stop()
		if err := <-ended; err != nil {
			t.Errorf("end the server: %v", err)
		}
	})
	return health.NewHealthClient(conn)
}

func rows(ctx context.Context, t *testing.T, client health.HealthClient) int {
	t.Helper()
	resp, err := client.List(ctx, &health.HealthListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return int(resp.Statuses["rows"].Status)
}

// TestWriteHereReadThere: what one instance wrote, another one shows to whoever
// brings the token, however late the replicas are. Without it the same run is
// stale.
func TestWriteHereReadThere(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := cluster.Start(t, cluster.Options{})
	if err := c.Primary().Exec(ctx, "CREATE TABLE numbers (n int)", "GRANT ALL ON numbers TO "+cluster.AppUser); err != nil {
		t.Fatal(err)
	}
	here, there := startCounter(ctx, t, c), startCounter(ctx, t, c)
	if err := c.WaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Replicas() {
		if err := n.PauseReplay(ctx); err != nil {
			t.Fatal(err)
		}
	}
	const rounds = 20
	stale := 0
	for n := 1; n <= rounds; n++ {
		var trailer metadata.MD
		if _, err := here.Check(ctx, &health.HealthCheckRequest{}, grpc.Trailer(&trailer)); err != nil {
			t.Fatal(err)
		}
		tokens := trailer.Get(grpcsession.Key)
		if len(tokens) != 1 {
			t.Fatalf("a write gave %d tokens", len(tokens))
		}
		if got := rows(metadata.AppendToOutgoingContext(ctx, grpcsession.Key, tokens[0]), t, there); got != n {
			t.Errorf("with the token %d rows, want %d", got, n)
		}
		if rows(ctx, t, there) < n {
			stale++
		}
	}
	if stale == 0 {
		t.Error("reads without the token are never stale: it is not the token that helps")
	}
}
