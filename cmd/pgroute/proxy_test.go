package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// running is a pgroute proxy.
type running struct {
	cmd   *exec.Cmd
	lines chan string // of stdout
	log   *lockedBuffer
	addr  string
}

// lockedBuffer takes what a process logs while the test reads it.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start starts pgroute proxy; it ends with the test at the latest.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	return startCommand(t, append([]string{"proxy"}, args...)...)
}

// startCommand starts any command of pgroute.
func startCommand(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{cmd: exec.Command(binary(t), args...), lines: make(chan string, 16), log: new(lockedBuffer)}
	r.cmd.Env, r.cmd.Stderr = environment(), r.log
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	// Ends with the process; waited for in the cleanup.
	go func() {
		defer close(ended)
		defer close(r.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			r.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		if r.cmd.ProcessState == nil {
			_ = r.cmd.Process.Kill()
			<-ended
			_ = r.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("log of pgroute:\n%s", r.log)
		}
	})
	return r
}

// line returns the next line of stdout.
func (r *running) line(t *testing.T) string {
	t.Helper()
	select {
	case l := <-r.lines:
		return l
	case <-time.After(patience):
		t.Fatal("no line on stdout")
		return ""
	}
}

// ready waits for the line that says so.
func (r *running) ready(t *testing.T) {
	t.Helper()
	l := r.line(t)
	addr, ok := strings.CutPrefix(l, "pgroute: ready on ")
	if !ok {
		t.Fatalf("the first line is %q", l)
	}
	r.addr = addr
}

// end sends a signal and returns the exit code.
func (r *running) end(t *testing.T, sig os.Signal) int {
	t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	for l := range r.lines {
		t.Errorf("a second line on stdout: %q", l)
	}
	_ = r.cmd.Wait() // the exit code tells
	return r.cmd.ProcessState.ExitCode()
}

func (r *running) dsn(db string) string {
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", cluster.AppUser, cluster.AppPassword, r.addr, db)
}

