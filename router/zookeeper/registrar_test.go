package zookeeper_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// registering is a running Registrar.
type registering struct {
	*zookeeper.Registrar
	t     *testing.T
	log   *lockedBuffer
	stop  context.CancelFunc
	ended chan error
}

func register(t *testing.T, cfg zookeeper.Config) *registering {
	t.Helper()
	r := &registering{t: t, log: &lockedBuffer{}, ended: make(chan error, 1)}
	cfg.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	var err error
	r.Registrar, err = zookeeper.NewRegistrar(cfg)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.ended <- r.Run(ctx) }() // Ends with stop; waited for by end.
	t.Cleanup(r.end)
	return r
}

func (r *registering) end() {
	r.stop()
	select {
	case err := <-r.ended:
		r.ended <- nil
		if err != nil {
			r.t.Errorf("Run: %v", err)
		}
	case <-time.After(patience):
		r.t.Error("Run does not end")
	}
}

func (r *registering) wait() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	if err := r.Wait(ctx); err != nil {
		r.t.Fatalf("%v\n%s", err, r.log)
	}
}

func TestRegistrarKeepsWhatItRegistered(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	cfg := zookeeper.Config{Hosts: z.Addr() + "/base", Path: "/p", SessionTimeout: time.Second}
	raw := rawConn(t, z.Addr())
	w := watch(t, cfg)
	r := register(t, cfg)
	must(t, r.Node("n1", zookeeper.Node{Host: "h", Port: 1}))
	must(t, r.Proxy("x:1", zookeeper.Proxy{Host: "x", Listen: []string{"x:6432"}, Version: "v", PID: 7}))
	r.wait()
	w.until("n1", func(c router.Candidates) bool { return names(c) == "n1" })
	proxy := func() *zk.Stat {
		t.Helper()
		data, stat, err := raw.Get("/base/p/proxies/x:1")
		if err == zk.ErrNoNode {
			return nil
		}
		must(t, err)
		var p zookeeper.Proxy
		if err := json.Unmarshal(data, &p); err != nil || p.PID != 7 || p.Listen[0] != "x:6432" || stat.EphemeralOwner == 0 {
			t.Fatalf("the proxy's znode is %s (%v), owner %d", data, err, stat.EphemeralOwner)
		}
		return stat
	}
	owner := proxy().EphemeralOwner

	// It says something else.
	must(t, r.Node("n1", zookeeper.Node{Host: "h", Port: 2}))
	r.wait()
	w.until("n1's new port", func(c router.Candidates) bool { return c.Nodes[0].Port == 2 })

	// Somebody deletes it.
	must(t, raw.Delete("/base/p/nodes/n1", -1))
	eventually(t, "n1's return", func() bool { ok, _, err := raw.Exists("/base/p/nodes/n1"); return ok && err == nil })

	// The session expires while ZooKeeper hangs; if what the client has sent
	// meanwhile is read before that is noticed, it lives on.
	for tries, lives := 1, true; lives; tries++ {
		must(t, z.Stop())
		eventually(t, "an old confirmation", func() bool { c, _ := w.state(); return time.Since(c.Confirmed) > 3*cfg.SessionTimeout })
		must(t, z.Cont())
		again := time.Now()
		raw = rawConn(t, z.Addr())
		eventually(t, "a new confirmation", func() bool { c, _ := w.state(); return c.Confirmed.After(again) })
		var stat *zk.Stat
		eventually(t, "the proxy", func() bool { stat = proxy(); return stat != nil })
		if lives = stat.EphemeralOwner == owner; lives && tries == 10 {
			t.Fatal("the session does not expire")
		}
	}
	r.wait()
	w.until("n1 after all that", func(c router.Candidates) bool { return names(c) == "n1" && c.Nodes[0].Port == 2 })

	r.RemoveNode("n1")
	r.wait()
	w.until("the end of n1", func(c router.Candidates) bool { return len(c.Nodes) == 0 })
	r.end()
	eventually(t, "the end of the proxy", func() bool { return proxy() == nil })
}

