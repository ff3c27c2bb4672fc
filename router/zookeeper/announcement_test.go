package zookeeper_test

import (
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// opSync is ZooKeeper's number of the request (ZooDefs.OpCode).
const opSync = 9

// slowSync is a way to ZooKeeper on which a sync takes as long as a test wants.
type slowSync struct {
	addr string
	held atomic.Pointer[chan struct{}] // nil: it takes no longer than it takes
}

func newSlowSync(t *testing.T, zk string) *slowSync {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	s := &slowSync{addr: l.Addr().String()}
	go func() { // Ends with l.
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(client, zk) // ends with either connection
		}
	}()
	return s
}

func (s *slowSync) serve(client net.Conn, zk string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", zk)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	go func() { // Ends with server, which is closed below.
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	for {
		// The length of a request, its number and what it is.
		head := make([]byte, 12)
		if _, err := io.ReadFull(client, head); err != nil {
			return
		}
		rest := make([]byte, binary.BigEndian.Uint32(head)-8)
		if _, err := io.ReadFull(client, rest); err != nil {
			return
		}
		if held := s.held.Load(); held != nil && binary.BigEndian.Uint32(head[8:]) == opSync {
			<-*held
		}
		if _, err := server.Write(append(head, rest...)); err != nil {
			return
		}
	}
}

// Patroni waits for nobody: an announcement is handed on before ZooKeeper has
// proved that it speaks for the present. Who leads is not.
func TestPatroniAnnouncementDoesNotWaitForASync(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	p := keeper(t, z.Addr())
	slow := newSlowSync(t, z.Addr())
	w := watchPatroni(t, zookeeper.Config{Hosts: slow.addr, Path: "service/demo"})
	w.until("a cluster", func(c router.Candidates) bool { return c.Primary == "pg0" })
	held := make(chan struct{})
	slow.held.Store(&held)
	p.set("failover", `{"leader":"pg0","member":"pg1"}`)
	w.until("the announcement", func(c router.Candidates) bool {
		return c.Primary == "pg0" && c.Switchover == router.Switchover{Leader: "pg0", Candidate: "pg1"}
	})
	slow.held.Store(nil)
	close(held)
	p.set("leader", "pg1")
	w.until("the new leader", func(c router.Candidates) bool { return c.Primary == "pg1" && c.Switchover.IsZero() })
}
