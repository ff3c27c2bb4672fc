package proxy_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// TestCancelThroughAPeer: a cancel request that reaches the wrong proxy is
// passed on to the one that gave the key out, once.
func TestCancelThroughAPeer(t *testing.T) {
	cfg := proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PeerID: 7}
	owner := start(t, cfg)
	cfg.Source, cfg.PeerID = source(use(t, trusting)), 8
	cfg.Peers = []proxy.Peer{{ID: 7, Addr: owner.addr()}, {ID: 8, Addr: "127.0.0.1:1"}}
	other := start(t, cfg)

	p := owner.enter(t)
	if p.pid < 1<<22 {
		t.Errorf("the key's process id %d may be a server's", p.pid)
	}
	if err := p.send(wire.AppendQuery(nil, "select pg_sleep(600)"), nil); err != nil {
		t.Fatal(err)
	}
	got := make(chan message, 1)
	go func() {
		m, _ := p.next()
		got <- m
	}()
	for {
		other.cancelKey(t, p.pid, []byte{1, 2, 3, 4})
		other.cancelKey(t, p.pid, p.secret)
		select {
		case m := <-got:
			if m.typ != 'E' || string(wire.Field(m.body, 'C')) != "57014" {
				t.Errorf("got %s", m)
			}
			return
		default:
		}
	}
}

// TestCancelDoesNotGoRound: two proxies that each take the other for the owner
// of a key do not pass a request on for ever.
func TestCancelDoesNotGoRound(t *testing.T) {
	trap, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer trap.Close()
	first := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PeerID: 1,
		Peers: []proxy.Peer{{ID: 9, Addr: trap.Addr().String()}}})
	taken := make(chan []byte, 1)
	go func() {
		conn, err := trap.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b := make([]byte, 64)
		n, _ := conn.Read(b)
		taken <- b[:n]
	}()
	first.cancelKey(t, 1<<30|9<<20|5, []byte{1, 2, 3, 4})
	packet := <-taken
	if len(packet) != 16 || packet[8]&0x40 != 0 {
		t.Fatalf("passed on as % x", packet)
	}
	// What was passed on once is never passed on again, whoever's it is.
	first.cancelKey(t, 9<<20|5, []byte{1, 2, 3, 4})
	// By now it has been, if it is.
	trap.(*net.TCPListener).SetDeadline(time.Now().Add(100 * time.Millisecond))
	if conn, err := trap.Accept(); err == nil {
		conn.Close()
		t.Error("it was passed on twice")
	}
}

func TestParsePeer(t *testing.T) {
	for _, s := range []string{"", "1", "=a:1", "x=a:1", "-1=a:1", "1024=a:1", "1=a", "1=:5", "1=a:0", "1=a:70000"} {
		if _, err := proxy.ParsePeer(s); err == nil || !strings.Contains(err.Error(), "\"") {
			t.Errorf("ParsePeer(%q): %v", s, err)
		}
	}
	if p, err := proxy.ParsePeer("1023=[::1]:6432"); err != nil || p.String() != "1023=[::1]:6432" {
		t.Errorf("got %v, %v", p, err)
	}
	mon, err := pgprobe.New(pgprobe.Config{DSN: monitorDSN})
	if err != nil {
		t.Fatal(err)
	}
	defer mon.Close()
	for _, peers := range [][]proxy.Peer{{{ID: 1, Addr: "a:1"}, {ID: 1, Addr: "b:1"}}, {{ID: 2000, Addr: "a:1"}}, {{ID: 1, Addr: "a"}}} {
		if _, err := proxy.New(proxy.Config{Source: source(use(t, trusting)), Monitor: mon, Peers: peers}); err == nil || !strings.Contains(err.Error(), "peer") {
			t.Errorf("New takes %v", peers)
		}
	}
}
