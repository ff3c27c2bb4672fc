package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/jackc/pgx/v5"

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

// While nobody is named, reads go on at the primary that was, for those too who
// come only now; so the proxy is ready, and says that writes wait.
func TestReadsWithoutANamedPrimary(t *testing.T) {
	t.Parallel()
	o := ownLayout(t)
	admin := freeAddr(t)
	r := start(t, append(o.args, "--listen", "127.0.0.1:0", "--admin", admin)...)
	r.ready(t)
	conn := r.connect(t, cluster.AppDatabase)
	if got := queryText(t, conn, "SELECT 'before'"); got != "before" {
		t.Fatal(got)
	}
	if err := o.Delete("/p/primary", -1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no primary", func() bool {
		_, text := fetch(t, admin, "/readyz")
		return strings.Contains(text, "the source names no primary")
	})
	if code, text := fetch(t, admin, "/readyz"); code != http.StatusOK || !strings.HasPrefix(text, "ok, but writes wait: ") {
		t.Errorf("/readyz: %d %s", code, text)
	}
	stranger, err := pgx.ParseConfig(r.dsn(cluster.AppDatabase))
	if err != nil {
		t.Fatal(err)
	}
	stranger.User, stranger.Password = cluster.SuperUser, cluster.SuperPassword
	late, err := pgx.ConnectConfig(t.Context(), stranger)
	if err != nil {
		t.Fatalf("somebody who was never here: %v", err)
	}
	defer late.Close(context.Background())
	for _, c := range []*pgx.Conn{conn, late} {
		if got := queryText(t, c, "SELECT 'read'"); got != "read" {
			t.Error(got)
		}
	}
}
