package zookeeper_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// patroniKeeper writes a tree as Patroni does.
type patroniKeeper struct {
	t    *testing.T
	raw  *zk.Conn
	base string
}

// set writes a key, making it if need be.
func (p *patroniKeeper) set(key, data string) {
	p.t.Helper()
	_, err := p.raw.Set(p.base+"/"+key, []byte(data), -1)
	if err == zk.ErrNoNode {
		create(p.t, p.raw, p.base+"/"+key, data)
		err = nil
	}
	must(p.t, err)
}

func (p *patroniKeeper) remove(key string) {
	p.t.Helper()
	must(p.t, p.raw.Delete(p.base+"/"+key, -1))
}

// keeper makes a cluster of pg0, which leads, and pg1.
func keeper(t *testing.T, addr string) *patroniKeeper {
	p := &patroniKeeper{t: t, raw: rawConn(t, addr), base: "/service/demo"}
	p.set("initialize", "77")
	p.set("config", `{"ttl":30,"loop_wait":10}`)
	p.set("members/pg0", memberData(5000, ""))
	p.set("members/pg1", memberData(5001, ""))
	p.set("leader", "pg0")
	return p
}

// seen waits until everything that was written before it is seen. An announcement
// comes ahead of the rest; that it is over comes with what was written before it.
func (p *patroniKeeper) seen(w *watching, mark string) router.Candidates {
	p.t.Helper()
	p.set("failover", `{"leader":"","member":"`+mark+`"}`)
	w.until("the announcement of "+mark, func(c router.Candidates) bool { return c.Switchover.Candidate == mark })
	p.set("failover", "{}")
	return w.until("what was written before "+mark, func(c router.Candidates) bool { return c.Switchover.IsZero() })
}

func TestPatroniIsFollowed(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	// Nothing is there yet.
	w := watchPatroni(t, zookeeper.Config{Hosts: z.Addr(), Path: "service/demo"})
	w.until("no Patroni", func(c router.Candidates) bool {
		return c.NamesPrimary && c.Primary == "" && len(c.Nodes) == 0 && strings.Contains(c.Reason, "no Patroni below /service/demo")
	})
	p := keeper(t, z.Addr())
	w.until("a cluster", func(c router.Candidates) bool {
		return c.Primary == "pg0" && names(c) == "pg0,pg1" && c.SystemID == 77 && c.Reason == ""
	})

	// A switchover: announced, begun, done.
	p.set("failover", `{"leader":"pg0","member":"pg1"}`)
	w.until("the announcement", func(c router.Candidates) bool {
		return c.Switchover == router.Switchover{Leader: "pg0", Candidate: "pg1"} && c.Switchover.Due(time.Now(), 0)
	})
	p.remove("leader")
	w.until("nobody", func(c router.Candidates) bool {
		return c.Primary == "" && c.Reason == "Patroni has no leader" && !c.Switchover.IsZero()
	})
	p.set("leader", "pg1") // the key failover is still there
	w.until("the new leader", func(c router.Candidates) bool { return c.Primary == "pg1" && c.Switchover.IsZero() })
	p.set("failover", "{}")

	// Of a member that moves nothing else changes.
	p.set("members/pg0", memberData(6000, `,"tags":{"noloadbalance":true}`))
	w.until("pg0 elsewhere", func(c router.Candidates) bool { return c.Nodes[0].Port == 6000 && c.Nodes[0].NoReads != "" })
	p.set("members/pg0", memberData(6000, ""))
	w.until("pg0 for reads again", func(c router.Candidates) bool { return c.Nodes[0].NoReads == "" })

	// Pause, failsafe, synchronous mode.
	p.set("config", `{"ttl":30,"pause":true,"failsafe_mode":true}`)
	p.set("sync", `{"leader":"pg1","sync_standby":"pg0","quorum":0}`)
	w.until("pause and a synchronous standby", func(c router.Candidates) bool {
		m := &c.Management
		return m.Paused && m.Failsafe && fmt.Sprint(m.Synchronous.Standbys) == "[pg0]"
	})
	p.set("sync", `{"leader":"pg0","sync_standby":"pg1","quorum":0}`) // another leader's
	w.until("no synchronous standby", func(c router.Candidates) bool { return len(c.Management.Synchronous.Standbys) == 0 })
	p.set("config", `{"ttl":30}`)
	p.set("history", `[[1,100,"x"]]`)
	w.until("a history", func(c router.Candidates) bool {
		return !c.Management.Paused && len(c.Management.History) == 1 && c.Management.History[0].End == 100
	})

	// A standby cluster.
	p.set("members/pg1", strings.Replace(memberData(5001, ""), "replica", "standby_leader", 1))
	p.set("config", `{"standby_cluster":{"host":"elsewhere"}}`)
	w.until("a standby cluster", func(c router.Candidates) bool {
		return c.Primary == "" && strings.Contains(c.Reason, "pg1 leads a standby cluster")
	})
	p.set("config", `{}`) // It is promoted: the role lags behind.
	w.until("the leader of a cluster of its own", func(c router.Candidates) bool { return c.Primary == "pg1" })

	// Everything goes and comes back.
	for _, key := range []string{"members/pg0", "members/pg1", "members", "leader", "config", "initialize", "history", "sync", "failover", ""} {
		must(t, p.raw.Delete(strings.TrimSuffix(p.base+"/"+key, "/"), -1))
	}
	w.until("an end", func(c router.Candidates) bool { return len(c.Nodes) == 0 && c.Primary == "" && c.SystemID == 0 })
	keeper(t, z.Addr())
	w.until("a cluster again", func(c router.Candidates) bool { return c.Primary == "pg0" && names(c) == "pg0,pg1" })
	if bad := w.told(); len(bad) != 0 {
		t.Errorf("told of %v", bad)
	}
}

