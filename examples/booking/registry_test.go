package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/internal/cluster"
)

// keeper is a ZooKeeper client of the test's own.
func (s *stage) keeper(t *testing.T) *zk.Conn {
	t.Helper()
	conn, _, err := zk.Connect([]string{s.zk.Addr()}, 10*time.Second, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// state is the answer to a question for the state.
type state struct {
	Instance  string
	Instances []struct {
		Name, Addr, Via string
		Self            bool
	}
	Nodes []struct {
		Name, Role            string
		LagBytes              int64 `json:"lag_bytes"`
		Paused, Healthy, Late bool
	}
	Config struct {
		Consistency, Wait string
		OnTimeout         string `json:"on_timeout"`
	}
	Registry string
}

func (p *process) state(t *testing.T) state {
	t.Helper()
	r := p.send(t, "GET", "/api/state", "")
	var s state
	r.has(t, &s)
	if r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	return s
}

func (s state) names() string {
	var names []string
	for _, i := range s.Instances {
		names = append(names, i.Name)
	}
	return strings.Join(names, " ")
}

func TestInstancesFollowTheCentralConfiguration(t *testing.T) {
	s := share(t)
	a := s.instance(t, path(t), "a", s.sidecar(t, ""))
	b := s.instance(t, path(t), "b", nil)
	for _, p := range []*process{a, b} {
		until(t, p.name+" knows both", func() bool { return p.state(t).names() == "a b" })
		got := p.state(t)
		if got.Instance != p.name || got.Registry != "connected" || len(got.Nodes) != 3 || got.Nodes[0].Role != "primary" || !got.Nodes[1].Healthy {
			t.Errorf("%s: %+v", p.name, got)
		}
		if got.Config.Consistency != "session" || got.Config.Wait != "100ms" || got.Config.OnTimeout != "primary" {
			t.Errorf("without a configuration it is %+v", got.Config)
		}
		if got.Instances[0].Via != "sidecar" || got.Instances[1].Via != "library" || got.Instances[0].Self != (p == a) {
			t.Errorf("%s: %+v", p.name, got.Instances)
		}
	}
	follows := func(level, wait string) {
		t.Helper()
		for _, p := range []*process{a, b} {
			until(t, fmt.Sprintf("%s reads at %s", p.name, level), func() bool {
				c := p.state(t).Config
				return c.Consistency == level && c.Wait == wait
			})
			if got := p.look(t, 1, 1); got.Route.Level != level {
				t.Errorf("%s reads at %s, want %s", p.name, got.Route.Level, level)
			}
		}
	}
	if r := a.send(t, "PUT", "/api/config", `{"consistency":"strong"}`); r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	follows("strong", "100ms")

	// Somebody edits the document by hand.
	conn, config := s.keeper(t), path(t)+"/config"
	write := func(text string) {
		t.Helper()
		if _, err := conn.Set(config, []byte(text), -1); err != nil {
			t.Fatal(err)
		}
	}
	write("consistency: eventual\nwait: 1s\n")
	follows("eventual", "1s")
	for _, bad := range []string{"consistency: sometimes", "consistncy: strong", "wait: [", "wait: 1h"} {
		refused := func(p *process) int { return strings.Count(p.logs.String(), "the central configuration is refused") }
		before := []int{refused(a), refused(b)}
		write(bad)
		until(t, fmt.Sprintf("both refuse %q", bad), func() bool { return refused(a) > before[0] && refused(b) > before[1] })
		follows("eventual", "1s")
	}
	// A change heals it.
	if r := b.send(t, "PUT", "/api/config", `{"consistency":"session","on_timeout":"error"}`); r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	follows("session", "1s")
	if err := conn.Delete(config, -1); err != nil {
		t.Fatal(err)
	}
	follows("session", "100ms")
}

func TestInstanceOutlivesZooKeeper(t *testing.T) {
	s := own(t)
	p := s.instance(t, "/b", "one", s.sidecar(t, ""))
	l := s.instance(t, "/b", "two", nil)
	lb := start(t, "balancer", "balance", "--listen", "127.0.0.1:0", "--zookeeper", s.zk.Addr(), "--path", "/b")
	if r := p.send(t, "PUT", "/api/config", `{"consistency":"strong"}`); r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	both := func(what string, ok func(state) bool) {
		t.Helper()
		for _, i := range []*process{p, l} {
			until(t, i.name+" "+what, func() bool { return ok(i.state(t)) })
		}
	}
	both("is configured and knows both", func(s state) bool { return s.Config.Consistency == "strong" && s.names() == "one two" })
	until(t, "the balancer knows both", func() bool { return strings.Contains(lb.send(t, "GET", "/healthz", "").body, `"instances":2`) })

	if err := s.zk.Kill(); err != nil {
		t.Fatal(err)
	}
	both("has noticed", func(s state) bool { return s.Registry == "lost" })
	// Everything goes on as it was configured last.
	both("goes on", func(s state) bool { return s.Config.Consistency == "strong" && s.names() == "one two" })
	for i, via := range []*process{p, l, lb} {
		seat := int64(i + 1)
		via.book(t, fmt.Sprintf("%s-%d", key(t), i), 1, seat)
		for range 4 {
			if got := via.look(t, 1, seat); !got.Seats[0].Taken || got.Route.Level != "strong" {
				t.Errorf("over %s: %+v", via.name, got)
			}
		}
	}
	if r := p.send(t, "PUT", "/api/config", `{"consistency":"eventual"}`); r.status != http.StatusServiceUnavailable || r.code() != "registry_lost" || r.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", r.status, r.body)
	}

	if err := s.zk.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	both("is back", func(s state) bool { return s.Registry == "connected" && s.names() == "one two" })
	until(t, "the configuration can be changed", func() bool {
		return p.send(t, "PUT", "/api/config", `{"consistency":"session"}`).status == http.StatusOK
	})
	both("follows", func(s state) bool { return s.Config.Consistency == "session" })
}

func TestExpiredInstanceRegistersAgain(t *testing.T) {
	s := share(t)
	wire, err := cluster.NewRelay(s.zk.Addr(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = wire.Close() })
	conn, znode := s.keeper(t), path(t)+"/instances/one"
	p := start(t, "one", "serve", "--listen", "127.0.0.1:0", "--name", "one", "--zookeeper", wire.Addr(), "--path", path(t),
		"--dsn", fmt.Sprintf(appDSN, s.sidecar(t, "").addr))
	_, before, err := conn.Exists(znode)
	if err != nil {
		t.Fatal(err)
	}
	data, _, err := conn.Get(znode)
	if err != nil {
		t.Fatal(err)
	}
	var i struct {
		Name, Addr, Mode, Started string
		PID                       int
	}
	if err := json.Unmarshal(data, &i); err != nil || i.Name != "one" || i.Addr != p.addr || i.Mode != "sidecar" || i.PID == 0 || i.Started == "" {
		t.Errorf("it registered as %s (%v)", data, err)
	}
	wire.Cut()
	until(t, "ZooKeeper has given the session up", func() bool {
		exists, _, err := conn.Exists(znode)
		return err == nil && !exists
	})
	p.book(t, key(t), 1, newSeat())
	wire.Heal()
	wire.Drop()
	until(t, "the instance is registered again", func() bool {
		exists, after, err := conn.Exists(znode)
		return err == nil && exists && after.EphemeralOwner != before.EphemeralOwner
	})
	until(t, "it says so", func() bool { got := p.state(t); return got.Registry == "connected" && got.names() == "one" })

	// Somebody has removed it by hand: it comes back.
	if err := conn.Delete(znode, -1); err != nil {
		t.Fatal(err)
	}
	until(t, "the instance is registered once more", func() bool {
		exists, _, err := conn.Exists(znode)
		return err == nil && exists
	})
}

func TestNameInUseIsWaitedFor(t *testing.T) {
	s := share(t)
	side := s.sidecar(t, "")
	first := s.instance(t, path(t), "same", side)
	// It serves at once, and is ready when it has waited for its name in vain.
	second := s.instance(t, path(t), "same", side)
	if !strings.Contains(second.logs.String(), "the name of this instance is in use") {
		t.Errorf("it says %s", second.logs)
	}
	if got := second.state(t); len(got.Instances) != 1 || got.Instances[0].Addr != first.addr {
		t.Errorf("the registry says %+v", got.Instances)
	}
	first.stop()
	until(t, "the second has taken the name", func() bool {
		got := second.state(t)
		return len(got.Instances) == 1 && got.Instances[0].Addr == second.addr
	})
}
