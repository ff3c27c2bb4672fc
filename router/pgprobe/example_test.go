package pgprobe_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// servers starts a primary and a replica, and returns the address of the first.
func servers(ctx context.Context) (c *cluster.Cluster, primary router.Addr) {
	c, err := cluster.New(ctx, cluster.Options{Replicas: 1})
	if err != nil {
		panic(err)
	}
	n := c.Primary()
	return c, router.Addr{Name: n.Name, Host: n.Host, Port: n.Port}
}

// A router over real servers: it asks each for its role, and follows positions.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, _ := servers(ctx)
	defer c.Close()

	prober, err := pgprobe.New(pgprobe.Config{DSN: "user=pgroute_monitor password=monitor-secret dbname=postgres sslmode=disable"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer prober.Close()
	source, err := router.Static(c.Addrs()...)
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := router.New(router.Config{Source: source, Prober: prober, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()

	err = r.WaitTopology(ctx, func(t *router.Topology) bool { return t.Primary != nil && t.Replicas() == 1 })
	fmt.Println("a primary and its replica are known:", err == nil)
	cancel()
	fmt.Println(<-ended)
	// Output:
	// a primary and its replica are known: true
	// <nil>
}

// What one server says of itself.
func ExampleProber_Connect() {
	ctx := context.Background()
	c, primary := servers(ctx)
	defer c.Close()
	prober, err := pgprobe.New(pgprobe.Config{DSN: "user=pgroute_monitor password=monitor-secret dbname=postgres sslmode=disable"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer prober.Close()

	probe, err := prober.Connect(ctx, primary)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer probe.Close()
	st, err := probe.Identify(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	insert, flush, err := probe.Insert(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("in recovery:", st.InRecovery, "timeline:", st.Timeline)
	fmt.Println("flushed no further than inserted:", flush <= insert)
	// Output:
	// in recovery: false timeline: 1
	// flushed no further than inserted: true
}

// The catalogue is read by a connection that can only read.
func ExampleProber_Query() {
	ctx := context.Background()
	c, primary := servers(ctx)
	defer c.Close()
	prober, err := pgprobe.New(pgprobe.Config{DSN: "user=pgroute_monitor password=monitor-secret dbname=postgres sslmode=disable"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer prober.Close()

	rows, err := prober.Query(ctx, primary, "app", "SELECT datname FROM pg_database WHERE datname = current_database()")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(*rows[0][0])
	_, err = prober.Query(ctx, primary, "app", "CREATE TABLE public.t ()")
	fmt.Println("refused:", err != nil)
	// Output:
	// app
	// refused: true
}