// told returns what was said to be malformed.
func (w *watching) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.bad...)
}

// Older versions write a change by deleting a member and making it again, and
// a leader that has lost its znode still leads.
func TestPatroniMemberThatIsMadeAgainStays(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	p := keeper(t, z.Addr())
	w := watchPatroni(t, zookeeper.Config{Hosts: z.Addr(), Path: "service/demo"})
	w.until("a cluster", func(c router.Candidates) bool { return names(c) == "pg0,pg1" })
	judged := 0
	for i := range 20 {
		begin := time.Now()
		p.remove("members/pg1")
		p.seen(w, "a")
		// Read twice, and soon enough: it is still there.
		if c := p.seen(w, "b"); time.Since(begin) < 900*time.Millisecond {
			if judged++; names(c) != "pg0,pg1" {
				t.Fatalf("nodes are %s right after the end of a znode", names(c))
			}
		}
		p.set("members/pg1", memberData(7001+i, ""))
		w.until("pg1", func(c router.Candidates) bool { return names(c) == "pg0,pg1" && c.Nodes[1].Port == 7001+i })
	}
	t.Logf("%d of 20 were soon enough", judged)
	p.remove("members/pg1")
	w.until("the end of pg1", func(c router.Candidates) bool { return names(c) == "pg0" })

	p.remove("members/pg0")
	p.set("members/pg2", memberData(5002, ""))
	p.set("members/pg3", memberData(5003, ""))
	w.until("pg2 and pg3", func(c router.Candidates) bool { return names(c) == "pg0,pg2,pg3" })
	p.remove("members/pg3")
	w.until("the end of pg3", func(c router.Candidates) bool { return names(c) == "pg0,pg2" })
	p.set("leader", "pg2")
	w.until("the end of pg0", func(c router.Candidates) bool { return names(c) == "pg2" && c.Primary == "pg2" })
}

func TestPatroniMalformedKeysKeepTheirLastState(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	p := keeper(t, z.Addr())
	p.set("history", `[[1,100,"x"],[2,200,"x"]]`)
	p.set("members/never", `{"state":"running"}`)
	w := watchPatroni(t, zookeeper.Config{Hosts: z.Addr(), Path: "service/demo"})
	good := w.until("a cluster", func(c router.Candidates) bool { return names(c) == "pg0,pg1" })
	for i, tt := range []struct{ key, data, told string }{
		{"members/pg1", "{", "pg1"},
		{"members/pg1", `{"conn_url":"postgres://:/"}`, "pg1"},
		{"initialize", "x", "initialize"},
		{"config", "[", "config"},
		{"sync", "[", "sync"},
		{"history", "{}", "history"},
		{"history", `[[1,100,"x"]]`, "history"},
	} {
		before := len(w.told())
		p.set(tt.key, tt.data)
		c := p.seen(w, fmt.Sprint("m", i))
		told := w.told()[before:]
		if len(told) != 1 || told[0] != tt.told {
			t.Errorf("%s = %s: told of %v", tt.key, tt.data, told)
		}
		c.Switchover = good.Switchover
		if fmt.Sprint(c.Nodes, c.Primary, c.SystemID, c.Management) != fmt.Sprint(good.Nodes, good.Primary, good.SystemID, good.Management) {
			t.Errorf("%s = %s: %+v", tt.key, tt.data, c)
		}
	}
	// A leader that makes no sense is no leader: that is the safe side.
	p.set("leader", "a/b")
	w.until("no leader", func(c router.Candidates) bool { return c.Primary == "" && strings.Contains(c.Reason, "malformed") })
	if n := strings.Count(w.log.String(), "malformed key of Patroni in ZooKeeper; until it is mended nobody leads"); n != 1 {
		t.Errorf("the log says %d times that nobody leads", n)
	}
	p.set("leader", "pg1")
	w.until("a leader", func(c router.Candidates) bool { return c.Primary == "pg1" })
	p.set("leader", "stranger") // whom the router does not find among the nodes
	w.until("a stranger", func(c router.Candidates) bool { return c.Primary == "stranger" && names(c) == "pg0,pg1" })
	// Another cluster has another history.
	p.set("initialize", "78")
	p.set("history", `[[1,50,"y"]]`)
	w.until("another history", func(c router.Candidates) bool {
		return c.SystemID == 78 && len(c.Management.History) == 1 && c.Management.History[0].End == 50
	})
}

