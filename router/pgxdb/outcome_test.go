package pgxdb_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// TestCommitIsResolved: when the connection is lost while a COMMIT waits, its
// record written, the caller learns what became of it.
func TestCommitIsResolved(t *testing.T) {
	terminate := func(ctx context.Context, c *cluster.Cluster) error {
		_, err := c.Primary().QueryString(ctx, "select count(pg_terminate_backend(pid)) from pg_stat_activity where wait_event = 'SyncRep'")
		return err
	}
	for _, x := range []struct {
		name    string
		resolve bool
		cut     bool // the replica does not get it
		lose    func(context.Context, *cluster.Cluster) error
		want    string
		outcome router.Outcome
	}{
		{"the connection", true, false, terminate, "", router.OutcomeCommitted},
		{"the primary and the replica has it", true, false, func(ctx context.Context, c *cluster.Cluster) error {
			return c.Failover(ctx, c.Replicas()[0])
		}, "", router.OutcomeCommitted},
		{"the primary and the replica lacks it", true, true, func(ctx context.Context, c *cluster.Cluster) error {
			return c.Failover(ctx, c.Replicas()[0])
		}, "40001", router.OutcomeAborted},
		{"the connection and nobody asks", false, false, terminate, "08007", router.OutcomeNotAsked},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := cluster.Start(t, cluster.Options{Replicas: 1})
			table := tableOf(t, c, "k int")
			ctx := patience(t)
			relay, err := cluster.NewRelay(c.Primary().Addr(), 0)
			must(t, err)
			t.Cleanup(func() { relay.Close() })
			must(t, c.Replicas()[0].RepointAddr(ctx, "127.0.0.1", relay.Port()))
			db := open(t, c, func(cfg *pgxdb.Config) { cfg.ResolveCommits = x.resolve })
			must(t, c.WaitCaughtUp(ctx))
			if x.cut {
				must(t, relay.Close())
			}
			must(t, c.Primary().SetSynchronous(ctx, "nobody"))
			tx, err := db.Begin(ctx)
			must(t, err)
			_, err = tx.Exec(ctx, "insert into "+table+" values (1)")
			must(t, err)
			ended := make(chan error, 1)
			go func() { ended <- tx.Commit(ctx) }() // ends below
			asks(t, c, "select count(*) from pg_stat_activity where wait_event = 'SyncRep'", "1")
			if !x.cut {
				must(t, c.WaitCaughtUp(ctx))
			}
			// What was seen flushed is known not to be lost in a crash.
			_, err = db.Router().WaitTicket(ctx, db.Router().Ticket())
			must(t, err)
			must(t, x.lose(ctx, c))
			err = <-ended
			code := ""
			if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
				code = pg.Code
			} else if err != nil {
				t.Fatal(err)
			}
			if code != x.want {
				t.Errorf("Commit returns %v, want %q", err, x.want)
			}
			there := 1
			if x.want == "40001" {
				there = 0
			}
			if n := one[int](t, db.Read().QueryRow(ctx, "select count(*) from "+table)); n != there {
				t.Errorf("%d rows, want %d", n, there)
			}
			if n := db.Router().Stats().Commits; n[x.outcome] != 1 {
				t.Errorf("counted are %v", n)
			}
		})
	}
}

// TestWriteIsNotRunTwice: a write whose answer is lost may have happened.
func TestWriteIsNotRunTwice(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	table := tableOf(t, c, "k int")
	ctx := patience(t)
	db := open(t, c)
	must(t, c.WaitCaughtUp(ctx))
	// Only the primary of now waits for a replica that does not exist.
	must(t, c.Primary().SetSynchronous(ctx, "nobody"))
	ended := make(chan error, 2)
	for _, args := range [][]any{nil, {1}} { // by the simple protocol and by the other one
		sql := "insert into " + table + " values (1)"
		if args != nil {
			sql = "insert into " + table + " values ($1)"
		}
		go func() { // ends below
			_, err := db.Exec(ctx, sql, args...)
			ended <- err
		}()
	}
	asks(t, c, "select count(*) from pg_stat_activity where wait_event = 'SyncRep'", "2")
	must(t, c.WaitCaughtUp(ctx))
	must(t, c.Failover(ctx, c.Replicas()[0]))
	for range 2 {
		if err := <-ended; err == nil {
			t.Error("a write whose answer was lost is said to have succeeded")
		}
	}
	if n := one[int](t, db.Read().QueryRow(ctx, "select count(*) from "+table)); n != 2 {
		t.Errorf("two writes have made %d rows", n)
	}
}

// asks waits until the primary answers sql with want.
func asks(t testing.TB, c *cluster.Cluster, sql, want string) {
	t.Helper()
	ctx := patience(t)
	for {
		got, err := c.Primary().QueryString(ctx, sql)
		must(t, err)
		if got == want {
			return
		}
		<-time.After(time.Millisecond)
	}
}
