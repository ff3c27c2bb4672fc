package zookeeper_test

import (
	"context"
	"fmt"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
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