// A key that we may not see leaves the others in force; without the leader
// nothing is known, so that what was last known stands.
func TestPatroniThatZooKeeperRefusesToShow(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	p := keeper(t, z.Addr())
	p.set("history", `[[1,100,"x"]]`)
	var refusals atomic.Int64
	w := watchPatroni(t, zookeeper.Config{Hosts: z.Addr(), Path: "service/demo", SessionTimeout: 3 * time.Second,
		Trace: zookeeper.Trace{Refused: func(error) { refusals.Add(1) }}})
	w.until("a cluster", func(c router.Candidates) bool { return names(c) == "pg0,pg1" && len(c.Management.History) == 1 })
	must(t, p.raw.AddAuth("digest", []byte("patroni:s3cret")))
	acl := func(key string, list []zk.ACL) {
		t.Helper()
		_, err := p.raw.SetACL(p.base+"/"+key, list, -1)
		must(t, err)
	}
	acl("history", zk.AuthACL(zk.PermAll))
	acl("members/pg1", zk.AuthACL(zk.PermAll))
	p.set("history", `[[1,100,"x"],[2,200,"x"]]`)
	p.set("members/pg1", memberData(9999, ""))
	// ZooKeeper does not tell of changes that we may not see.
	eventually(t, "both refusals", func() bool { return len(w.told()) == 2 })
	c := p.seen(w, "a")
	if len(c.Management.History) != 1 || names(c) != "pg0,pg1" || c.Nodes[1].Port != 5001 || c.Primary != "pg0" {
		t.Fatalf("read %+v", c)
	}
	// They are tried again without being told of.
	acl("history", zk.WorldACL(zk.PermAll))
	acl("members/pg1", zk.WorldACL(zk.PermAll))
	w.until("what was refused", func(c router.Candidates) bool { return len(c.Management.History) == 2 && c.Nodes[1].Port == 9999 })
	if told := fmt.Sprint(w.told()); strings.Count(told, "history") != 1 || strings.Count(told, "pg1") != 1 {
		t.Errorf("told of %s", told)
	}

	acl("leader", zk.AuthACL(zk.PermAll))
	p.set("leader", "pg1")
	eventually(t, "the refusal in the log", func() bool { return strings.Contains(w.log.String(), "cannot be read") })
	if c, _ := w.state(); c.Primary != "pg0" || refusals.Load() != 1 {
		t.Fatalf("primary %q, %d refusals", c.Primary, refusals.Load())
	}
	acl("leader", zk.WorldACL(zk.PermAll))
	w.until("the new leader", func(c router.Candidates) bool { return c.Primary == "pg1" })
}

// received is how many requests ZooKeeper got from the sessions of the address
// that are not ours.
func received(t *testing.T, ask func(string) (string, error)) int {
	t.Helper()
	answer, err := ask("mntr")
	must(t, err)
	m := regexp.MustCompile(`zk_packets_received\s+(\d+)`).FindStringSubmatch(answer)
	if m == nil {
		t.Fatalf("mntr: %s", answer)
	}
	n, err := strconv.Atoi(m[1])
	must(t, err)
	return n
}

