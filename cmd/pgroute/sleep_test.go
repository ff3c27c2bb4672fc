package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// A proxy that was stopped for longer than its session with ZooKeeper lasts,
// while another server was promoted: what its clients have sent meanwhile goes
// to the new primary, or waits; the old one, which lives on, gets nothing.
func TestProxyThatSlept(t *testing.T) {
	t.Parallel()
	needsZooKeeper(t)
	ctx := t.Context()
	z := cluster.StartZooKeeper(t, cluster.ZooKeeperOptions{})
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	old, next := c.Primary(), c.Replicas()[0]
	reg, err := zookeeper.NewRegistry(ctx, zookeeper.Config{Hosts: z.Addr(), Path: "/p"})
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	for _, n := range c.Nodes() {
		if err := reg.Put(ctx, n.Name, zookeeper.Node{Host: n.Host, Port: n.Port}, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := reg.SetPrimary(ctx, old.Name); err != nil {
		t.Fatal(err)
	}
	r := start(t, "--zookeeper", z.Addr(), "--path", "/p", "--zookeeper-timeout", "2s", "--failover-wait", "5m", "--listen", "127.0.0.1:0",
		"--monitor", old.DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres"))
	r.ready(t)
	conn := r.connect(t, cluster.AppDatabase)
	for _, sql := range []string{"CREATE TABLE slept (n int)", "INSERT INTO slept VALUES (1)"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	raw := rawZooKeeper(t, z.Addr())
	present := func() bool {
		names, _, err := raw.Children("/p/proxies")
		return err == nil && len(names) == 1
	}
	eventually(t, "the proxy is registered", present)
	if err := c.WaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}

	if err := r.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// The signal stops a process when one of its threads has taken it; until then
	// the others run on.
	eventually(t, "every thread has stopped", func() bool { return stopped(r.cmd.Process.Pid) })
	done := make(chan error, 1)
	// Ends with its answer; waited for below.
	go func() {
		_, err := conn.Exec(ctx, "INSERT INTO slept VALUES (2)")
		done <- err
	}()
	if err := next.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	if err := reg.SetPrimary(ctx, next.Name); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its session has expired", func() bool { return !present() })
	if err := r.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("what was sent while it slept: %v", err)
	}
	eventually(t, "the proxy is registered again", present)
	for n, want := range map[*cluster.Node]string{old: "1", next: "2"} {
		if got, err := n.QueryString(ctx, "SELECT count(*) FROM slept"); got != want || err != nil {
			t.Errorf("%s has %s rows, want %s (%v)", n.Name, got, want, err)
		}
	}
	if got := queryText(t, conn, "SELECT count(*)::text FROM slept"); got != fmt.Sprint(2) {
		t.Errorf("the client sees %s rows", got)
	}
}

// stopped reports whether every thread of a process is stopped (proc(5)).
func stopped(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, name := range threads {
		text, err := os.ReadFile(name)
		if err != nil {
			return false
		}
		// The name of the program is in parentheses and may hold anything.
		_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
		if !strings.HasPrefix(rest, "T") {
			return false
		}
	}
	return len(threads) > 0
}
