package pgprobe_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// witness is a monitor connection that tells what its server shows.
func witness(t *testing.T, n *cluster.Node) router.Witness {
	t.Helper()
	w, ok := connect(t, monitorDSN, addr(n)).(router.Witness)
	if !ok {
		t.Fatal("a probe is no witness")
	}
	return w
}

func snapshot(t *testing.T, w router.Witness) router.Snapshot {
	t.Helper()
	s, err := w.Snapshot(t.Context())
	must(t, err)
	return s
}

func early(t *testing.T, w router.Witness, s router.Snapshot) []uint64 {
	t.Helper()
	xids, err := w.Early(t.Context(), s)
	must(t, err)
	return xids
}

// TestWitness holds commits between their record in the WAL, which replicas
// show, and the moment when the primary shows them: a synchronous standby that
// does not answer does that.
func TestWitness(t *testing.T) {
	c := start(t, cluster.Options{Replicas: 2, Settings: map[string]string{"max_prepared_transactions": "4"}})
	ctx, p, replicas := t.Context(), c.Primary(), c.Replicas()
	must(t, p.Exec(ctx, "CREATE TABLE t (v int)"))
	must(t, c.WaitCaughtUp(ctx))
	primary, replica := witness(t, p), witness(t, replicas[0])

	s := snapshot(t, primary)
	if s.Xmin > s.Xmax || s.Xmax > s.Next || s.Hides(s.Xmin-1) || !s.Hides(s.Xmax) {
		t.Fatalf("snapshot %+v", s)
	}
	if xids := early(t, replica, s); len(xids) > 0 {
		t.Fatalf("%d are early although nothing happens", xids)
	}

	// In progress: begun on the primary, unknown to the replica or not.
	busy, err := p.Super(ctx)
	must(t, err)
	defer busy.Close(context.WithoutCancel(ctx))
	running := begin(t, busy)
	s = snapshot(t, primary)
	if !s.Hides(running) || s.Next <= running {
		t.Fatalf("transaction %d runs, and the snapshot is %+v", running, s)
	}
	must(t, p.Exec(ctx, "INSERT INTO t VALUES (1)"))
	s = snapshot(t, primary)
	if !slices.Equal(s.Running, []uint64{running}) || s.Xmin != running || s.Xmax <= running {
		t.Fatalf("transaction %d runs, and the snapshot is %+v", running, s)
	}
	must(t, c.WaitCaughtUp(ctx))
	if xids := early(t, replica, snapshot(t, primary)); len(xids) > 0 {
		t.Fatalf("%d are early although they run", xids)
	}

	// Committed between the snapshot and the look: it is reported, with its
	// subtransactions, and not what was rolled back.
	xid := commit(t, p, "SAVEPOINT a", "INSERT INTO t VALUES (2)", "SAVEPOINT b", "INSERT INTO t VALUES (3)")
	aborted, err := p.Super(ctx)
	must(t, err)
	defer aborted.Close(context.WithoutCancel(ctx))
	rolledBack := begin(t, aborted)
	_, err = aborted.Exec(ctx, "ROLLBACK")
	must(t, err)
	must(t, p.Exec(ctx, "INSERT INTO t VALUES (4)"))
	must(t, c.WaitCaughtUp(ctx))
	xids := early(t, replica, s)
	if !slices.Contains(xids, xid) || !slices.Contains(xids, xid+1) || !slices.Contains(xids, xid+2) || slices.Contains(xids, rolledBack) {
		t.Errorf("%d are early, %d to %d must be and %d must not", xids, xid, xid+2, rolledBack)
	}
	if s = snapshot(t, primary); slices.ContainsFunc(xids, s.Hides) {
		t.Errorf("%d are hidden after they were acknowledged: %+v", xids, s)
	}

	// Prepared is not committed.
	prepared := prepare(t, p, "later")
	s = snapshot(t, primary)
	must(t, p.Exec(ctx, "INSERT INTO t VALUES (6)"))
	must(t, c.WaitCaughtUp(ctx))
	if xids := early(t, replica, snapshot(t, primary)); !s.Hides(prepared) || len(xids) > 0 {
		t.Errorf("%d are early although nothing is awaited", xids)
	}

	// A synchronous standby that is silent: the replica shows the commits, of
	// both kinds, and the primary does not.
	must(t, replicas[1].StopReceiver(ctx))
	defer func() { must(t, replicas[1].Thaw()) }()
	must(t, p.Exec(ctx, "ALTER SYSTEM SET synchronous_standby_names = '"+replicas[1].Name+"'", "SELECT pg_reload_conf()"))
	eventually(t, "commits wait for the standby", func() bool {
		return ask(t, p, "SELECT setting FROM pg_settings WHERE name = 'synchronous_standby_names'") == replicas[1].Name &&
			ask(t, p, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1"
	})
	one := hanging(t, p, "INSERT INTO t VALUES (7)")
	two := hanging(t, p, "COMMIT PREPARED 'later'")
	eventually(t, "two commits wait", func() bool {
		return ask(t, p, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "2"
	})
	flushed, err := lsn.Parse(ask(t, p, "SELECT pg_current_wal_flush_lsn()"))
	must(t, err)
	eventually(t, "the replica has replayed them", func() bool {
		at, err := lsn.Parse(ask(t, replicas[0], "SELECT pg_last_wal_replay_lsn()"))
		return err == nil && at >= flushed
	})
	s = snapshot(t, primary)
	xids = early(t, replica, s)
	if len(xids) != 2 || !slices.Contains(xids, prepared) || slices.Contains(xids, running) || slices.ContainsFunc(xids, func(x uint64) bool { return !s.Hides(x) }) {
		t.Errorf("%d are early, want %d and one more; the snapshot is %+v", xids, prepared, s)
	}
	awaiting := func(next uint64) int {
		n, err := primary.(router.StandbyWitness).AwaitingStandby(ctx, next)
		must(t, err)
		return n
	}
	// The number of the second is not told: it counts as one of the past.
	if all, before := awaiting(s.Next), awaiting(prepared); all != 2 || before != 1 {
		t.Errorf("%d wait for the standby, of transactions before %d %d; want 2 and 1", all, prepared, before)
	}
	must(t, replicas[1].Thaw())
	must(t, <-one)
	must(t, <-two)
	if n := awaiting(snapshot(t, primary).Next); n != 0 {
		t.Errorf("%d wait for a standby that has answered", n)
	}
	if s = snapshot(t, primary); slices.ContainsFunc(xids, s.Hides) {
		t.Errorf("%d are hidden after they were acknowledged: %+v", xids, s)
	}
	// One that is far from the truth is refused, and the connection lives on.
	if _, err := replica.Early(ctx, router.Snapshot{Xmin: 3, Xmax: 3, Next: 3, Running: []uint64{1 << 62}}); err != nil {
		t.Errorf("transactions of the far future: %v", err)
	}
	if xids := early(t, replica, s); len(xids) > 0 {
		t.Errorf("%d are early in the end", xids)
	}
}

// begin begins a transaction that has a number, and returns that.
func begin(t *testing.T, conn *pgx.Conn) uint64 {
	t.Helper()
	var text string
	_, err := conn.Exec(t.Context(), "BEGIN")
	must(t, err)
	must(t, conn.QueryRow(t.Context(), "SELECT pg_current_xact_id()::text").Scan(&text))
	xid, err := strconv.ParseUint(text, 10, 64)
	must(t, err)
	return xid
}

func commit(t *testing.T, n *cluster.Node, sql ...string) uint64 {
	t.Helper()
	return finish(t, n, "COMMIT", sql...)
}

func prepare(t *testing.T, n *cluster.Node, name string) uint64 {
	t.Helper()
	return finish(t, n, fmt.Sprintf("PREPARE TRANSACTION '%s'", name), "INSERT INTO t VALUES (5)")
}

func finish(t *testing.T, n *cluster.Node, end string, sql ...string) uint64 {
	t.Helper()
	conn, err := n.Super(t.Context())
	must(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	xid := begin(t, conn)
	for _, s := range append(sql, end) {
		_, err := conn.Exec(t.Context(), s)
		must(t, err)
	}
	return xid
}

// hanging runs a statement that will take its time.
func hanging(t *testing.T, n *cluster.Node, sql string) <-chan error {
	t.Helper()
	conn, err := n.Super(t.Context())
	must(t, err)
	done := make(chan error, 1)
	// Ends when the statement is acknowledged, or with the cluster.
	go func() {
		_, err := conn.Exec(context.WithoutCancel(t.Context()), sql)
		done <- err
		_ = conn.Close(context.Background())
	}()
	return done
}
