package stress_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// scene is a cluster in our own layout, and a proxy that reaches ZooKeeper by a
// way that can be cut.
type scene struct {
	*testing.T
	c   *cluster.Cluster
	reg *zookeeper.Registry
	way *cluster.Relay
	s   *sidecar
}

func setScene(t *testing.T, opts cluster.Options, change func(*proxy.Config)) *scene {
	t.Helper()
	needsZooKeeper(t)
	z := cluster.StartZooKeeper(t, cluster.ZooKeeperOptions{})
	opts.Trust = true
	c := cluster.Start(t, opts)
	if err := errors.Join(c.Primary().Exec(t.Context(), schema...), c.WaitCaughtUp(t.Context())); err != nil {
		t.Fatal(err)
	}
	reg, _ := ownLayout(t, z, c)
	way, err := cluster.NewRelay(z.Addr(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		way.Heal()
		_ = way.Close()
	})
	src, err := zookeeper.New(zookeeper.Config{Hosts: way.Addr(), Path: "/p", SessionTimeout: session, Logger: logger("zookeeper")})
	if err != nil {
		t.Fatal(err)
	}
	s := startSidecar(t, "a", src, change)
	if err := s.settle(t.Context(), probeSQL, len(c.Replicas())); err != nil {
		t.Fatal(err)
	}
	return &scene{T: t, c: c, reg: reg, way: way, s: s}
}

// until waits for the topology to be as ok wants it.
func (sc *scene) until(what string, ok func(*router.Topology) bool) {
	sc.Helper()
	ctx, cancel := context.WithTimeout(sc.Context(), patience/2)
	defer cancel()
	if err := sc.s.srv.Router().WaitTopology(ctx, ok); err != nil {
		sc.Fatalf("%s: %v", what, err)
	}
}

// leads waits until a server takes writes.
func (sc *scene) leads(n *cluster.Node) {
	sc.Helper()
	sc.until(n.Name+" leads", func(t *router.Topology) bool {
		return t.Primary != nil && t.Primary.Name == n.Name && t.Leads(time.Now())
	})
}

func (sc *scene) dial(settings ...string) *pgx.Conn {
	sc.Helper()
	conn, err := sc.s.dial(sc.Context(), settings...)
	if err != nil {
		sc.Fatal(err)
	}
	sc.Cleanup(func() { hangUp(conn) })
	return conn
}

// do runs statements one after the other and returns the SQLSTATE of the first
// that fails, "" if none does, "gone" if the connection is.
func (sc *scene) do(conn *pgx.Conn, list ...string) string {
	sc.Helper()
	for _, sql := range list {
		if _, err := simple(sc.Context(), conn, sql); err != nil {
			sc.Logf("%s: %v", sql, err)
			if e, ok := errors.AsType[*pgconn.PgError](err); ok {
				return e.Code
			}
			return "gone"
		}
	}
	return ""
}

func (sc *scene) name(n *cluster.Node) {
	sc.Helper()
	if err := sc.reg.SetPrimary(sc.Context(), n.Name); err != nil {
		sc.Fatal(err)
	}
}

// rows asks a server itself how many rows there are in made with this value.
func (sc *scene) rows(n *cluster.Node, value int) string {
	sc.Helper()
	got, err := n.QueryString(sc.Context(), fmt.Sprintf("SELECT count(*) FROM made WHERE v = %d", value))
	if err != nil {
		sc.Fatal(err)
	}
	return got
}

