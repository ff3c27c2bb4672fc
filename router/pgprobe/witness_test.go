package pgprobe_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

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
	// The second has no number of its own, and is listed as prepared, too.
	first := slices.DeleteFunc(slices.Clone(xids), func(xid uint64) bool { return xid == prepared })[0]
	got := committing(t, primary, s.Next)
	slices.SortFunc(got, func(a, b router.PendingCommit) int { return cmp.Compare(a.XID, b.XID) })
	if want := []router.PendingCommit{{Standby: true}, {XID: prepared}, {XID: first, Standby: true}}; !slices.Equal(got, want) {
		t.Errorf("committing are %+v, want %+v", got, want)
	}
	must(t, replicas[1].Thaw())
	must(t, <-one)
	must(t, <-two)
	if got := committing(t, primary, snapshot(t, primary).Next); len(got) > 0 {
		t.Errorf("%+v are committing after they were acknowledged", got)
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

func committing(t *testing.T, w router.Witness, next uint64) []router.PendingCommit {
	t.Helper()
	list, err := w.(router.CommitWitness).Committing(t.Context(), next)
	must(t, err)
	return list
}

// TestCommitting: whoever waits for its client, or for a lock, is not committing.
// Whoever runs a statement may be.
func TestCommitting(t *testing.T) {
	c := start(t, cluster.Options{})
	ctx, p := t.Context(), c.Primary()
	must(t, p.Exec(ctx, "CREATE TABLE t (v int)", "INSERT INTO t VALUES (1)", "CREATE TABLE slow (v int)", "INSERT INTO slow VALUES (1)"))
	primary := witness(t, p)
	open := func(sql ...string) (conn *pgx.Conn, xid uint64) {
		conn, err := p.Super(ctx)
		must(t, err)
		t.Cleanup(func() { conn.Close(context.WithoutCancel(ctx)) })
		xid = begin(t, conn)
		for _, s := range sql {
			_, err = conn.Exec(ctx, s)
			must(t, err)
		}
		return conn, xid
	}
	holder, _ := open("UPDATE t SET v = 2")
	failed, _ := open()
	if _, err := failed.Exec(ctx, "SELECT 1/0"); err == nil {
		t.Fatal("a division by zero went well")
	}
	waits := hanging(t, p, "UPDATE t SET v = 3")
	eventually(t, "a transaction waits for a lock", func() bool {
		return ask(t, p, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND backend_xid IS NOT NULL") == "1"
	})
	s := snapshot(t, primary)
	if got := committing(t, primary, s.Next); s.Xmin+3 != s.Next || len(got) > 0 {
		t.Errorf("%+v are committing, the snapshot is %+v", got, s)
	}
	runs := hanging(t, p, "WITH w AS (UPDATE slow SET v = 2 RETURNING v) SELECT pg_sleep(1000) FROM w")
	var got []router.PendingCommit
	eventually(t, "a transaction runs", func() bool {
		got = committing(t, primary, s.Next) // a number that is given out after the snapshot is told as well
		return len(got) > 0
	})
	if len(got) != 1 || got[0] != (router.PendingCommit{XID: s.Next}) {
		t.Errorf("%+v are committing, want %d", got, s.Next)
	}
	must(t, p.Exec(ctx, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"))
	if err := <-runs; err == nil {
		t.Error("what was cancelled went well")
	}
	_, err := holder.Exec(ctx, "COMMIT")
	must(t, err)
	must(t, <-waits)
	if got := committing(t, primary, s.Next); len(got) > 0 {
		t.Errorf("%+v are committing in the end", got)
	}
}

// TestCommittingBesideAClientThatReadsNothing: a backend that waits until its client
// takes a message may have committed. It warns of a wait for a standby that was
// cancelled before it shows what it has committed (syncrep.c).
func TestCommittingBesideAClientThatReadsNothing(t *testing.T) {
	c := start(t, cluster.Options{Replicas: -1})
	ctx, p := t.Context(), c.Primary()
	primary := witness(t, p)
	conn, err := p.Super(ctx)
	must(t, err)
	defer conn.Close(context.WithoutCancel(ctx))
	xid := begin(t, conn)
	conn.PgConn().Frontend().SendQuery(&pgproto3.Query{String: "SELECT repeat('x', 1 << 16) FROM generate_series(1, 1 << 16)"})
	must(t, conn.PgConn().Frontend().Flush())
	eventually(t, "a server waits for its client to read", func() bool {
		return ask(t, p, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite'") == "1"
	})
	if got, want := committing(t, primary, snapshot(t, primary).Next), []router.PendingCommit{{XID: xid}}; !slices.Equal(got, want) {
		t.Errorf("committing are %+v, want %+v", got, want)
	}
}

// TestCommittingOfReplication: a worker of logical replication that has applied a
// transaction as it was streamed says that it is idle in a transaction, and
// commits then. Here that takes its time.
func TestCommittingOfReplication(t *testing.T) {
	c := start(t, cluster.Options{Replicas: -1, Settings: map[string]string{"wal_level": "logical", "logical_decoding_work_mem": "64kB"}})
	ctx, p := t.Context(), c.Primary()
	if v := askInt(t, p, "SELECT current_setting('server_version_num')"); v < 160000 {
		t.Skip("no transaction is applied while it is streamed")
	}
	must(t, p.Exec(ctx, "CREATE TABLE t (v text)", "CREATE PUBLICATION p FOR TABLE t", "CREATE DATABASE copy",
		"SELECT pg_create_logical_replication_slot('s', 'pgoutput')"))
	copied, err := pgx.Connect(ctx, p.DSN(cluster.SuperUser, cluster.SuperPassword, "copy"))
	must(t, err)
	defer copied.Close(context.WithoutCancel(ctx))
	for _, sql := range []string{"CREATE TABLE t (v text)",
		"CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1000); RETURN NULL; END'",
		"CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (new.v = 'last') EXECUTE FUNCTION slow()",
		"ALTER TABLE t ENABLE ALWAYS TRIGGER slow",
		"CREATE SUBSCRIPTION s CONNECTION '" + p.DSN(cluster.SuperUser, cluster.SuperPassword, cluster.AppDatabase) +
			"' PUBLICATION p WITH (create_slot = false, slot_name = 's', copy_data = false, streaming = parallel)"} {
		_, err := copied.Exec(ctx, sql)
		must(t, err)
	}
	commit(t, p, "INSERT INTO t SELECT repeat('x', 100) FROM generate_series(1, 5000)", "INSERT INTO t VALUES ('last')")
	const worker = " FROM pg_stat_activity WHERE backend_type LIKE '%worker%' AND state LIKE 'idle%' AND wait_event = 'PgSleep'"
	eventually(t, "a worker commits", func() bool { return ask(t, p, "SELECT count(*)"+worker) == "1" })
	xid := uint64(askInt(t, p, "SELECT backend_xid"+worker))
	primary := witness(t, p)
	if got, want := committing(t, primary, snapshot(t, primary).Next), []router.PendingCommit{{XID: xid}}; !slices.Equal(got, want) {
		t.Errorf("committing are %+v, want %+v", got, want)
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
