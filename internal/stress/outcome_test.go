package stress_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
)

// doubt is a cluster of two in which every COMMIT of the application waits for a
// replica that does not exist, after its record was written.
type doubt struct {
	*lab
	replica *cluster.Node
	relay   *cluster.Relay // between the two
	s       *sidecar
	conn    *pgx.Conn
	commit  chan error // what the client is told
}

// startDoubt returns with a COMMIT that waits; cut: the replica does not get it.
func startDoubt(t *testing.T, cut bool, mode pgx.QueryExecMode) *doubt {
	t.Helper()
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	d := &doubt{lab: &lab{t: t, ctx: t.Context(), c: c, src: newSource(c.Nodes()...)}, replica: c.Replicas()[0], commit: make(chan error, 1)}
	var err error
	if d.relay, err = cluster.NewRelay(c.Primary().Addr(), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.relay.Close() })
	err = errors.Join(c.Primary().Exec(t.Context(), append(schema, "CREATE SEQUENCE burnt")...), d.replica.RepointAddr(t.Context(), "127.0.0.1", d.relay.Port()),
		c.WaitCaughtUp(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	d.s = startSidecar(t, "a", d.src, nil)
	if err := d.s.settle(t.Context(), probeSQL, 1); err != nil {
		t.Fatal(err)
	}
	if d.conn, err = d.s.dial(t.Context(), "application_name", "doubtful"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hangUp(d.conn) })
	if cut {
		if err := d.relay.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Primary().SetSynchronous(t.Context(), "nobody"); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"BEGIN", "INSERT INTO kv VALUES (-7, 7)"} {
		if _, err := d.conn.Exec(t.Context(), sql, mode); err != nil {
			t.Fatal(err)
		}
	}
	go d.commits(t.Context(), mode) // ends with the answer; the tests wait for it
	if err := until(t.Context(), "the COMMIT waits", func() (bool, error) {
		v, err := c.Primary().QueryString(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'doubtful' AND wait_event = 'SyncRep'")
		return v == "1", err
	}); err != nil {
		t.Fatal(err)
	}
	// Its record is flushed, and the router sees that: any other client's write
	// would do.
	if _, err := d.s.srv.Router().WaitTicket(t.Context(), d.s.srv.Router().Ticket()); err != nil {
		t.Fatal(err)
	}
	if !cut {
		if err := c.WaitCaughtUp(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func (d *doubt) commits(ctx context.Context, mode pgx.QueryExecMode) {
	tag, err := d.conn.Exec(ctx, "COMMIT", mode)
	if err == nil && tag.String() != "COMMIT" {
		err = fmt.Errorf("it is answered with %s", tag)
	}
	d.commit <- err
}

// told waits for what the client is told, and compares the row with it.
func (d *doubt) told(want string) error {
	err := <-d.commit
	code := ""
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		code = e.Code
	} else if err != nil {
		return err
	}
	if code != want {
		return violation(fmt.Sprintf("the COMMIT is told %q (%v), want %q", code, err, want))
	}
	there := "0"
	if want == "" {
		there = "1"
	}
	// The client goes on as if nothing had been.
	if got, err := simple(d.ctx, d.conn, "SELECT count(*) FROM kv WHERE k = -7"); err != nil || got != there {
		return violation(fmt.Sprintf("it reads %s rows (%v), want %s", got, err, there))
	}
	_, err = simple(d.ctx, d.conn, "SET synchronous_commit = local; BEGIN; UPDATE kv SET v = v + 1 WHERE k = 1; COMMIT")
	return err
}

// failOver kills the primary; the replica takes over.
func (d *doubt) failOver(before func() error) error {
	err := errors.Join(d.c.Primary().Stop(cluster.Kill), d.replica.Promote(d.ctx))
	if err == nil && before != nil {
		err = before()
	}
	d.src.set(d.replica.Addr(), d.c.Nodes()...)
	return err
}

// TestCommitIsResolved: whatever becomes of the server, a client learns what
// became of its COMMIT.
func TestCommitIsResolved(t *testing.T) {
	for _, x := range []struct {
		name string
		mode pgx.QueryExecMode
		cut  bool
		then func(*doubt) error
		want string
	}{
		{"the replica has it", pgx.QueryExecModeSimpleProtocol, false, func(d *doubt) error { return d.failOver(nil) }, ""},
		{"the replica has it, extended protocol", pgx.QueryExecModeExec, false, func(d *doubt) error { return d.failOver(nil) }, ""},
		{"the replica has it, prepared", pgx.QueryExecModeCacheStatement, false, func(d *doubt) error { return d.failOver(nil) }, ""},
		{"the replica lacks it", pgx.QueryExecModeExec, true, func(d *doubt) error { return d.failOver(nil) }, "40001"},
		{"the server crashes and recovers", pgx.QueryExecModeSimpleProtocol, true, func(d *doubt) error {
			return d.c.Primary().Restart(d.ctx, cluster.Kill)
		}, ""},
		{"the server restarts", pgx.QueryExecModeExec, true, func(d *doubt) error { return d.c.Primary().Restart(d.ctx, cluster.Fast) }, ""},
		{"only the connection is lost", pgx.QueryExecModeSimpleProtocol, false, func(d *doubt) error {
			_, err := d.c.Primary().QueryString(d.ctx, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'doubtful'")
			return err
		}, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			d := startDoubt(t, x.cut, x.mode)
			if err := x.then(d); err != nil {
				t.Fatal(err)
			}
			if err := d.told(x.want); err != nil {
				t.Fatal(err)
			}
			outcome := router.OutcomeCommitted
			if x.want != "" {
				outcome = router.OutcomeAborted
			}
			if n := d.s.srv.Stats().Router.Commits; n[outcome] != 1 {
				t.Errorf("counted are %v", n)
			}
		})
	}
}

// A server that takes over without having heard of a transaction gives its
// number to another one. That this one is committed says nothing.
func commitGivenOutAgain(l *lab) error {
	d := startDoubt(l.t, true, pgx.QueryExecModeExec)
	err := d.failOver(func() error {
		for range 50 {
			if err := d.replica.Exec(l.ctx, "UPDATE kv SET v = v + 1 WHERE k = 3"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.told("40001")
}
