package main

import (
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// rawZooKeeper is a connection that knows nothing of layouts.
func rawZooKeeper(t *testing.T, hosts string) *zk.Conn {
	t.Helper()
	conn, _, err := zk.Connect([]string{hosts}, 10*time.Second, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// ownLayout starts a primary and a ZooKeeper that knows it, below /p.
func ownLayout(t *testing.T) *own {
	t.Helper()
	if !cluster.ZooKeeperInstalled() {
		t.Skip("ZooKeeper is not installed")
	}
	c := cluster.Start(t, cluster.Options{Replicas: -1})
	z := cluster.StartZooKeeper(t, cluster.ZooKeeperOptions{})
	reg, err := zookeeper.NewRegistry(t.Context(), zookeeper.Config{Hosts: z.Addr(), Path: "/p"})
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	n := c.Primary()
	if err = reg.Put(t.Context(), n.Name, zookeeper.Node{Host: n.Host, Port: n.Port}, false); err == nil {
		err = reg.SetPrimary(t.Context(), n.Name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &own{Conn: rawZooKeeper(t, z.Addr()), hosts: z.Addr(), args: []string{"--zookeeper", z.Addr(), "--path", "/p",
		"--monitor", n.DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres")}}
}
