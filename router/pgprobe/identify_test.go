package pgprobe_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
)

// recorder passes one connection on to a server and keeps what the client sent.
type recorder struct {
	listener net.Listener

	mu   sync.Mutex // guards the field below
	sent strings.Builder
}

// record starts a recorder in front of n.
func record(t testing.TB, n *cluster.Node) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r := &recorder{listener: l}
	ended := make(chan struct{})
	// Ends with the client's connection, or the listener if there is none.
	go func() { defer close(ended); r.relay(n.Addr()) }()
	t.Cleanup(func() { must(t, l.Close()); <-ended })
	return r
}

func (r *recorder) addr() router.Addr {
	return router.Addr{Name: "recorded", Host: "127.0.0.1", Port: r.listener.Addr().(*net.TCPAddr).Port}
}

func (r *recorder) relay(target string) {
	client, err := r.listener.Accept()
	if err != nil {
		return
	}
	defer client.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	var answers sync.WaitGroup
	answers.Go(func() { _, _ = io.Copy(client, server) })
	_, _ = io.Copy(io.MultiWriter(r, server), client)
	_ = server.Close()
	answers.Wait()
}

// Write keeps what the client sends, before it is passed on.
func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent.Write(b)
}

// take returns what was sent since it was last called.
func (r *recorder) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.sent.Reset()
	return r.sent.String()
}

// Many monitors ask one server all the time. What stays the same they ask once,
// and the rest without SQL that the server would have to parse and plan.
func TestIdentifyAsksOnceWhatStaysTheSame(t *testing.T) {
	c := start(t, cluster.Options{Replicas: 1})
	must(t, c.WaitCaughtUp(t.Context()))
	replica := c.Replicas()[0]
	for _, n := range c.Nodes() {
		r := record(t, n)
		probe := connect(t, monitorDSN, r.addr())
		first := identify(t, probe)
		if sql := r.take(); !strings.Contains(sql, "pg_stat_activity") {
			t.Errorf("%s: the first time, %q", n.Name, sql)
		}
		for range 2 {
			again := identify(t, probe)
			if sent := r.take(); strings.Contains(sent, "SELECT") || len(sent) > 100 {
				t.Errorf("%s: later, %q", n.Name, sent)
			}
			if again.SystemID != first.SystemID || again.Incarnation != first.Incarnation || again.PostmasterStart != first.PostmasterStart ||
				again.Version != first.Version || again.BlockSize != first.BlockSize || again.InRecovery != first.InRecovery || again.Parks != first.Parks ||
				again.Timeline != first.Timeline || again.Insert < first.Insert || again.Replay < first.Replay {
				t.Errorf("%s: %+v, later %+v", n.Name, first, again)
			}
		}
		if n != replica {
			continue
		}
		// What is remembered of a standby is forgotten when it is none any more.
		must(t, n.Promote(t.Context()))
		r.take()
		if s := identify(t, probe); s.InRecovery || s.Parks || s.Timeline != first.Timeline+1 || s.Insert < first.Replay || s.Incarnation != first.Incarnation {
			t.Errorf("after the promotion: %+v, before %+v", s, first)
		}
		r.take()
		if s := identify(t, probe); s.InRecovery || s.Timeline != first.Timeline+1 {
			t.Errorf("later after the promotion: %+v", s)
		}
		if sent := r.take(); strings.Contains(sent, "SELECT") || len(sent) > 100 {
			t.Errorf("later after the promotion, %q", sent)
		}
	}
}
