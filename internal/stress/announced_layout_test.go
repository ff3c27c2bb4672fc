package stress_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

// TestAnnouncedSwitchoverInOurLayout: a switchover by hand that PATH/switchover
// announces: clients with transactions, single writes and reads see no error, and
// a transaction that was open at the announcement ends.
func TestAnnouncedSwitchoverInOurLayout(t *testing.T) {
	sc := setScene(t, cluster.Options{Replicas: 1}, func(cfg *proxy.Config) { cfg.PrimaryWait = patience })
	conn, _, err := zk.Connect([]string{sc.way.Addr()}, 10*time.Second, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	open := sc.dial()
	tr := startTraffic(t, sc.s)
	old, next := sc.c.Primary(), sc.c.Replicas()[0]
	if code := sc.do(open, "BEGIN", "INSERT INTO made VALUES (1, 7)"); code != "" {
		t.Fatalf("a transaction is told %s", code)
	}

	// What an operator does: announce, ...
	text := fmt.Sprintf(`{"leader":%q,"candidate":%q}`, old.Name, next.Name)
	if _, err := conn.Create("/p/switchover", []byte(text), 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	sc.until("the announcement", func(t *router.Topology) bool { return t.Switchover.Candidate == next.Name })
	announced := time.Now()
	if code := sc.do(open, "INSERT INTO made VALUES (2, 7)", "COMMIT"); code != "" {
		t.Errorf("a transaction that was open is told %s", code)
	}
	// ... wait until nothing runs any more: what was on its way at the
	// announcement is seen in one of many looks, ...
	still := 0
	err = until(t.Context(), "the transactions end", func() (bool, error) {
		n, err := old.QueryString(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND state <> 'idle' AND usename <> $1 AND pid <> pg_backend_pid()`, cluster.MonitorUser)
		if still++; n != "0" {
			still = 0
		}
		return still >= 10, err
	})
	if err != nil {
		t.Fatal(err)
	}
	// ... stop the old primary, promote the new one, and name it.
	if err := old.Stop(cluster.Fast); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	if err := next.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	sc.name(next)
	sc.leads(next)
	t.Logf("stopped %v after the announcement, the next one led %v later", stopped.Sub(announced).Round(time.Millisecond), time.Since(stopped).Round(time.Millisecond))
	if s := sc.s.srv.Router().Topology().Switchover; !s.IsZero() {
		t.Errorf("%+v is still announced", s)
	}
	tr.goesOn("on the new primary")
	if err := sc.c.Rebuild(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	tr.goesOn("with the old one as a replica")
	tr.end()
	noErrors(t, "switchover", tr.report("announced switchover, own layout"))
	if n := sc.rows(next, 7); n != "2" {
		t.Errorf("%s rows of the open transaction are there", n)
	}
}
