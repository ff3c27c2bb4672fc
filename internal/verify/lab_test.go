package verify_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/internal/verify"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// patience is how long a test waits for what is to happen, on a busy machine.
const patience = 5 * time.Minute

// monitorDSN is how routers enter servers. Host and port are ignored.
const monitorDSN = "postgres://" + cluster.MonitorUser + ":" + cluster.MonitorPassword + "@x/postgres?sslmode=disable"

// source names servers, and which of them may take writes, as a test says.
type source struct {
	mu      sync.Mutex // guards the fields below
	now     router.Candidates
	changed chan struct{} // closed by the next change
}

func newSource(nodes ...*cluster.Node) *source {
	s := &source{changed: make(chan struct{})}
	s.set(nodes[0].Addr(), nodes...)
	return s
}

func (s *source) set(primary string, nodes ...*cluster.Node) {
	c := router.Candidates{NamesPrimary: true, Primary: primary}
	for _, n := range nodes {
		c.Nodes = append(c.Nodes, router.Candidate{Addr: router.Addr{Name: n.Addr(), Host: n.Host, Port: n.Port}})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = c
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *source) Watch(ctx context.Context, publish func(router.Candidates)) error {
	for {
		s.mu.Lock()
		c, changed := s.now, s.changed
		s.mu.Unlock()
		c.Confirmed = time.Now()
		publish(c)
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// startProxy starts one in this process and returns a target for it. It ends
// with the test.
func startProxy(t *testing.T, name string, src router.Source, replicas int) verify.Target {
	t.Helper()
	monitor, err := pgprobe.New(pgprobe.Config{DSN: monitorDSN})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() && os.Getenv("PGROUTE_VERIFY_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("proxy", name)
	}
	srv, err := proxy.New(proxy.Config{Listen: []string{"127.0.0.1:0"}, Source: src, Monitor: monitor, Auth: proxy.AuthTrust, Logger: log, PrimaryWait: patience, LeaseWait: patience})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	// Ends with cancel; the cleanup waits for it.
	go func() { ended <- srv.Run(ctx, 0) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("proxy %s: %v", name, err)
		}
		if err := monitor.Close(); err != nil {
			t.Errorf("close the prober: %v", err)
		}
	})
	select {
	case <-srv.Ready():
	case <-time.After(patience):
		t.Fatalf("proxy %s is not ready", name)
	}
	wait, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if err := srv.Router().WaitTopology(wait, func(t *router.Topology) bool { return t.Primary != nil && t.Replicas() == replicas }); err != nil {
		t.Fatal(err)
	}
	return verify.Target{Name: name, DSN: "postgres://" + cluster.AppUser + ":" + cluster.AppPassword + "@" + srv.Addrs()[0].String() + "/" + cluster.AppDatabase + "?sslmode=disable"}
}

// text is the report as people see it.
func text(t *testing.T, r *verify.Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// jitter lets the replicas of c stand still and go on, one after the other,
// until ctx ends. The test waits for it by the channel that it returns.
func jitter(ctx context.Context, t *testing.T, c *cluster.Cluster) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			n := c.Replicas()[i%len(c.Replicas())]
			if err := n.PauseReplay(context.WithoutCancel(ctx)); err != nil {
				t.Error(err)
				return
			}
			pass(ctx, 150*time.Millisecond)
			if err := n.ResumeReplay(context.WithoutCancel(ctx)); err != nil {
				t.Error(err)
				return
			}
			pass(ctx, 50*time.Millisecond)
		}
	}()
	return done
}

// pass lets time pass.
func pass(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}
