package zookeeper_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/zookeeper"
)

const patience = 2 * time.Minute

// watching is a running Watch and what it published.
type watching struct {
	t       *testing.T
	updates chan struct{} // holds a token when there is something new
	log     *lockedBuffer
	stop    context.CancelFunc
	ended   chan error

	mu    sync.Mutex // guards the fields below
	last  router.Candidates
	count int
	gap   time.Duration // the longest between two confirmations
	flips int           // of Primary
	bad   []string
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
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

// watch runs a Source of our own layout until the test ends, and checks that
// nothing of it is left then.
func watch(t *testing.T, cfg zookeeper.Config) *watching {
	t.Helper()
	return watchWith(t, cfg, zookeeper.New)
}

// watchPatroni is watch for Patroni's layout.
func watchPatroni(t *testing.T, cfg zookeeper.Config) *watching {
	t.Helper()
	return watchWith(t, cfg, zookeeper.NewPatroni)
}

func watchWith(t *testing.T, cfg zookeeper.Config, source func(zookeeper.Config) (*zookeeper.Source, error)) *watching {
	t.Helper()
	w := &watching{t: t, updates: make(chan struct{}, 1), log: &lockedBuffer{}, ended: make(chan error, 1)}
	cfg.Logger = slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	cfg.Trace.BadNode = func(name string, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.bad = append(w.bad, name)
	}
	src, err := source(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	go func() {
		w.ended <- src.Watch(ctx, func(c router.Candidates) {
			w.mu.Lock()
			if w.count > 0 {
				w.gap = max(w.gap, c.Confirmed.Sub(w.last.Confirmed))
				if c.Primary != w.last.Primary {
					w.flips++
				}
			}
			w.last = c
			w.count++
			w.mu.Unlock()
			select {
			case w.updates <- struct{}{}:
			default:
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-w.ended:
			if err != nil {
				t.Errorf("Watch: %v", err)
			}
		case <-time.After(patience):
			t.Error("Watch does not end")
		}
		if t.Failed() {
			t.Logf("log:\n%s", w.log)
		}
	})
	return w
}

func (w *watching) state() (router.Candidates, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last, w.count
}

// until waits for something to be published that satisfies ok.
func (w *watching) until(what string, ok func(router.Candidates) bool) router.Candidates {
	w.t.Helper()
	deadline := time.After(patience)
	for {
		if c, n := w.state(); n > 0 && ok(c) {
			return c
		}
		select {
		case <-w.updates:
		case err := <-w.ended:
			w.ended <- err
			w.t.Fatalf("waiting for %s: Watch ended: %v", what, err)
		case <-deadline:
			c, n := w.state()
			w.t.Fatalf("waiting for %s: last of %d is %+v", what, n, c)
		}
	}
}

// eventually waits for a condition that nobody announces.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waiting in vain for %s", what)
		}
	}
}

// noLeaks checks at the end of the test that no goroutine of go-zookeeper or
// of this package is left. Call it first.
func noLeaks(t *testing.T) {
	t.Cleanup(func() {
		eventually(t, "the end of all goroutines", func() bool {
			buf := make([]byte, 1<<20)
			stacks := string(buf[:runtime.Stack(buf, true)])
			return !strings.Contains(stacks, "go-zookeeper/zk.") && !strings.Contains(stacks, "router/zookeeper.")
		})
	})
}

func names(c router.Candidates) string {
	var all []string
	for _, n := range c.Nodes {
		all = append(all, n.Name)
	}
	return strings.Join(all, ",")
}

func startZooKeeper(t *testing.T) *cluster.ZooKeeper {
	t.Helper()
	if testing.Short() || !cluster.ZooKeeperInstalled() {
		t.Skip("needs ZooKeeper, and takes seconds")
	}
	return cluster.StartZooKeeper(t, cluster.ZooKeeperOptions{})
}

