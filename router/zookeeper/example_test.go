package zookeeper_test

import (
	"context"
	"fmt"
	"log"
	"os/signal"
	"syscall"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// A failover manager writes the layout, and a router follows it.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server, err := cluster.NewZooKeeper(ctx, cluster.ZooKeeperOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	cfg := zookeeper.Config{Hosts: server.Addr(), Path: "/pgroute/booking"}

	registry, err := zookeeper.NewRegistry(ctx, cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer registry.Close()
	for name, host := range map[string]string{"pg1": "10.0.0.11", "pg2": "10.0.0.12"} {
		if err := registry.Put(ctx, name, zookeeper.Node{Host: host, Port: 5432}, false); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := registry.SetPrimary(ctx, "pg1"); err != nil {
		fmt.Println(err)
		return
	}

	source, err := zookeeper.New(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	// router.New takes the source and calls Watch; here the example does.
	err = source.Watch(ctx, func(c router.Candidates) {
		if len(c.Nodes) == 2 && c.Primary != "" && ctx.Err() == nil {
			fmt.Println(len(c.Nodes), "nodes, writes go to", c.Primary)
			cancel()
		}
	})
	fmt.Println(err)
	// Output:
	// 2 nodes, writes go to pg1
	// <nil>
}

// A router over a cluster that Patroni runs. With package pgxdb the source goes
// into its Config instead.
func ExampleNewPatroni() {
	source, err := zookeeper.NewPatroni(zookeeper.Config{Hosts: "zk1,zk2,zk3", Path: "service/batman"})
	if err != nil {
		log.Fatal(err)
	}
	prober, err := pgprobe.New(pgprobe.Config{DSN: "user=pgroute_monitor password=secret dbname=postgres"})
	if err != nil {
		log.Fatal(err)
	}
	defer prober.Close()
	r, err := router.New(router.Config{Source: source, Prober: prober})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(r.Run(context.Background()))
}

// An agent beside a server keeps the server's znode for as long as it runs.
func ExampleRegistrar() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	registrar, err := zookeeper.NewRegistrar(zookeeper.Config{Hosts: "zk1,zk2,zk3", Path: "/pgroute/booking"})
	if err != nil {
		log.Fatal(err)
	}
	if err := registrar.Node("pg1", zookeeper.Node{Host: "10.0.0.11", Port: 5432, Zone: "a"}); err != nil {
		log.Fatal(err)
	}
	if err := registrar.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