func (r *running) connect(t *testing.T, db string) *pgx.Conn {
	t.Helper()
	var conn *pgx.Conn
	eventually(t, "a login", func() bool {
		var err error
		conn, err = pgx.Connect(t.Context(), r.dsn(db))
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == "57P03" {
			return false // a busy machine: the servers have not been seen yet
		}
		if err != nil {
			t.Fatalf("connect: %v", err)
		}
		return true
	})
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func queryText(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	var v string
	if err := conn.QueryRow(t.Context(), sql, pgx.QueryExecModeSimpleProtocol).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// servers are the flags for a cluster.
func servers(c *cluster.Cluster) []string {
	args := []string{"--monitor", c.Primary().DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres")}
	for _, a := range c.Addrs() {
		args = append(args, "--node", a)
	}
	return args
}

// freeAddr is an address where nobody listens, and nobody else will: where the
// system has more than one loopback address, it is not everybody's.
func freeAddr(t *testing.T) string {
	t.Helper()
	own := net.JoinHostPort(fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250)), "0")
	l, err := net.Listen("tcp", own)
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// fetch returns a page of --admin, and 0 while there is none.
func fetch(t *testing.T, addr, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestProxyServes(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	admin := freeAddr(t)
	r := start(t, append(servers(c), "--listen", "127.0.0.1:0", "--admin", admin)...)
	r.ready(t)
	conn := r.connect(t, cluster.AppDatabase)
	for _, sql := range []string{"CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	// The catalogue is read again after CREATE; from then on a replica serves.
	eventually(t, "a read on a replica", func() bool {
		if n := queryText(t, conn, "SELECT count(*)::text FROM t"); n != "1" {
			t.Fatalf("a stale read: %s rows", n)
		}
		var node, role, reason, waited string
		if err := conn.QueryRow(t.Context(), "SHOW pgroute.last_route", pgx.QueryExecModeSimpleProtocol).
			Scan(&node, &role, &reason, &waited); err != nil {
			t.Fatal(err)
		}
		return role == "replica"
	})
	t.Run("metrics", func(t *testing.T) { checkMetrics(t, c, admin) })
	t.Run("pages", func(t *testing.T) { checkPages(t, c, admin) })
	t.Run("admin", func(t *testing.T) { checkAdmin(t, c, r) })
	t.Run("wrong password", func(t *testing.T) {
		_, err := pgx.Connect(t.Context(), strings.Replace(r.dsn(cluster.AppDatabase), cluster.AppPassword, "wrong", 1))
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "28P01" {
			t.Errorf("got %v", err)
		}
	})
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if code := r.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

func checkMetrics(t *testing.T, c *cluster.Cluster, admin string) {
	wants := []string{
		`pgroute_reads_total{node="`, `role="replica"} `, "pgroute_floor_wait_seconds_count ", `pgroute_floor_wait_seconds_bucket{le="+Inf"} `,
		`pgroute_fallbacks_total{reason="not_covered"} `, `pgroute_replay_lag_bytes{node="` + c.Replicas()[0].Addr() + `"} `,
		"pgroute_lost_writes_total 0", `pgroute_commits_resolved_total{outcome="committed"} 0`, "pgroute_clients 1", `pgroute_node_up{node="` + c.Primary().Addr() + `",role="primary"} 1`,
		"pgroute_epoch ", "pgroute_tickets_total ", "pgroute_guard_waits_total ", `pgroute_guard_expired_total{outcome="refused"} 0`, "pgroute_position_calls_total ", "pgroute_nudges_total ", "pgroute_leadership 1",
		`pgroute_server_connections{node="` + c.Primary().Addr() + `",state="idle"} `, `pgroute_pool_waiting{node="` + c.Primary().Addr() + `"} 0`,
		`pgroute_pool_wait_seconds_bucket{le="+Inf"} `, "pgroute_pool_wait_seconds_sum ",
		"# TYPE pgroute_writes_total counter", "go_goroutines ", "process_cpu_seconds_total ",
	}
	// On a busy machine a server may seem to be away for a moment.
	var lacks string
	defer func() {
		if t.Failed() {
			t.Logf("/metrics lacks %s", lacks)
		}
	}()
	eventually(t, "/metrics has everything", func() bool {
		code, text := fetch(t, admin, "/metrics")
		if code != http.StatusOK {
			t.Fatalf("%d %s", code, text)
		}
		for _, want := range wants {
			if !strings.Contains(text, want) {
				lacks = want
				return false
			}
		}
		return true
	})
}

func checkPages(t *testing.T, c *cluster.Cluster, admin string) {
	for path, want := range map[string]string{"/livez": "ok\n", "/readyz": "ok\n"} {
		if code, text := fetch(t, admin, path); code != http.StatusOK || text != want {
			t.Errorf("%s: %d %q", path, code, text)
		}
	}
	if code, _ := fetch(t, admin, "/nowhere"); code != http.StatusNotFound {
		t.Errorf("/nowhere: %d", code)
	}
	code, page := fetch(t, admin, "/")
	if code != http.StatusOK || !strings.Contains(page, c.Primary().Addr()) || strings.Contains(page, "http://") || strings.Contains(page, "https://") {
		t.Errorf("/: %d\n%s", code, page)
	}
}

func checkAdmin(t *testing.T, c *cluster.Cluster, r *running) {
	conn := r.connect(t, "pgroute")
	// By both protocols, and in binary.
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement} {
		rows, err := conn.Query(t.Context(), "SHOW NODES;", mode)
		if err != nil {
			t.Fatalf("%v: %v", mode, err)
		}
		nodes, err := pgx.CollectRows(rows, pgx.RowToMap)
		if err != nil || len(nodes) != 3 {
			t.Fatalf("%v: %v, %v", mode, nodes, err)
		}
		for _, n := range nodes {
			if n["port"].(int64) == 0 {
				t.Errorf("%v: %v", mode, n)
			}
		}
		eventually(t, "one node leads and the others are eligible", func() bool {
			rows, err := conn.Query(t.Context(), "SHOW NODES;", mode)
			if err != nil {
				t.Fatalf("%v: %v", mode, err)
			}
			nodes, err := pgx.CollectRows(rows, pgx.RowToMap)
			if err != nil {
				t.Fatalf("%v: %v", mode, err)
			}
			return !slices.ContainsFunc(nodes, func(n map[string]any) bool {
				primary := n["name"] == c.Primary().Addr()
				return n["leader"] != primary || n["eligible"] == primary || (n["lag_bytes"] == nil) != primary
			})
		})
	}
	for _, word := range []string{"POOLS", "SERVERS", "CLIENTS", "STATS", "DATABASES", "CONFIG", "VERSION", "READS", "HELP"} {
		rows, err := conn.Query(t.Context(), "/* psql */ show "+word+" -- now\n;", pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			t.Errorf("SHOW %s: %v", word, err)
			continue
		}
		if _, err := pgx.CollectRows(rows, pgx.RowToMap); err != nil {
			t.Errorf("SHOW %s: %v", word, err)
		}
	}
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement} {
		_, err := conn.Exec(t.Context(), "SELECT 1", mode)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "42601" {
			t.Errorf("%v: %v", mode, err)
		}
	}
	if v := queryText(t, conn, "SHOW VERSION"); !strings.HasPrefix(v, "pgroute ") {
		t.Errorf("after errors: %q", v)
	}
}

// SIGHUP takes the policies of the file over; a bad file changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Replicas: -1})
	name := writeFile(t, "consistency: session\n")
	r := start(t, append(servers(c), "--listen", "127.0.0.1:0", "--config", name, "--wait", "70ms")...)
	r.ready(t)
	conn := r.connect(t, cluster.AppDatabase)
	if v := queryText(t, conn, "SHOW pgroute.consistency"); v != "session" {
		t.Fatalf("consistency is %s", v)
	}
	hup := func(text, logged string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		before := strings.Count(r.log.String(), logged)
		if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, logged, func() bool { return strings.Count(r.log.String(), logged) > before })
	}
	hup("consistency: primary\nwait: 10ms\npool_size: 3\nloops: 2\nrules:\n  - {user: nobody, consistency: strong}\n", "the configuration was read again")
	eventually(t, "the log says that loops needs a restart", func() bool { return strings.Contains(r.log.String(), "keys=[loops]") })
	eventually(t, "the client has the new policy", func() bool {
		return queryText(t, conn, "SHOW pgroute.consistency") == "primary"
	})
	if v := queryText(t, conn, "SHOW pgroute.wait"); v != "70ms" {
		t.Errorf("wait is %s: a flag outranks the file, also now", v)
	}
	hup("consistency: nonsense\n", "the configuration is refused; the old one stays")
	eventually(t, "the log says what is wrong with the file", func() bool { return strings.Contains(r.log.String(), name+":1:14: consistency:") })
	if v := queryText(t, conn, "SHOW pgroute.consistency"); v != "primary" {
		t.Errorf("consistency is %s after a bad file", v)
	}
	if v := queryText(t, r.connect(t, cluster.AppDatabase), "SHOW pgroute.consistency"); v != "primary" {
		t.Errorf("consistency is %s for a new client", v)
	}
	if code := r.end(t, os.Interrupt); code != 0 {
		t.Errorf("exit code %d after SIGINT", code)
	}
}

// That nothing can be reached is not a mistake in the configuration.
func TestProxyWithoutServers(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"servers":   {"--node", freeAddr(t)},
		"ZooKeeper": {"--zookeeper", freeAddr(t), "--path", "/pgroute/x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			admin := freeAddr(t)
			r := start(t, append(args, "--listen", "127.0.0.1:0", "--admin", admin, "--monitor", "postgres://m@h/d", "--log-format", "json")...)
			r.ready(t)
			if code, text := fetch(t, admin, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(text, "no primary") {
				t.Errorf("/readyz: %d %s", code, text)
			}
			if code, _ := fetch(t, admin, "/livez"); code != http.StatusOK {
				t.Errorf("/livez: %d", code)
			}
			if _, text := fetch(t, admin, "/metrics"); strings.Contains(text, "\npgroute_source_age_seconds ") != (name == "ZooKeeper") {
				t.Error("pgroute_source_age_seconds: only ZooKeeper is silent, and from the start")
			}
			eventually(t, "a warning in the log", func() bool { return strings.Contains(r.log.String(), `"level":"WARN"`) })
			if code := r.end(t, syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// A change in ZooKeeper is seen by a running proxy. How soon, the source's own
// tests say.
func TestProxyFollowsZooKeeper(t *testing.T) {
	t.Parallel()
	if !cluster.ZooKeeperInstalled() {
		t.Skip("ZooKeeper is not installed")
	}
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	z := cluster.StartZooKeeper(t, cluster.ZooKeeperOptions{})
	reg, err := zookeeper.NewRegistry(t.Context(), zookeeper.Config{Hosts: z.Addr(), Path: "/pgroute/test"})
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	put := func(n *cluster.Node) {
		t.Helper()
		if err := reg.Put(t.Context(), n.Name, zookeeper.Node{Host: n.Host, Port: n.Port}, false); err != nil {
			t.Fatal(err)
		}
	}
	put(c.Primary())
	if err := reg.SetPrimary(t.Context(), c.Primary().Name); err != nil {
		t.Fatal(err)
	}
	args := []string{"--zookeeper", z.Addr(), "--path", "/pgroute/test", "--monitor",
		c.Primary().DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres")}
	r := start(t, append(args, "--listen", "127.0.0.1:0")...)
	r.ready(t)
	conn := r.connect(t, "pgroute")
	names := func() (list []string) {
		rows, err := conn.Query(t.Context(), "SHOW NODES")
		if err != nil {
			t.Fatal(err)
		}
		nodes, err := pgx.CollectRows(rows, pgx.RowToMap)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			list = append(list, n["name"].(string))
		}
		return list
	}
	eventually(t, "the primary is the only node", func() bool {
		got := names()
		if len(got) > 1 || len(got) == 1 && got[0] != c.Primary().Name {
			t.Fatalf("nodes are %v", got)
		}
		return len(got) == 1
	})
	put(c.Replicas()[0])
	began := time.Now()
	eventually(t, "the new node is seen", func() bool { return len(names()) == 2 })
	t.Logf("the new node was seen after %v", time.Since(began))
	check := invoke(t, append([]string{"check"}, args...)...)
	if check.code != 0 || !strings.Contains(check.out, c.Replicas()[0].Name) {
		t.Errorf("check: code %d\n%s%s", check.code, check.out, check.err)
	}
	if code := r.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := invoke(t, "proxy", "--node", "a:1", "--monitor", "postgres://m@h/d", "--listen", l.Addr().String())
	if r.code != 1 || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, "address already in use") {
		t.Errorf("code %d, stderr %q", r.code, r.err)
	}
}

// After SIGTERM a transaction may end; nobody new is served.
func TestDrain(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Replicas: -1})
	admin := freeAddr(t)
	r := start(t, append(servers(c), "--listen", "127.0.0.1:0", "--admin", admin)...)
	r.ready(t)
	conn := r.connect(t, cluster.AppDatabase)
	for _, sql := range []string{"CREATE TABLE t (a int)", "BEGIN", "INSERT INTO t VALUES (1)"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "/readyz tells", func() bool {
		code, text := fetch(t, admin, "/readyz")
		return code == http.StatusServiceUnavailable && text == "not ready: pgroute is ending\n"
	})
	eventually(t, "nobody new is served", func() bool {
		other, err := net.Dial("tcp", r.addr)
		if err == nil {
			other.Close()
		}
		return err != nil
	})
	if _, err := conn.Exec(t.Context(), "COMMIT"); err != nil {
		t.Errorf("COMMIT: %v", err)
	}
	for range r.lines { // until the end
	}
	if _ = r.cmd.Wait(); r.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("exit code %d", r.cmd.ProcessState.ExitCode())
	}
	if n, err := c.Primary().QueryString(t.Context(), "SELECT count(*) FROM t"); err != nil || n != "1" {
		t.Errorf("%s rows, %v", n, err)
	}
}
