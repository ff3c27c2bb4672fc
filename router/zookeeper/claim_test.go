package zookeeper_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/router/zookeeper"
)

func TestClaimPrimary(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	cfg := zookeeper.Config{Hosts: z.Addr(), Path: "/p"}
	reg := registry(t, cfg)
	raw := rawConn(t, z.Addr())
	primary := func(want string) {
		t.Helper()
		data, _, err := raw.Get("/p/primary")
		if want == "" {
			if !errors.Is(err, zk.ErrNoNode) {
				t.Fatalf("PATH/primary is %q, %v", data, err)
			}
			return
		}
		if err != nil || string(data) != want {
			t.Fatalf("PATH/primary is %q, %v; want %q", data, err, want)
		}
	}
	claim := func(name string, timeline uint32, want bool) {
		t.Helper()
		written, err := reg.ClaimPrimary(t.Context(), zookeeper.Claim{Name: name, SystemID: 1 << 63, Timeline: timeline})
		must(t, err)
		if written != want {
			t.Fatalf("written: %t", written)
		}
		primary(name)
	}
	refused := func(name string, system uint64, timeline uint32, want string) {
		t.Helper()
		before, _, _ := raw.Get("/p/primary")
		_, err := reg.ClaimPrimary(t.Context(), zookeeper.Claim{Name: name, SystemID: system, Timeline: timeline})
		var r *zookeeper.ClaimError
		if !errors.As(err, &r) || r.Reason != want {
			t.Fatalf("got %v, want the refusal: %s", err, want)
		}
		primary(string(before))
	}
	put := func(name string) {
		t.Helper()
		must(t, reg.Put(t.Context(), name, zookeeper.Node{Host: "h", Port: 1}, false))
	}
	yield := func(name string, want bool) {
		t.Helper()
		got, err := reg.YieldPrimary(t.Context(), name)
		must(t, err)
		if got != want {
			t.Fatalf("yielded: %t", got)
		}
	}
	put("a")
	put("b")
	claim("a", 3, true)
	claim("a", 3, false)
	refused("b", 1<<63, 4, "it names a, which is still registered")
	must(t, reg.Delete(t.Context(), "a"))
	refused("b", 1<<63, 2, "a claimed it on timeline 3, which is higher than 2")
	refused("b", 1<<63, 3, "a claimed it on the same timeline 3")
	refused("b", 7, 4, "a claimed it for the cluster with the system identifier 9223372036854775808")
	claim("b", 4, true)
	put("a")
	refused("a", 1<<63, 3, "b claimed it on timeline 4, which is higher than 3")

	// It is given up: who was left behind still does not get it.
	yield("a", false)
	yield("b", true)
	primary("")
	refused("a", 1<<63, 3, "b claimed it on timeline 4, which is higher than 3")
	claim("a", 5, true)

	// By hand: whoever is named may claim on any timeline not below, others may
	// not take it from somebody of whom nothing is known.
	must(t, reg.SetPrimary(t.Context(), "c"))
	refused("b", 1<<63, 6, "it names c, of which no claim is known")
	refused("c", 1<<63, 4, "a claimed it on timeline 5, which is higher than 4")
	claim("c", 6, true)
	must(t, reg.SetPrimary(t.Context(), ""))
	claim("c", 6, true)
	_, err := raw.Set("/p/claim", []byte("{"), -1)
	must(t, err)
	refused("c", 1<<63, 6, "PATH/claim makes no sense: unexpected end of JSON input")
	if _, err := reg.ClaimPrimary(t.Context(), zookeeper.Claim{Name: "a/b"}); err == nil {
		t.Error("claimed with a malformed name")
	}
}

// Of many who claim at once one gets it.
func TestClaimsRace(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	cfg := zookeeper.Config{Hosts: z.Addr(), Path: "/p"}
	raw := rawConn(t, z.Addr())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	names := []string{"a", "b", "c", "d"}
	granted := make([]bool, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		reg := registry(t, cfg)
		wg.Go(func() {
			must := func(err error) {
				var r *zookeeper.ClaimError
				if err != nil && !errors.As(err, &r) {
					t.Error(err)
				}
			}
			written, err := reg.ClaimPrimary(ctx, zookeeper.Claim{Name: name, SystemID: 1, Timeline: 1})
			must(err)
			granted[i] = written
		})
	}
	wg.Wait()
	data, _, err := raw.Get("/p/primary")
	must(t, err)
	for i, name := range names {
		if granted[i] != (name == string(data)) {
			t.Errorf("%s is named, %s got it: %t", data, name, granted[i])
		}
	}
}

func TestProxiesAreListed(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	cfg := zookeeper.Config{Hosts: z.Addr(), Path: "/p", SessionTimeout: time.Second}
	reg := registry(t, cfg)
	if list, err := reg.Proxies(t.Context()); err != nil || len(list) != 0 {
		t.Fatalf("%v, %v", list, err)
	}
	r := register(t, cfg)
	must(t, r.Proxy("x", zookeeper.Proxy{Host: "x", PeerID: 3}))
	r.wait()
	create(t, rawConn(t, z.Addr()), "/p/proxies/bad", "{")
	list, err := reg.Proxies(t.Context())
	if err != nil || len(list) != 1 || list["x"].PeerID != 3 {
		t.Errorf("%v, %v", list, err)
	}
}
