package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router/pgprobe"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// patience bounds every wait. It is long because the machine may be busy.
const patience = 4 * time.Minute

const (
	clusterPath = "/cluster"
	monitorDSN  = "postgres://" + cluster.MonitorUser + ":" + cluster.MonitorPassword + "@x/postgres?sslmode=disable"
	operatorDSN = "postgres://" + cluster.SuperUser + ":" + cluster.SuperPassword + "@x/app?sslmode=disable"
	appDSN      = "postgres://" + cluster.AppUser + ":" + cluster.AppPassword + "@%s/" + cluster.AppDatabase + "?sslmode=disable"
)

// stage is a cluster with a ZooKeeper that describes it, and a schema.
type stage struct {
	db *cluster.Cluster
	zk *cluster.ZooKeeper
}

// shared is the stage of the tests that break nothing.
var shared struct {
	once  sync.Once
	stage *stage
	err   error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if s := shared.stage; s != nil {
		_ = s.zk.Close()
		if err := s.db.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// share returns the stage that tests share: they use seats of their own.
func share(t *testing.T) *stage {
	t.Helper()
	shared.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		shared.stage, shared.err = raise(ctx, cluster.Options{})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.stage
}

// own returns a stage that the test may break.
func own(t *testing.T) *stage {
	t.Helper()
	return ownWith(t, cluster.Options{})
}

// ownWith is own with options for the cluster.
func ownWith(t *testing.T, opts cluster.Options) *stage {
	t.Helper()
	s, err := raise(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.zk.Close()
		if err := s.db.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func raise(ctx context.Context, opts cluster.Options) (*stage, error) {
	db, err := cluster.New(ctx, opts)
	if err != nil {
		return nil, err
	}
	zk, err := cluster.NewZooKeeper(ctx, cluster.ZooKeeperOptions{})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s := &stage{db, zk}
	if err := s.describe(ctx); err != nil {
		return nil, errors.Join(err, zk.Close(), db.Close())
	}
	var out bytes.Buffer
	err = run(ctx, []string{"init", "--dsn", fmt.Sprintf(appDSN, db.Primary().Addr()), "--rooms", "2", "--rows", "10", "--columns", "10"}, &out, io.Discard)
	if err == nil {
		err = db.WaitCaughtUp(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, zk.Close(), db.Close())
	}
	return s, nil
}

// describe writes the cluster into ZooKeeper.
func (s *stage) describe(ctx context.Context) error {
	reg, err := zookeeper.NewRegistry(ctx, zookeeper.Config{Hosts: s.zk.Addr(), Path: clusterPath})
	if err != nil {
		return err
	}
	defer reg.Close()
	for _, n := range s.db.Nodes() {
		if err := reg.Put(ctx, n.Name, zookeeper.Node{Host: n.Host, Port: n.Port}, false); err != nil {
			return err
		}
	}
	return reg.SetPrimary(ctx, s.db.Primary().Name)
}

// logs collects what a process says.
type logs struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// sidecar is a proxy that runs in this process.
type sidecar struct {
	addr string
	stop func()
}

// sidecar starts a proxy before the cluster; on a free port if at is empty.
func (s *stage) sidecar(t *testing.T, at string) *sidecar {
	t.Helper()
	source, err := zookeeper.New(zookeeper.Config{Hosts: s.zk.Addr(), Path: clusterPath})
	if err != nil {
		t.Fatal(err)
	}
	monitor, err := pgprobe.New(pgprobe.Config{DSN: monitorDSN})
	if err != nil {
		t.Fatal(err)
	}
	if at == "" {
		at = "127.0.0.1:0"
	}
	p, err := proxy.New(proxy.Config{Listen: []string{at}, Source: source, Monitor: monitor, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, 0) }()
	select {
	case <-p.Ready():
	case err := <-ended:
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the proxy: %v", err)
		}
		monitor.Close()
	})
	t.Cleanup(stop)
	return &sidecar{p.Addrs()[0].String(), stop}
}

// process is a command that runs in this process.
type process struct {
	name, addr string
	logs       *logs
	stop       func()
}

// start runs a command and waits until it is ready.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	p := &process{name: name, logs: new(logs)}
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, args, in, p.logs)
		in.CloseWithError(io.EOF)
		ended <- err
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, p.logs)
		}
	})
	line := make([]byte, 200)
	n, err := out.Read(line)
	if err != nil {
		t.Fatalf("%s did not start: %v", name, err)
	}
	var ok bool
	if p.addr, ok = strings.CutPrefix(strings.TrimSpace(string(line[:n])), "booking: ready on "); !ok {
		t.Fatalf("%s says %q", name, line[:n])
	}
	return p
}

// instance starts an instance over a sidecar, or with the library if side is
// nil, at the znode path.
func (s *stage) instance(t *testing.T, path, name string, side *sidecar) *process {
	t.Helper()
	args := []string{"serve", "--listen", "127.0.0.1:0", "--name", name, "--zookeeper", s.zk.Addr(), "--path", path, "--operator", operatorDSN}
	if side != nil {
		args = append(args, "--via", "sidecar", "--dsn", fmt.Sprintf(appDSN, side.addr))
	} else {
		args = append(args, "--via", "library", "--cluster-path", clusterPath, "--dsn", fmt.Sprintf(appDSN, "x"), "--monitor", monitorDSN)
	}
	return start(t, name, args...)
}

// keys are what key has returned.
var keys sync.Map

// key returns a word that only this run of this test uses.
func key(t *testing.T) string {
	word := strings.NewReplacer("/", "-", " ", "-", "#", "-", "=", "-").Replace(t.Name())
	unique, _ := keys.LoadOrStore(t, fmt.Sprintf("%s-%d", word, runs.Add(1)))
	return unique.(string)
}

// runs numbers the keys.
var runs atomic.Int64

// path returns a znode that only this run of this test uses.
func path(t *testing.T) string { return "/" + key(t) }

// ways runs a test over both ways to the database.
func ways(t *testing.T, test func(t *testing.T, s *stage, p *process)) {
	s := share(t)
	t.Run("sidecar", func(t *testing.T) { test(t, s, s.instance(t, path(t), "one", s.sidecar(t, ""))) })
	t.Run("library", func(t *testing.T) { test(t, s, s.instance(t, path(t), "one", nil)) })
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("after %s still not: %s", patience, what)
		}
	}
}

// free returns an address that nobody uses now.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
