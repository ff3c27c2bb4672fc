package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
)

// story tells what the proxy does, on real servers.
func (st *stage) story(ctx context.Context, load time.Duration) error {
	conn, err := st.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	setUp := []string{
		"CREATE TABLE booking (id int PRIMARY KEY, seats int NOT NULL)",
		"INSERT INTO booking VALUES (0, 0), (1, 0)",
	}
	for _, sql := range setUp {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	// The table is on every replica before a read asks for it, so that the
	// story is about rows and not about tables that do not exist yet.
	if err := st.cluster.WaitCaughtUp(ctx); err != nil {
		return err
	}
	if err := st.ownWrites(ctx, conn); err != nil {
		return err
	}
	if err := st.ladder(ctx); err != nil {
		return err
	}
	return st.load(ctx, load)
}

// connect connects as the application would.
func (st *stage) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, st.dsn())
	if err != nil {
		return nil, fmt.Errorf("connect through the proxy: %w", err)
	}
	return conn, nil
}

// route is the row of SHOW pgroute.last_route.
type route struct{ node, role, reason, waited string }

func (st *stage) lastRoute(ctx context.Context, conn *pgx.Conn) (route, error) {
	var r route
	// The simple protocol: every column of the row is text.
	err := conn.QueryRow(ctx, "SHOW pgroute.last_route", pgx.QueryExecModeSimpleProtocol).Scan(&r.node, &r.role, &r.reason, &r.waited)
	if err != nil {
		return r, fmt.Errorf("SHOW pgroute.last_route: %w", err)
	}
	if name := st.names[r.node]; name != "" {
		r.node = name
	}
	return r, nil
}

// reasons puts the reasons of routes in words.
var reasons = map[string]string{
	"covered":     "it had already replayed all that this session wrote",
	"waited":      "it had replayed all that this session wrote after a short wait",
	"not_covered": "no replica had replayed the session's last write in time",
	"no_replica":  "there was no replica to ask",
	"level":       "the level does not ask for more",
	"hint":        "the comment asked for it",
	"write":       "it is a write",
	"redo":        "another server's attempt was discarded",
	"proof":       "a check before the read proved that it had replayed enough",
}

func because(reason string) string {
	if words := reasons[reason]; words != "" {
		return words
	}
	return reason
}

// ownWrites shows a write and the read right after it.
func (st *stage) ownWrites(ctx context.Context, conn *pgx.Conn) error {
	st.scr.head("Write, then read at once (level session, the default)")
	for seats := 1; seats <= 3; seats++ {
		if err := st.write(ctx, conn, 0, seats); err != nil {
			return err
		}
		wrote, err := st.lastRoute(ctx, conn)
		if err != nil {
			return err
		}
		got, err := read(ctx, conn, 0, "")
		if err != nil {
			return err
		}
		r, err := st.lastRoute(ctx, conn)
		if err != nil {
			return err
		}
		verdict := st.scr.good("fresh")
		if got != seats {
			verdict = st.scr.stale("STALE")
		}
		st.scr.line("  UPDATE … seats = %d  on %s;  SELECT → %d  on %s (%s)  %s", seats, wrote.node, got, r.node, r.role, verdict)
		st.scr.line("  %s", st.scr.dim(fmt.Sprintf("    because %s (%s, waited %s ms)", because(r.reason), r.reason, r.waited)))
		if got != seats {
			return errors.New("a read did not see the session's own write")
		}
	}
	return nil
}

func (st *stage) write(ctx context.Context, conn *pgx.Conn, id, seats int) error {
	if _, err := conn.Exec(ctx, "UPDATE booking SET seats = $2 WHERE id = $1", id, seats); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// read reads one row; hint is a comment in front of the statement.
func read(ctx context.Context, conn *pgx.Conn, id int, hint string) (int, error) {
	var seats int
	err := conn.QueryRow(ctx, hint+"SELECT seats FROM booking WHERE id = $1", id).Scan(&seats)
	if err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	return seats, nil
}

// outcome counts the reads of one level.
type outcome struct {
	reads, stale int
	nodes        map[string]int
}

// ladder reads just after writes at several levels. The readers are other
// clients than the writer, so that each begins without a replica of its own.
func (st *stage) ladder(ctx context.Context) error {
	st.scr.head(fmt.Sprintf("The same read at three levels, while one replica is %v late", lateBy))
	const rounds = 6
	writer, err := st.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = writer.Close(context.WithoutCancel(ctx)) }()
	levels := []string{"eventual", "session", "strong"}
	results := make(map[string]*outcome)
	for _, l := range levels {
		results[l] = &outcome{nodes: make(map[string]int)}
	}
	for round := 1; round <= rounds; round++ {
		if err := st.write(ctx, writer, 1, round); err != nil {
			return err
		}
		for _, level := range levels {
			if err := st.readAt(ctx, level, round, results[level]); err != nil {
				return err
			}
		}
	}
	for _, level := range levels {
		o := results[level]
		verdict := st.scr.good("0 stale")
		if o.stale > 0 {
			verdict = st.scr.stale(fmt.Sprintf("%d stale", o.stale))
		}
		st.scr.line("  %-9s %3d reads, %s   %s", level, o.reads, verdict, st.scr.dim(counts(o.nodes)))
		if o.stale > 0 && level != "eventual" {
			return fmt.Errorf("a read at level %s was stale", level)
		}
	}
	st.scr.line("%s", st.scr.dim("  eventual takes any replica; session and strong pass over those that are not there yet"))
	return nil
}

// readAt reads on two clients of their own.
func (st *stage) readAt(ctx context.Context, level string, want int, o *outcome) error {
	for range 2 {
		conn, err := st.connect(ctx)
		if err != nil {
			return err
		}
		got, err := read(ctx, conn, 1, "/* pgroute: "+level+" */ ")
		if err == nil {
			var r route
			if r, err = st.lastRoute(ctx, conn); err == nil {
				o.nodes[r.node]++
			}
		}
		_ = conn.Close(context.WithoutCancel(ctx))
		if err != nil {
			return fmt.Errorf("level %s: %w", level, err)
		}
		o.reads++
		if got < want {
			o.stale++
		}
	}
	return nil
}

// invite tells how to try the proxy by hand.
func (st *stage) invite(stay bool) {
	if !stay {
		st.scr.head("Try it yourself: pgroute demo --stay keeps the proxy, and prints its address")
		return
	}
	st.scr.head("Try it yourself")
	st.scr.line("  psql '%s'", st.dsn())
	for _, sql := range []string{
		"UPDATE booking SET seats = seats + 1 WHERE id = 1;", "SELECT * FROM booking;", "SHOW pgroute.last_route;",
		"/* pgroute: eventual */ SELECT * FROM booking;", "SET pgroute.consistency = strong;",
	} {
		st.scr.line("    %s", st.scr.dim(sql))
	}
	admin := fmt.Sprintf("postgres://%s:%s@%s/pgroute?sslmode=disable", cluster.AppUser, cluster.AppPassword, st.srv.Addrs()[0])
	st.scr.line("  psql '%s' -c 'SHOW NODES'", admin)
	st.scr.line("%s", st.scr.dim("  Ctrl-C ends everything and removes it."))
}