// TestOldPrimaryGetsNoWrite: a replica is promoted while the old primary lives
// on, cut off from ZooKeeper and reachable for everybody else, with all the
// connections that it had. Whatever comes after the change of name, nothing is
// written there: not by new work, not in open transactions, not by pinned
// clients, not while ZooKeeper is silent, and not when it names the old one
// again.
func TestOldPrimaryGetsNoWrite(t *testing.T) {
	sc := setScene(t, cluster.Options{}, func(cfg *proxy.Config) { cfg.PrimaryWait = 3 * time.Second })
	old, next := sc.c.Primary(), sc.c.Replicas()[0]
	// The third server has nothing to do with it; while it follows the old one
	// it serves no reads.
	plain, open, pinned, prepared := sc.dial(), sc.dial(), sc.dial(), sc.dial()
	for conn, list := range map[*pgx.Conn][]string{
		plain:    {"INSERT INTO made VALUES (1, 1)"},
		open:     {"BEGIN", "INSERT INTO made VALUES (2, 2)"},
		pinned:   {"CREATE TEMP TABLE mine (a int)", "INSERT INTO made VALUES (3, 1)"},
		prepared: {"PREPARE add AS INSERT INTO made VALUES ($1, $2)", "EXECUTE add (4, 1)"},
	} {
		if code := sc.do(conn, list...); code != "" {
			t.Fatalf("before: %s", code)
		}
	}
	if err := sc.c.WaitCaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := next.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	sc.until("the second primary is fenced", func(*router.Topology) bool { return sc.s.srv.Stats().Router.Claimants > 0 })
	sc.leads(old) // still named, and on a timeline that led
	sc.name(next)
	sc.leads(next)

	if code := sc.do(plain, "INSERT INTO made VALUES (11, 2)"); code != "" {
		t.Errorf("new work: %s", code)
	}
	if code := sc.do(prepared, "EXECUTE add (14, 2)"); code != "" {
		t.Errorf("a prepared statement: %s", code)
	}
	inTransaction := sc.do(open, "INSERT INTO made VALUES (12, 2)", "COMMIT")
	inSession := sc.do(pinned, "INSERT INTO made VALUES (13, 2)")
	if inTransaction == "" || inSession == "" {
		t.Errorf("the open transaction saw %q, the pinned client %q: both must be refused", inTransaction, inSession)
	}
	t.Logf("an open transaction on the old primary gets %s, a client that is pinned there %s", inTransaction, inSession)
	if again := sc.do(sc.dial(), "INSERT INTO made VALUES (15, 2)"); again != "" {
		t.Errorf("a new client: %s", again)
	}

	t.Log("the proxy is cut off from ZooKeeper, too: two servers say that they are primaries")
	sc.way.Cut()
	sc.until("nobody leads", func(t *router.Topology) bool { return t.Primary == nil })
	if code := sc.do(plain, "INSERT INTO made VALUES (21, 2)"); code != "57P03" {
		t.Errorf("a write while nobody is proven to lead: %q", code)
	}
	t.Log("only the old primary answers")
	if err := next.Stop(cluster.Immediate); err != nil {
		t.Fatal(err)
	}
	if code := sc.do(plain, "INSERT INTO made VALUES (22, 2)"); code != "57P03" {
		t.Errorf("a write while the new primary does not answer: %q", code)
	}
	t.Log("ZooKeeper is back, and names the old primary")
	sc.name(old)
	sc.way.Heal()
	sc.until("the refusal", func(t *router.Topology) bool {
		return t.Primary == nil && t.Reason == old.Name+" is on timeline 1, below timeline 2 of an earlier primary"
	})
	if code := sc.do(plain, "INSERT INTO made VALUES (23, 2)"); code != "57P03" {
		t.Errorf("a write while an old primary is named: %q", code)
	}
	if got := sc.rows(old, 2); got != "0" {
		t.Errorf("the old primary got %s rows after the change", got)
	}
	t.Log("the new one comes back")
	sc.name(next)
	if err := next.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	sc.leads(next)
	if code := sc.do(plain, "INSERT INTO made VALUES (24, 2)"); code != "" {
		t.Errorf("a write at the end: %s", code)
	}
	if got := sc.rows(next, 2); got != "4" {
		t.Errorf("the new primary has %s rows of after the change, want 4", got)
	}
	if got := sc.rows(old, 2); got != "0" {
		t.Errorf("the old primary got %s rows in the end", got)
	}
}

// TestProxyCutOffFromZooKeeper: a partition between the proxy and ZooKeeper
// only, longer than the session, is noticed by nobody; what has changed
// meanwhile is known after it.
func TestProxyCutOffFromZooKeeper(t *testing.T) {
	sc := setScene(t, cluster.Options{}, func(cfg *proxy.Config) { cfg.PrimaryWait = failoverWait })
	old, next := sc.c.Primary(), sc.c.Replicas()[0]
	tr := startTraffic(t, sc.s)
	sc.way.Cut()
	cut := time.Now()
	if err := until(t.Context(), "the proof has aged", func() (bool, error) {
		return time.Since(sc.s.srv.Stats().Router.SourceConfirmed) > 2*session, nil
	}); err != nil {
		t.Fatal(err)
	}
	tr.goesOn("while it is cut off")
	noErrors(t, "while it is cut off", tr.report("proxy cut off from ZooKeeper"))
	t.Logf("cut off for %v", time.Since(cut).Round(time.Millisecond))

	// A failover that ZooKeeper cannot tell it about: as long as the old primary's
	// end is not proven writes wait.
	tr.end()
	if err := sc.c.Failover(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	sc.name(next)
	sc.until("nobody leads", func(t *router.Topology) bool { return t.Primary == nil })
	sc.way.Heal()
	sc.leads(next)
	if code := sc.do(sc.dial(), "INSERT INTO made VALUES (1, 1)"); code != "" {
		t.Errorf("a write after the partition: %s", code)
	}
	if old.Running() {
		t.Error("the old primary runs")
	}
}