func TestRegistrarLeavesOthersAlone(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	cfg := zookeeper.Config{Hosts: z.Addr(), Path: "/p", SessionTimeout: time.Second}
	perm, other := registry(t, cfg), registry(t, cfg)
	must(t, perm.Put(t.Context(), "perm", zookeeper.Node{Host: "h", Port: 1}, false))
	must(t, other.Put(t.Context(), "other", zookeeper.Node{Host: "h", Port: 1}, true))
	must(t, other.Put(t.Context(), "mine", zookeeper.Node{Host: "h", Port: 9}, true))
	raw := rawConn(t, z.Addr())
	_, mine, err := raw.Get("/p/nodes/mine")
	must(t, err)

	w := watch(t, cfg)
	w.until("all three", func(c router.Candidates) bool { return names(c) == "mine,other,perm" })
	r := register(t, cfg)
	must(t, r.Node("perm", zookeeper.Node{Host: "h", Port: 2}))
	must(t, r.Node("other", zookeeper.Node{Host: "h", Port: 2}))
	must(t, r.Node("mine", zookeeper.Node{Host: "h", Port: 9})) // its former life, as it seems
	eventually(t, "two refusals in the log", func() bool { return strings.Count(r.log.String(), "not registered") == 2 })
	eventually(t, "what was mine", func() bool {
		_, stat, err := raw.Get("/p/nodes/mine")
		return err == nil && stat.EphemeralOwner != mine.EphemeralOwner && stat.EphemeralOwner != 0
	})
	for _, name := range []string{"perm", "other"} {
		if data, _, err := raw.Get("/p/nodes/" + name); err != nil || !bytes.Contains(data, []byte(`"port":1`)) {
			t.Errorf("%s is %s: %v", name, data, err)
		}
	}
	must(t, other.Close())
	w.until("other, now registered", func(c router.Candidates) bool { return names(c) == "mine,other,perm" && c.Nodes[1].Port == 2 })
	if n := strings.Count(r.log.String(), "not registered"); n != 2 {
		t.Errorf("%d refusals in the log", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Wait(ctx); err == nil || !strings.Contains(err.Error(), "nodes/perm") {
		t.Errorf("Wait: %v", err)
	}
}

func TestRegistrarChecksWhatItRegisters(t *testing.T) {
	r, err := zookeeper.NewRegistrar(zookeeper.Config{Hosts: "zk", Path: "/p"})
	must(t, err)
	if r.Node("a/b", zookeeper.Node{Host: "h", Port: 1}) == nil || r.Node("n", zookeeper.Node{Host: "h"}) == nil || r.Proxy("", zookeeper.Proxy{}) == nil {
		t.Error("registered what cannot be")
	}
	if _, err := zookeeper.NewRegistrar(zookeeper.Config{Hosts: "zk", Path: "p"}); err == nil {
		t.Error("no error for a bad path")
	}
}

func TestConfigIsWatched(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	cfg := zookeeper.Config{Hosts: z.Addr(), Path: "/p", SessionTimeout: 3 * time.Second}
	got := make(chan zookeeper.Document, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- zookeeper.WatchConfig(ctx, cfg, func(d zookeeper.Document) { got <- d }) }()
	next := func(want string, exists bool) zookeeper.Document {
		t.Helper()
		select {
		case d := <-got:
			if string(d.Data) != want || d.Exists != exists || d.Confirmed.IsZero() {
				t.Fatalf("published %+v, want %q", d, want)
			}
			return d
		case <-time.After(patience):
			t.Fatalf("waiting for %q in vain", want)
			return zookeeper.Document{}
		}
	}
	next("", false)
	raw := rawConn(t, z.Addr())
	create(t, raw, "/p/config", "wait: 5ms\n")
	first := next("wait: 5ms\n", true)
	_, err := raw.Set("/p/config", []byte("wait: 5ms\n"), -1) // no news
	must(t, err)
	_, err = raw.Set("/p/config", []byte("wait: 6ms\n"), -1)
	must(t, err)
	if d := next("wait: 6ms\n", true); d.Version != first.Version+2 {
		t.Errorf("version %d after %d", d.Version, first.Version)
	}
	must(t, z.Kill())
	must(t, z.Start(t.Context()))
	raw = rawConn(t, z.Addr())
	must(t, raw.Delete("/p/config", -1))
	next("", false)
	cancel()
	must(t, <-ended)
	if err := zookeeper.WatchConfig(t.Context(), zookeeper.Config{}, nil); err == nil {
		t.Error("no error without hosts")
	}
}