// However often members are rewritten, they are read at a bounded pace, and
// what did not change is not published; a change of the leader does not wait.
func TestPatroniStormOfMembersIsCalm(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	p := keeper(t, z.Addr())
	w := watchPatroni(t, zookeeper.Config{Hosts: z.Addr(), Path: "service/demo"})
	w.until("a cluster", func(c router.Candidates) bool { return names(c) == "pg0,pg1" && c.Primary == "pg0" })
	_, published := w.state()
	packets := received(t, z.Ask)
	start := time.Now()
	const writes = 3000
	for i := range writes {
		_, err := p.raw.Set(p.base+"/members/pg"+strconv.Itoa(i%2), []byte(memberData(5000+i%2, `,"xlog_location":`+strconv.Itoa(i))), -1)
		must(t, err)
	}
	took := time.Since(start)
	packets = received(t, z.Ask) - packets - writes
	_, after := w.state()
	// Each reading is a sync and two members; the rest is for confirmations,
	// pings and the question itself.
	if most := int(took/(200*time.Millisecond)+2)*3 + int(took/time.Second)*4 + 20; packets > most {
		t.Errorf("%d requests of the source during %d writes in %s, want at most %d", packets, writes, took, most)
	}
	if most := int(took/(3*time.Second)) + 1; after-published > most {
		t.Errorf("%d times published, want at most %d", after-published, most)
	}
	t.Logf("%d writes in %s: %d requests of the source, published %d times", writes, took, packets, after-published)
	w.mu.Lock()
	flips := w.flips
	w.mu.Unlock()
	if flips > 1 {
		t.Errorf("the primary changed %d times", flips)
	}
}

func TestPatroniLeaderIsSeenAtOnceInAStorm(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	p := keeper(t, z.Addr())
	w := watchPatroni(t, zookeeper.Config{Hosts: z.Addr(), Path: "service/demo"})
	w.until("a cluster", func(c router.Candidates) bool { return c.Primary == "pg0" })
	storm := rawConn(t, z.Addr())
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() { // Ends with stop; waited for below.
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_, _ = storm.Set(p.base+"/members/pg1", []byte(memberData(5001, `,"xlog_location":`+strconv.Itoa(i))), -1)
			}
		}
	}()
	const changes = 50
	var worst, sum time.Duration
	late := 0
	for i := range changes {
		name := []string{"pg1", "pg0"}[i%2]
		p.set("leader", name)
		begin := time.Now()
		w.until("the new leader", func(c router.Candidates) bool { return c.Primary == name })
		took := time.Since(begin)
		worst, sum = max(worst, took), sum+took
		if took > time.Second {
			late++
		}
	}
	close(stop)
	<-ended
	t.Logf("%d changes of the leader were seen after %s on average, %s at worst", changes, sum/changes, worst)
	if late > changes/10 {
		t.Errorf("%d of %d changes were seen after more than a second", late, changes)
	}
}

func TestPatroniOutlivesZooKeeper(t *testing.T) {
	z := startZooKeeper(t)
	noLeaks(t)
	p := keeper(t, z.Addr())
	cfg := zookeeper.Config{Hosts: z.Addr(), Path: "service/demo", SessionTimeout: time.Second}
	w := watchPatroni(t, cfg)
	w.until("a cluster", func(c router.Candidates) bool { return c.Primary == "pg0" && names(c) == "pg0,pg1" })
	for round, how := range []string{"killed", "hanging"} {
		if how == "killed" {
			must(t, z.Kill())
		} else {
			must(t, z.Stop())
		}
		eventually(t, "an old confirmation", func() bool {
			c, _ := w.state()
			return time.Since(c.Confirmed) > 2*cfg.SessionTimeout
		})
		if c, _ := w.state(); c.Primary == "" || names(c) != "pg0,pg1" {
			t.Fatalf("%s: %+v", how, c)
		}
		if how == "killed" {
			must(t, z.Start(t.Context()))
		} else {
			must(t, z.Cont())
		}
		back := time.Now()
		w.until("a confirmation", func(c router.Candidates) bool { return c.Confirmed.After(back) })
		p = &patroniKeeper{t: t, raw: rawConn(t, z.Addr()), base: p.base}
		for i := range 3 {
			name := fmt.Sprintf("pg%d", (i+round+1)%2)
			p.set("leader", name)
			w.until("a new leader", func(c router.Candidates) bool { return c.Primary == name })
			p.set("members/pg1", memberData(6000+10*round+i, ""))
			w.until("a member that moved", func(c router.Candidates) bool { return c.Nodes[1].Port == 6000+10*round+i })
		}
	}
}