// registry opens a Registry with a session that a busy machine does not lose,
// however short that of cfg is: its calls fail with the connection.
func registry(t *testing.T, cfg zookeeper.Config) *zookeeper.Registry {
	t.Helper()
	cfg.SessionTimeout = 0 // the default, and as much as ZooKeeper grants
	r, err := zookeeper.NewRegistry(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rawConn is a plain client for what Registry refuses to do.
func rawConn(t *testing.T, addr string) *zk.Conn {
	t.Helper()
	c, _, err := zk.Connect([]string{addr}, 10*time.Second, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestTopologyFollowsZooKeeper(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	cfg := zookeeper.Config{Hosts: z.Addr() + "/base", Path: "/pgroute/booking", SessionTimeout: 4 * time.Second}
	ctx := t.Context()

	// Nothing is there yet: a topology without anybody, and nothing is created.
	w := watch(t, cfg)
	c := w.until("the first answer", func(router.Candidates) bool { return true })
	if len(c.Nodes) != 0 || !c.NamesPrimary || c.Primary != "" || c.ValidFor != cfg.SessionTimeout {
		t.Fatalf("before anything exists: %+v", c)
	}
	raw := rawConn(t, z.Addr())
	if exists, _, err := raw.Exists("/base"); err != nil || exists {
		t.Fatalf("the source created its path (%v, %v)", exists, err)
	}

	r := registry(t, cfg)
	must(t, r.Put(ctx, "n1", zookeeper.Node{Host: "127.0.0.1", Port: 5001, Weight: 2, Zone: "a", Tags: map[string]string{"k": "v"}}, false))
	c = w.until("n1", func(c router.Candidates) bool { return names(c) == "n1" })
	if got := c.Nodes[0]; got.Host != "127.0.0.1" || got.Port != 5001 || got.Weight != 2 || got.Zone != "a" || got.Tags["k"] != "v" {
		t.Fatalf("n1 is %+v", got)
	}
	if exists, _, err := raw.Exists("/base/pgroute/booking/nodes/n1"); err != nil || !exists {
		t.Fatalf("the chroot was not honoured (%v, %v)", exists, err)
	}
	must(t, r.Put(ctx, "n2", zookeeper.Node{Host: "127.0.0.1", Port: 5002}, true))
	must(t, r.SetPrimary(ctx, "n1"))
	w.until("n1 as the primary of two", func(c router.Candidates) bool { return names(c) == "n1,n2" && c.Primary == "n1" })

	must(t, r.Put(ctx, "n2", zookeeper.Node{Host: "127.0.0.1", Port: 6002}, true))
	w.until("n2's new port", func(c router.Candidates) bool { return len(c.Nodes) == 2 && c.Nodes[1].Port == 6002 })
	must(t, r.Put(ctx, "n2", zookeeper.Node{Host: "127.0.0.1", Port: 6002, Tags: map[string]string{"noloadbalance": "true"}}, true))
	w.until("n2 without reads", func(c router.Candidates) bool { return c.Nodes[1].NoReads == "tag noloadbalance" })
	must(t, r.Put(ctx, "n2", zookeeper.Node{Host: "127.0.0.1", Port: 6002}, true))
	w.until("n2 with reads", func(c router.Candidates) bool { return c.Nodes[1].NoReads == "" })
	must(t, r.SetPrimary(ctx, "n2"))
	w.until("n2 as the primary", func(c router.Candidates) bool { return c.Primary == "n2" })
	must(t, r.SetPrimary(ctx, "stranger"))
	w.until("a primary that is no node", func(c router.Candidates) bool { return c.Primary == "stranger" })
	must(t, r.SetPrimary(ctx, ""))
	w.until("no primary", func(c router.Candidates) bool { return c.Primary == "" })
	must(t, r.SetPrimary(ctx, "n1"))
	w.until("n1 as the primary again", func(c router.Candidates) bool { return c.Primary == "n1" })

	must(t, r.Delete(ctx, "n1"))
	must(t, r.Delete(ctx, "n1")) // Twice is no error.
	w.until("n2 alone", func(c router.Candidates) bool { return names(c) == "n2" && c.Primary == "n1" })
	must(t, r.Put(ctx, "n1", zookeeper.Node{Host: "127.0.0.1", Port: 5001}, false))
	w.until("n1 again", func(c router.Candidates) bool { return names(c) == "n1,n2" })

	// An ephemeral node goes with its registry.
	must(t, r.Close())
	w.until("n1 without the ephemeral n2", func(c router.Candidates) bool { return names(c) == "n1" })

	// The whole tree goes and comes back.
	for _, path := range []string{"/nodes/n1", "/nodes", "/primary", ""} {
		must(t, raw.Delete("/base/pgroute/booking"+path, -1))
	}
	w.until("an empty topology", func(c router.Candidates) bool { return len(c.Nodes) == 0 && c.Primary == "" })
	r = registry(t, cfg)
	must(t, r.Put(ctx, "n9", zookeeper.Node{Host: "::1", Port: 5009}, false))
	must(t, r.SetPrimary(ctx, "n9"))
	w.until("n9", func(c router.Candidates) bool { return names(c) == "n9" && c.Primary == "n9" })
}

func TestChangeOfPrimaryIsSeenWithinASecond(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	cfg := zookeeper.Config{Hosts: z.Addr(), Path: "/p"}
	r := registry(t, cfg)
	w := watch(t, cfg)
	const changes = 100
	var worst time.Duration
	late := 0
	for i := range changes {
		name := []string{"n1", "n2"}[i%2]
		must(t, r.SetPrimary(t.Context(), name))
		start := time.Now()
		w.until("the change of primary", func(c router.Candidates) bool { return c.Primary == name })
		took := time.Since(start)
		worst = max(worst, took)
		if took > time.Second {
			late++
		}
	}
	t.Logf("the slowest of %d changes was seen after %s", changes, worst)
	// A busy machine stands still now and then. A source that looks only as
	// often as it confirms, every 3.3 seconds here, would be late most times.
	if late > changes/10 {
		t.Fatalf("%d of %d changes of the primary were seen after more than a second, the last after %s", late, changes, worst)
	}
}

func TestMalformedNodeKeepsItsLastGoodState(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	cfg := zookeeper.Config{Hosts: z.Addr(), Path: "/p"}
	ctx := t.Context()
	r := registry(t, cfg)
	raw := rawConn(t, z.Addr())
	must(t, r.Put(ctx, "good", zookeeper.Node{Host: "h", Port: 1}, false))
	must(t, r.Put(ctx, "turns", zookeeper.Node{Host: "h", Port: 2}, false))
	_, err := raw.Create("/p/nodes/never", []byte("{"), 0, zk.WorldACL(zk.PermAll))
	must(t, err)

	w := watch(t, cfg)
	w.until("the good ones", func(c router.Candidates) bool { return names(c) == "good,turns" })

	set := func(name, data string) {
		t.Helper()
		_, err := raw.Set("/p/nodes/"+name, []byte(data), -1)
		must(t, err)
		// What comes after it shows that it was seen.
		must(t, r.SetPrimary(ctx, name+data))
		w.until("what was written after "+data, func(c router.Candidates) bool { return c.Primary == name+data })
	}
	check := func(port int, bad int) {
		t.Helper()
		c, _ := w.state()
		if names(c) != "good,turns" || c.Nodes[0].Port != 1 || c.Nodes[1].Port != port {
			t.Fatalf("nodes are %+v, want the port of turns to be %d", c.Nodes, port)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.bad) != bad {
			t.Fatalf("told of malformed nodes %v, want %d", w.bad, bad)
		}
		if n := strings.Count(w.log.String(), "malformed node"); n != bad {
			t.Fatalf("%d warnings, want %d", n, bad)
		}
	}
	check(2, 1)
	set("turns", "garbage")
	check(2, 2)
	set("turns", `{"host":"","port":3}`)
	check(2, 3)
	set("turns", `{"host":"h","port":4}`)
	check(4, 3)
	set("turns", `{"host":"h","port":99999}`)
	check(4, 4)

	// Who goes and comes back malformed has no good state.
	must(t, r.Delete(ctx, "turns"))
	w.until("the end of turns", func(c router.Candidates) bool { return names(c) == "good" })
	_, err = raw.Create("/p/nodes/turns", []byte("{"), 0, zk.WorldACL(zk.PermAll))
	must(t, err)
	set("never", `{"host":"h","port":7}`)
	if c, _ := w.state(); names(c) != "good,never" {
		t.Fatalf("nodes are %+v", c.Nodes)
	}
}

func TestConfirmationGoesOnWithoutChanges(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	// The pace is a third of the timeout. The rest is for a busy machine.
	cfg := zookeeper.Config{Hosts: z.Addr(), Path: "/p", SessionTimeout: 6 * time.Second}
	w := watch(t, cfg)
	w.until("four confirmations", func(router.Candidates) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.count >= 4
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gap > cfg.SessionTimeout {
		t.Fatalf("confirmations are up to %s apart, the session timeout is %s", w.gap, cfg.SessionTimeout)
	}
}

func TestTopologyStandsWhileZooKeeperIsDead(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	cfg := zookeeper.Config{Hosts: z.Addr(), Path: "/p", SessionTimeout: time.Second}
	ctx := t.Context()
	r := registry(t, cfg)
	must(t, r.Put(ctx, "n1", zookeeper.Node{Host: "h", Port: 1}, false))
	must(t, r.SetPrimary(ctx, "n1"))
	w := watch(t, cfg)
	w.until("n1", func(c router.Candidates) bool { return names(c) == "n1" && c.Primary == "n1" })

	for round := range 2 {
		must(t, z.Kill())
		killed := time.Now()
		eventually(t, "an old confirmation", func() bool {
			c, _ := w.state()
			return time.Since(c.Confirmed) > 2*cfg.SessionTimeout
		})
		c, _ := w.state()
		if names(c) != "n1" || c.Primary == "" || c.Confirmed.After(killed) {
			t.Fatalf("while ZooKeeper was dead: %+v", c)
		}
		must(t, z.Start(ctx))
		back := time.Now()
		w.until("a confirmation after the restart", func(c router.Candidates) bool { return c.Confirmed.After(back) })
		want := []string{"n2", "n3"}[round]
		// Through a session of its own: that of r may have expired.
		must(t, registry(t, cfg).SetPrimary(ctx, want))
		w.until("a change after the restart", func(c router.Candidates) bool { return c.Primary == want })
	}
	// Each loss and each return was told once. On a busy machine a session may
	// have been lost besides.
	var told []string
	for line := range strings.Lines(w.log.String()) {
		switch {
		case strings.Contains(line, "does not answer"):
			told = append(told, "lost")
		case strings.Contains(line, "is back"):
			told = append(told, "back")
		}
	}
	for i, what := range told {
		if want := []string{"lost", "back"}[i%2]; what != want {
			t.Errorf("%v were told: each should be once, by turns", told)
			break
		}
	}
	if len(told) < 4 || len(told)%2 != 0 {
		t.Errorf("%v were told, want two losses and two returns at least", told)
	}
}

func TestExpiredSessionIsReplaced(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	cfg := zookeeper.Config{Hosts: z.Addr(), Path: "/p", SessionTimeout: time.Second}
	ctx := t.Context()
	must(t, registry(t, cfg).Put(ctx, "n1", zookeeper.Node{Host: "h", Port: 1}, false))
	w := watch(t, cfg)
	w.until("n1", func(c router.Candidates) bool { return names(c) == "n1" })

	// A server that hangs longer than the session lasts: the sockets stay open.
	must(t, z.Stop())
	eventually(t, "an old confirmation", func() bool {
		c, _ := w.state()
		return time.Since(c.Confirmed) > 3*cfg.SessionTimeout
	})
	must(t, z.Cont())
	back := time.Now()
	w.until("a confirmation by the new session", func(c router.Candidates) bool { return c.Confirmed.After(back) })
	r := registry(t, cfg)
	for _, name := range []string{"n2", "n3", "n4"} {
		must(t, r.Put(ctx, name, zookeeper.Node{Host: "h", Port: 2}, false))
		w.until(name, func(c router.Candidates) bool { return strings.HasSuffix(names(c), name) })
	}
	must(t, r.SetPrimary(ctx, "n3"))
	w.until("the primary", func(c router.Candidates) bool { return c.Primary == "n3" })
}

func TestDigestIsNeededAndEnough(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	open := zookeeper.Config{Hosts: z.Addr(), Path: "/p", SessionTimeout: time.Second}
	secret := open
	secret.Auth = "pgroute:s3cret"
	r := registry(t, secret)
	must(t, r.Put(t.Context(), "n1", zookeeper.Node{Host: "h", Port: 1}, false))

	with, without := watch(t, secret), watch(t, open)
	with.until("n1", func(c router.Candidates) bool { return names(c) == "n1" })
	eventually(t, "the refusal in the log", func() bool {
		return strings.Contains(without.log.String(), "cannot be read")
	})
	if _, n := without.state(); n != 0 {
		t.Fatal("something was published that could not be read")
	}
	// The credentials go along to the next session.
	must(t, z.Kill())
	must(t, z.Start(t.Context()))
	back := time.Now()
	with.until("a confirmation after the restart", func(c router.Candidates) bool { return c.Confirmed.After(back) })
	if n := strings.Count(without.log.String(), "cannot be read"); n != 1 {
		t.Errorf("the refusal was told %d times", n)
	}
}

func TestSourceStartsBeforeZooKeeper(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	must(t, z.Kill())
	w := watch(t, zookeeper.Config{Hosts: z.Addr(), Path: "/p", SessionTimeout: time.Second})
	eventually(t, "the absence in the log", func() bool { return strings.Contains(w.log.String(), "does not answer") })
	must(t, z.Start(t.Context()))
	w.until("the first answer", func(router.Candidates) bool { return true })
}

func TestWatchEndsWhereverItIs(t *testing.T) {
	t.Run("nobody listens", func(t *testing.T) {
		noLeaks(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		addr := l.Addr().String()
		must(t, l.Close())
		w := watch(t, zookeeper.Config{Hosts: addr, Path: "/p", SessionTimeout: time.Second})
		eventually(t, "the absence in the log", func() bool { return strings.Contains(w.log.String(), "does not answer") })
	})
	t.Run("somebody accepts and says nothing", func(t *testing.T) {
		noLeaks(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		w := watch(t, zookeeper.Config{Hosts: l.Addr().String(), Path: "/p"})
		accepted, err := l.Accept()
		must(t, err)
		defer accepted.Close()
		_ = w
	})
	t.Run("somebody talks garbage", func(t *testing.T) {
		noLeaks(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		w := watch(t, zookeeper.Config{Hosts: l.Addr().String(), Path: "/p", SessionTimeout: time.Second})
		accepted, err := l.Accept()
		must(t, err)
		_, _ = accepted.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		must(t, accepted.Close())
		eventually(t, "the absence in the log", func() bool { return strings.Contains(w.log.String(), "does not answer") })
	})
	t.Run("at once", func(t *testing.T) {
		noLeaks(t)
		src, err := zookeeper.New(zookeeper.Config{Hosts: "127.0.0.1:1", Path: "/p"})
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		must(t, src.Watch(ctx, func(router.Candidates) { t.Error("published") }))
	})
	t.Run("ZooKeeper hangs", func(t *testing.T) {
		z := startZooKeeper(t)
		noLeaks(t)
		w := watch(t, zookeeper.Config{Hosts: z.Addr(), Path: "/p", SessionTimeout: 4 * time.Second})
		w.until("the first answer", func(router.Candidates) bool { return true })
		must(t, z.Stop())
		t.Cleanup(func() { must(t, z.Cont()) })
	})
}

func TestRegistryRefusesWhatSourceWould(t *testing.T) {
	r := registry(t, zookeeper.Config{Hosts: "127.0.0.1:1", Path: "/p"})
	for _, name := range []string{"", ".", "..", "a/b", "\x00"} {
		if err := r.Put(t.Context(), name, zookeeper.Node{Host: "h", Port: 1}, false); err == nil {
			t.Errorf("put a node named %q", name)
		}
	}
	if err := r.Put(t.Context(), "n", zookeeper.Node{Host: "h"}, false); err == nil {
		t.Error("put a node without a port")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Put(ctx, "n", zookeeper.Node{Host: "h", Port: 1}, false); err == nil {
		t.Error("put a node under a context that has ended")
	}
}
