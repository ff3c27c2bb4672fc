package stress_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

// journal is a log that may be read while it is written.
type journal struct {
	mu sync.Mutex // guards the field below
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) has(text string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Contains(j.b.String(), text)
}

// troubled is a cluster one of whose replicas is in trouble.
type troubled struct {
	*scene
	log *journal
}

func trouble(t *testing.T, opts cluster.Options) *troubled {
	t.Helper()
	log := &journal{}
	sc := setScene(t, opts, func(cfg *proxy.Config) {
		cfg.PrimaryWait, cfg.MaxLag, cfg.Logger = failoverWait, 128<<10, slog.New(slog.NewTextHandler(log, nil))
	})
	return &troubled{sc, log}
}

// readsItsWrites does pairs of a write and a read that must see it, and returns
// which nodes served the reads.
func (tr *troubled) readsItsWrites(pairs int) map[string]int {
	tr.Helper()
	nodes := map[string]int{}
	conn := tr.dial()
	for range pairs {
		text, err := simple(tr.Context(), conn, "UPDATE kv SET v = v + 1 WHERE k = 0 RETURNING v")
		if err != nil {
			tr.Fatal(err)
		}
		got, err := simple(tr.Context(), conn, probeSQL)
		if err != nil {
			tr.Fatal(err)
		}
		if got != text {
			tr.Fatalf("read %s after %s was written", got, text)
		}
		r, err := lastRoute(tr.Context(), conn)
		if err != nil {
			tr.Fatal(err)
		}
		nodes[r.node]++
	}
	return nodes
}

// serves waits until a node serves reads of its own accord.
func (tr *troubled) serves(n *cluster.Node) {
	tr.Helper()
	var conn *pgx.Conn
	defer func() { hangUp(conn) }()
	err := until(tr.Context(), n.Name+" serves a read", func() (bool, error) {
		hangUp(conn)
		var err error
		if conn, err = tr.s.dial(tr.Context()); err != nil {
			return false, err
		}
		if _, err = simple(tr.Context(), conn, probeSQL); err != nil {
			return false, err
		}
		r, err := lastRoute(tr.Context(), conn)
		return r.node == n.Name, err
	})
	if err != nil {
		tr.Fatal(err)
	}
}

// replicas waits until so many nodes count as replicas.
func (tr *troubled) replicas(n int) {
	tr.Helper()
	tr.until(fmt.Sprintf("%d replicas", n), func(t *router.Topology) bool { return t.Primary != nil && t.Replicas() == n })
}

// TestReplicaInTrouble: whatever befalls a replica, reads see what was written,
// and no client sees an error.
func TestReplicaInTrouble(t *testing.T) {
	tr := trouble(t, cluster.Options{})
	one, two := tr.c.Replicas()[0], tr.c.Replicas()[1]
	load := startTraffic(t, tr.s, "read", "own read", "eventual read", "write")
	for _, step := range []struct {
		name string
		// do is the trouble, left to one replica or none, undo its end.
		do, undo func() error
		counts   int // replicas that count meanwhile
	}{
		{"replay is delayed by an hour", func() error { return one.SetApplyDelay(t.Context(), time.Hour) }, func() error { return one.SetApplyDelay(t.Context(), 0) }, 2},
		{"replay is paused", func() error { return one.PauseReplay(t.Context()) }, func() error { return one.ResumeReplay(t.Context()) }, 2},
		{"the replica is killed and comes back", func() error { return one.Stop(cluster.Kill) }, func() error { return one.Start(t.Context()) }, 1},
		{"the replica is rebuilt under its name", func() error { return one.Stop(cluster.Immediate) }, func() error { return tr.c.Rebuild(t.Context(), one) }, 1},
	} {
		load.leg()
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		tr.replicas(step.counts)
		if nodes := tr.readsItsWrites(20); nodes[one.Name] > 0 {
			t.Errorf("%s: it served reads of new writes: %v", step.name, nodes)
		}
		load.goesOn(step.name)
		if err := step.undo(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		tr.replicas(2)
		tr.serves(one)
		tr.serves(two)
		noErrors(t, step.name, load.report(step.name))
	}
}

// TestReplicaThatCannotStream: a replica whose primary has thrown away the WAL
// that it needs stays where it is. That is told, reads that must see more go
// elsewhere, and beyond max_lag those that need not, too.
func TestReplicaThatCannotStream(t *testing.T) {
	tr := trouble(t, cluster.Options{Replicas: 1, Settings: map[string]string{"wal_keep_size": "0", "min_wal_size": "2MB", "max_wal_size": "2MB"}})
	n, primary := tr.c.Replicas()[0], tr.c.Primary()
	way, err := cluster.NewRelay(primary.Addr(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer way.Close()
	if err := n.RepointAddr(t.Context(), "127.0.0.1", way.Port()); err != nil {
		t.Fatal(err)
	}
	tr.replicas(1)
	way.Cut()
	way.Drop()
	for range 4 {
		if err := primary.Exec(t.Context(), "SELECT pg_logical_emit_message(true, 'x', repeat('x', 200000))", "SELECT pg_switch_wal()", "CHECKPOINT"); err != nil {
			t.Fatal(err)
		}
	}
	way.Heal()
	log := "requested WAL segment"
	if err := until(t.Context(), "the replica hears that its WAL is gone", func() (bool, error) { return strings.Contains(n.LogTail(64<<10), log), nil }); err != nil {
		t.Fatal(err)
	}
	if err := until(t.Context(), "it is told", func() (bool, error) {
		return tr.log.has(`msg="replica does not stream: it serves what it has replayed, and falls behind" node=` + n.Name), nil
	}); err != nil {
		t.Fatal(err)
	}
	if nodes := tr.readsItsWrites(10); nodes[n.Name] > 0 {
		t.Errorf("it served reads of new writes: %v", nodes)
	}
	behind := tr.dial("pgroute.consistency", "eventual")
	if code := tr.do(behind, probeSQL); code != "" {
		t.Fatal(code)
	}
	if r, err := lastRoute(t.Context(), behind); err != nil || r.role != "primary" {
		t.Errorf("an eventual read beyond max_lag ran on %+v, %v", r, err)
	}
	if err := tr.c.Rebuild(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	tr.replicas(1)
	tr.serves(n)
}

// TestCascade: a standby of a standby serves reads, goes on when the server
// above it is promoted, and sees what is written then.
func TestCascade(t *testing.T) {
	tr := trouble(t, cluster.Options{})
	old, above, below := tr.c.Primary(), tr.c.Replicas()[0], tr.c.Replicas()[1]
	if err := errors.Join(below.Repoint(t.Context(), above), tr.c.WaitCaughtUp(t.Context())); err != nil {
		t.Fatal(err)
	}
	tr.replicas(2)
	tr.serves(below)
	tr.readsItsWrites(20)
	load := startTraffic(t, tr.s, "read", "own read", "eventual read")
	if err := errors.Join(old.Stop(cluster.Fast), above.Promote(t.Context())); err != nil {
		t.Fatal(err)
	}
	tr.name(above)
	tr.leads(above)
	tr.replicas(1)
	tr.serves(below)
	if nodes := tr.readsItsWrites(50); nodes[below.Name] == 0 {
		t.Logf("the standby below served none of the reads of new writes: %v", nodes)
	}
	load.goesOn("after the promotion above")
	noErrors(t, "promotion above a standby", load.report("promotion above a standby"))
}
