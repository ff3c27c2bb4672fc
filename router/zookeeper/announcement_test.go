package zookeeper_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

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

// ours makes a cluster of pg1, which is named, and pg2 in our own layout.
func ours(t *testing.T, addr string) (*zookeeper.Registry, *zk.Conn) {
	t.Helper()
	r := registry(t, zookeeper.Config{Hosts: addr, Path: "/p"})
	must(t, r.Put(t.Context(), "pg1", zookeeper.Node{Host: "h", Port: 1}, false))
	must(t, r.Put(t.Context(), "pg2", zookeeper.Node{Host: "h", Port: 2}, false))
	must(t, r.SetPrimary(t.Context(), "pg1"))
	return r, rawConn(t, addr)
}

// TestAnnouncementInOurLayout: PATH/switchover is heard, without waiting for a
// sync, until it is taken back or over; one that was forgotten there says nothing
// when the same node is named again, also to who has not seen it before.
func TestAnnouncementInOurLayout(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	r, raw := ours(t, z.Addr())
	slow := newSlowSync(t, z.Addr())
	cfg := zookeeper.Config{Hosts: slow.addr, Path: "/p"}
	w := watch(t, cfg)
	silent := func(c router.Candidates) bool { return c.Primary == "pg1" && c.Switchover.IsZero() }
	w.until("a cluster", silent)

	held := make(chan struct{})
	slow.held.Store(&held)
	create(t, raw, "/p/switchover", `{"leader":"pg1","candidate":"pg2"}`)
	w.until("the announcement", func(c router.Candidates) bool {
		return c.Primary == "pg1" && c.Switchover == router.Switchover{Leader: "pg1", Candidate: "pg2"}
	})
	slow.held.Store(nil)
	close(held)

	set := func(data string) {
		t.Helper()
		_, err := raw.Set("/p/switchover", []byte(data), -1)
		must(t, err)
	}
	at := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	set(fmt.Sprintf(`{"leader":"pg1","at":%q}`, at.Format(time.RFC3339)))
	w.until("one for later", func(c router.Candidates) bool { return c.Switchover == router.Switchover{Leader: "pg1", At: at} })
	set("{}")
	w.until("that it is off", silent)
	set(`{"leader":"pg1"}`)
	w.until("one without a candidate", func(c router.Candidates) bool { return c.Switchover.Leader == "pg1" })
	must(t, raw.Delete("/p/switchover", -1))
	w.until("that it is off again", silent)

	create(t, raw, "/p/switchover", `{"leader":"pg1","candidate":"pg2"}`)
	first := w.until("the last announcement", func(c router.Candidates) bool { return !c.Switchover.IsZero() })
	set(`{"leader":"pg1","candidate":"pg2"}`)
	w.until("it once more, in the same words", func(c router.Candidates) bool {
		return c.Switchover == first.Switchover && c.Announcement > first.Announcement
	})
	must(t, r.SetPrimary(t.Context(), ""))
	w.until("nobody", func(c router.Candidates) bool { return c.Primary == "" && c.Switchover.Leader == "pg1" })
	must(t, r.SetPrimary(t.Context(), "pg2"))
	w.until("the new primary", func(c router.Candidates) bool { return c.Primary == "pg2" && c.Switchover.IsZero() })
	must(t, r.SetPrimary(t.Context(), "pg1"))
	for _, w := range []*watching{w, watch(t, cfg)} {
		if c := w.until("the old primary", func(c router.Candidates) bool { return c.Primary == "pg1" }); !c.Switchover.IsZero() {
			t.Errorf("what was forgotten is announced: %+v", c.Switchover)
		}
	}
	set(`{"leader":"pg1","candidate":"pg2"}`) // the same text, and another announcement
	w.until("the next one", func(c router.Candidates) bool { return c.Switchover.Leader == "pg1" })
	must(t, r.SetPrimary(t.Context(), "pg1"))
	w.until("that the old primary goes on", silent)
}

// TestAnnouncementThatMakesNoSense is told once and counted, and what was known
// stands: the one before, or none.
func TestAnnouncementThatMakesNoSense(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	r, raw := ours(t, z.Addr())
	w := watch(t, zookeeper.Config{Hosts: z.Addr(), Path: "/p"})
	w.until("a cluster", func(c router.Candidates) bool { return c.Primary == "pg1" })
	create(t, raw, "/p/switchover", "none")
	seen := func(what string) router.Candidates {
		t.Helper()
		must(t, r.Put(t.Context(), what, zookeeper.Node{Host: "h", Port: 9}, false))
		return w.until(what, func(c router.Candidates) bool { return strings.Contains(names(c), what) })
	}
	told := func(want int, good router.Switchover, what string) {
		t.Helper()
		if c := seen(what); c.Switchover != good || c.Primary != "pg1" {
			t.Errorf("%s: %+v is announced, and %s leads", what, c.Switchover, c.Primary)
		}
		if n := strings.Count(strings.Join(w.told(), " "), "switchover"); n != want {
			t.Errorf("%s: told %d times of the announcement, want %d", what, n, want)
		}
	}
	told(1, router.Switchover{}, "x1")
	good := router.Switchover{Leader: "pg1", Candidate: "pg2"}
	for i, data := range []string{`{"leader":"pg1","candidate":"pg2"}`, `{"candidate":"pg2"}`, `{"leader":"a/b"}`, `{"leader":"pg1","at":"noon"}`, `{"leader":`} {
		_, err := raw.Set("/p/switchover", []byte(data), -1)
		must(t, err)
		told(1+i, good, fmt.Sprint("y", i))
	}
	must(t, raw.Delete("/p/switchover", -1))
	told(5, router.Switchover{}, "x2")
}

// An announcement that ZooKeeper refuses to show leaves the rest in force.
func TestAnnouncementThatZooKeeperRefusesToShow(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	r, raw := ours(t, z.Addr())
	create(t, raw, "/p/switchover", `{"leader":"pg1"}`)
	_, err := raw.SetACL("/p/switchover", zk.DigestACL(zk.PermAll, "somebody", "else"), -1)
	must(t, err)
	w := watch(t, zookeeper.Config{Hosts: z.Addr(), Path: "/p"})
	w.until("a cluster", func(c router.Candidates) bool { return c.Primary == "pg1" && c.Switchover.IsZero() })
	must(t, r.SetPrimary(t.Context(), "pg2"))
	w.until("another primary", func(c router.Candidates) bool { return c.Primary == "pg2" })
	if told := strings.Join(w.told(), " "); told != "switchover" {
		t.Errorf("told of %s", told)
	}
}
