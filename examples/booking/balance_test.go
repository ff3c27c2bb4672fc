package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-zookeeper/zk"
)

// fake registers an address as an instance, until the test ends.
func fake(t *testing.T, conn *zk.Conn, name, addr string) {
	t.Helper()
	node := path(t) + "/instances/" + name
	for i := 1; i < len(node); i++ {
		if node[i] == '/' {
			_, _ = conn.Create(node[:i], nil, 0, zk.WorldACL(zk.PermAll))
		}
	}
	data, err := json.Marshal(map[string]string{"name": name, "addr": addr})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Create(node, data, zk.FlagEphemeral, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
}

func (s *stage) balancer(t *testing.T, instances int) *process {
	t.Helper()
	p := start(t, "balancer", "balance", "--listen", "127.0.0.1:0", "--zookeeper", s.zk.Addr(), "--path", path(t))
	until(t, fmt.Sprintf("the balancer knows %d instances", instances), func() bool {
		return strings.Contains(p.send(t, "GET", "/healthz", "").body, fmt.Sprintf(`"instances":%d,`, instances))
	})
	return p
}

func addrOf(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }

func TestBalancerSpreadsAndFailsOver(t *testing.T) {
	s := share(t)
	conn := s.keeper(t)
	var hits [3]atomic.Int32
	var forwarded, host, bodies sync.Map
	for i := range hits {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			hits[i].Add(1)
			forwarded.Store(r.Header.Get("X-Forwarded-For"), true)
			host.Store(r.Host, true)
			body, _ := io.ReadAll(r.Body)
			bodies.Store(string(body), true)
			switch {
			case r.URL.Path == "/busy" && i != 2:
				http.Error(w, "not now", http.StatusServiceUnavailable)
			case r.URL.Path == "/allbusy":
				w.Header().Set("Retry-After", "7")
				http.Error(w, "not now", http.StatusServiceUnavailable)
			case r.URL.Path == "/die" && i != 2:
				panic(http.ErrAbortHandler) // the connection breaks
			default:
				fmt.Fprintf(w, "%d", i)
			}
		}))
		t.Cleanup(srv.Close)
		fake(t, conn, fmt.Sprint("i", i), addrOf(srv))
	}
	fake(t, conn, "i3-gone", free(t))
	lb := s.balancer(t, 4)

	for range 12 {
		r := lb.send(t, "GET", "/", "")
		if r.status != http.StatusOK || r.header.Get("X-Instance") != "i"+r.body {
			t.Errorf("%d %s from %q", r.status, r.body, r.header.Get("X-Instance"))
		}
	}
	for i := range hits {
		if hits[i].Load() < 2 {
			t.Errorf("instance %d got %d of 12 requests", i, hits[i].Load())
		}
	}
	if _, ok := forwarded.Load("127.0.0.1"); !ok {
		t.Error("no X-Forwarded-For")
	}
	if _, ok := host.Load(lb.addr); !ok {
		t.Error("the Host of the request was not kept")
	}
	// A client cannot say that it is somebody else.
	lb.send(t, "GET", "/", "", "X-Forwarded-For", "10.1.1.1")
	forwarded.Range(func(key, _ any) bool {
		if key != "127.0.0.1" {
			t.Errorf("X-Forwarded-For: %v", key)
		}
		return true
	})

	total := func() (n int32) {
		for i := range hits {
			n += hits[i].Load()
		}
		return n
	}
	for _, tt := range []struct {
		method, path string
		header       []string
		again        bool
	}{
		// First, while no instance is known to fail: those are asked last.
		{"POST", "/die", nil, false},
		{"GET", "/die", nil, true},
		{"PUT", "/die", nil, true},
		{"DELETE", "/die", nil, true},
		{"POST", "/die", []string{"Idempotency-Key", "k"}, true},
		{"GET", "/busy", nil, true},
		{"POST", "/busy", []string{"Idempotency-Key", "k"}, true},
		{"POST", "/allbusy", nil, false},
	} {
		answered := map[int]int{}
		for range 8 {
			body := tt.method + tt.path
			before := total()
			r := lb.send(t, tt.method, tt.path, body, tt.header...)
			answered[r.status]++
			switch sent := total() - before; {
			case !tt.again && sent != 1:
				t.Errorf("%s %s was sent %d times", tt.method, tt.path, sent)
			case r.status == http.StatusOK && r.body == "2":
			case tt.again:
				t.Errorf("%s %s: %d %s", tt.method, tt.path, r.status, r.body)
			case tt.path == "/die" && (r.status != http.StatusBadGateway || r.code() != "instance_lost"):
				t.Errorf("%s %s: %d %s", tt.method, tt.path, r.status, r.body)
			}
			if _, ok := bodies.Load(body); !ok {
				t.Errorf("%s %s came without its body", tt.method, tt.path)
			}
		}
		if !tt.again && answered[http.StatusOK] == 8 {
			t.Errorf("%s %s never met an instance that fails: the test proves nothing", tt.method, tt.path)
		}
	}
	if r := lb.send(t, "GET", "/allbusy", ""); r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") != "7" {
		t.Errorf("%d %v", r.status, r.header)
	}
	if r := lb.send(t, "POST", "/", strings.Repeat("x", 100<<10)); r.status != http.StatusRequestEntityTooLarge || r.code() != "too_long" {
		t.Errorf("a long body: %d %s", r.status, r.body)
	}
}

func TestBalancerWithoutInstances(t *testing.T) {
	s := share(t)
	lb := s.balancer(t, 0)
	if r := lb.send(t, "GET", "/healthz", ""); r.status != http.StatusServiceUnavailable {
		t.Errorf("healthz: %d %s", r.status, r.body)
	}
	if r := lb.send(t, "GET", "/api/slots", ""); r.status != http.StatusServiceUnavailable || r.code() != "no_instance" || r.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", r.status, r.body)
	}
	fake(t, s.keeper(t), "gone", free(t))
	until(t, "it knows the one that is gone", func() bool { return strings.Contains(lb.send(t, "GET", "/healthz", "").body, `"instances":1`) })
	if r := lb.send(t, "POST", "/api/bookings", "{}"); r.status != http.StatusServiceUnavailable || r.code() != "no_instance" {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// Instances come and go while customers book through the balancer: nobody
// notices, and nothing is lost or booked twice.
func TestInstancesMayBeReplacedWhileBooking(t *testing.T) {
	s := share(t)
	side := s.sidecar(t, "")
	instances := []*process{s.instance(t, path(t), "a", side), s.instance(t, path(t), "b", nil)}
	lb := s.balancer(t, 2)
	crowd := newCrowd(t, s, lb.addr)
	crowd.wait(t, 20)
	for range 2 {
		for i := range instances {
			instances[i].stop()
			crowd.wait(t, 10)
			instances[i] = s.instance(t, path(t), instances[i].name, side)
			until(t, "the balancer knows both again", func() bool {
				return strings.Contains(lb.send(t, "GET", "/healthz", "").body, `"instances":2,`)
			})
		}
	}
	crowd.leave(t, s)
	if n := crowd.unavailable.Load(); n != 0 {
		t.Errorf("%d requests were refused although an instance was there all the time", n)
	}
}
