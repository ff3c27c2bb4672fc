package proxy_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

// shadowed returns how many judged reads would have run in that role, for one
// of the reasons, or any.
func (s *served) shadowed(role router.Role, reasons ...router.Reason) (n uint64) {
	for _, c := range s.Stats().Shadow {
		for _, r := range reasons {
			if c.Role == role.String() && c.Reason == r.String() {
				n += c.Count
			}
		}
	}
	return n
}

// In shadow mode every read runs on the primary, and what is counted is where
// it would have run otherwise.
func TestShadow(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true})
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust, Policy: proxy.Policy{Shadow: true}})
	conn := s.connect(t, "default_query_exec_mode=simple_protocol")
	ctx := t.Context()
	if _, err := conn.Exec(ctx, "create table shadow_t (a int)"); err != nil {
		t.Fatal(err)
	}
	onPrimary := func() {
		t.Helper()
		var node, role, reason, waited string
		if err := conn.QueryRow(ctx, "show pgroute.last_route").Scan(&node, &role, &reason, &waited); err != nil || role != "primary" {
			t.Fatalf("the read ran on %s (%s), %v", role, node, err)
		}
	}
	read := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
		onPrimary()
	}
	const some = "select count(*) from shadow_t"
	eventually(t, func() error { // replicas are up to date, and the catalogue is known
		before := s.shadowed(router.RoleReplica, router.ReasonCovered)
		read(some)
		if s.shadowed(router.RoleReplica, router.ReasonCovered) == before {
			return errString("no read would run on a replica yet")
		}
		return nil
	})
	covered := s.shadowed(router.RoleReplica, router.ReasonCovered)
	for range 10 {
		read(some)
	}
	if n := s.shadowed(router.RoleReplica, router.ReasonCovered) - covered; n != 10 {
		t.Errorf("%d of 10 reads would have run on a replica", n)
	}

	tx, err := conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		t.Fatal(err)
	}
	read(some)
	read(some)
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}

	// What no replica has replayed would have had to wait, or the primary.
	for _, n := range c.Replicas() {
		if err := n.PauseReplay(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(ctx, "insert into shadow_t values (1)"); err != nil {
		t.Fatal(err)
	}
	covered = s.shadowed(router.RoleReplica, router.ReasonCovered)
	for range 5 {
		read(some)
	}
	if n := s.shadowed(router.RoleReplica, router.ReasonCovered) - covered; n != 0 {
		t.Errorf("%d reads would have run on a replica that lacks the write", n)
	}
	late := s.shadowed(router.RoleReplica, router.ReasonWaited) + s.shadowed(router.RolePrimary, router.ReasonNotCovered)
	if late < 5 {
		t.Errorf("%d reads would have waited or gone to the primary, want 5: %+v", late, s.Stats().Shadow)
	}
	// A write is none of this.
	before := fmt.Sprint(s.Stats().Shadow)
	if _, err := conn.Exec(ctx, "insert into shadow_t values (2)"); err != nil {
		t.Fatal(err)
	}
	if after := fmt.Sprint(s.Stats().Shadow); after != before {
		t.Errorf("a write changed %s into %s", before, after)
	}

	admin := connect(t, s.dsnOf(cluster.SuperUser, "pgroute", "default_query_exec_mode=simple_protocol"))
	rows, err := admin.Query(ctx, "show shadow")
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		Role, Reason   string
		Reads, Percent int64
	}
	lines, err := pgx.CollectRows(rows, pgx.RowToStructByPos[line])
	if err != nil {
		t.Fatal(err)
	}
	percent := int64(0)
	for _, l := range lines {
		percent += l.Percent
	}
	if len(lines) < 2 || percent > 100 || percent < 95 {
		t.Errorf("SHOW SHADOW says %v", lines)
	}
}
