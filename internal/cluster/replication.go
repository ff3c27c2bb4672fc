package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// follow says whom the node replicates from once it reads its configuration.
func (n *Node) follow(host string, port int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.upstream = fmt.Sprintf("host=%s port=%d user=%s password=%s application_name=%s sslmode=disable",
		host, port, replicationUser, replicationPassword, n.Name)
}

// PauseReplay pauses the replica's replay and returns when it is paused. WAL
// is still received.
func (n *Node) PauseReplay(ctx context.Context) error {
	conn, err := n.Super(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := n.queryOn(ctx, conn, "SELECT pg_wal_replay_pause()"); err != nil {
		return err
	}
	// PostgreSQL 13 knows only the request, not whether it was met.
	ask := "SELECT pg_get_wal_replay_pause_state() = 'paused'"
	if strings.HasPrefix(conn.PgConn().ParameterStatus("server_version"), "13") {
		ask = "SELECT pg_is_wal_replay_paused()"
	}
	return poll(ctx, "pause replay on "+n.Name, func() (bool, error) {
		state, err := n.queryOn(ctx, conn, ask)
		return state == "t", err
	})
}

// ResumeReplay undoes PauseReplay.
func (n *Node) ResumeReplay(ctx context.Context) error {
	return n.Exec(ctx, "SELECT pg_wal_replay_resume()")
}

// SetApplyDelay makes a replica replay each commit no earlier than d after the
// primary committed it; 0 ends that. It lasts until it is changed, over
// restarts too.
func (n *Node) SetApplyDelay(ctx context.Context, d time.Duration) error {
	want := strconv.FormatInt(d.Milliseconds(), 10)
	if err := n.Exec(ctx, "ALTER SYSTEM SET recovery_min_apply_delay = "+want); err != nil {
		return err
	}
	if err := n.reload(); err != nil {
		return err
	}
	// A new connection sees what the postmaster has read by now.
	return poll(ctx, "set the apply delay of "+n.Name, func() (bool, error) {
		value, err := n.QueryString(ctx, "SELECT setting FROM pg_settings WHERE name = 'recovery_min_apply_delay'")
		return value == want, err
	})
}

// Promote makes a replica a primary and names it the cluster's primary. It
// does nothing to the old primary nor to the other replicas; see Failover.
func (n *Node) Promote(ctx context.Context) error {
	if err := n.Exec(ctx, "SELECT pg_promote(false)"); err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	err := poll(ctx, "promote "+n.Name, func() (bool, error) {
		recovering, err := n.QueryString(ctx, "SELECT pg_is_in_recovery()")
		return recovering == "f", err
	})
	if err == nil {
		n.c.setPrimary(n)
	}
	return err
}

// Repoint makes a node replicate from another one. A running replica is
// waited for until it streams from there; a stopped node is made a replica,
// which takes effect when it starts.
func (n *Node) Repoint(ctx context.Context, to *Node) error {
	return n.RepointAddr(ctx, to.Host, to.Port)
}

// RepointAddr is Repoint to any address, such as that of a Relay in front of
// the primary.
func (n *Node) RepointAddr(ctx context.Context, host string, port int) error {
	if !n.Running() {
		n.follow(host, port)
		return n.c.box.writeFile(n.file("standby.signal"), "")
	}
	recovering, err := n.QueryString(ctx, "SELECT pg_is_in_recovery()")
	if err != nil {
		return err
	}
	if recovering != "t" {
		return fmt.Errorf("repoint %s: it is a primary: stop it first, or Rebuild it", n.Name)
	}
	n.follow(host, port)
	if err := n.writeConf(); err != nil {
		return err
	}
	if err := n.reload(); err != nil {
		return err
	}
	return poll(ctx, "repoint "+n.Name, func() (bool, error) {
		at, err := n.QueryString(ctx, "SELECT coalesce((SELECT sender_port::text FROM pg_stat_wal_receiver WHERE status = 'streaming'), '')")
		return at == strconv.Itoa(port), err
	})
}

// Rebuild makes a node a replica of the present primary from nothing, with
// pg_basebackup: the way back for an old primary. The node is stopped first,
// what it had is lost, and it has caught up when Rebuild returns.
func (c *Cluster) Rebuild(ctx context.Context, n *Node) error {
	primary := c.Primary()
	if n == primary {
		return fmt.Errorf("rebuild %s: it is the primary", n.Name)
	}
	if err := n.Stop(Immediate); err != nil {
		return err
	}
	if err := os.RemoveAll(n.dir); err != nil {
		return fmt.Errorf("rebuild %s: %w", n.Name, err)
	}
	err := c.box.run(ctx, n.bin("pg_basebackup"), "-h", c.socketDir(), "-p", strconv.Itoa(primary.Port), "-U", SuperUser,
		"-D", n.dir, "-X", "stream", "-c", "fast", "--no-sync", "--no-manifest")
	if err != nil {
		return fmt.Errorf("rebuild %s: %w", n.Name, err)
	}
	n.follow(primary.Host, primary.Port)
	if err := errors.Join(n.configure(), c.box.writeFile(n.file("standby.signal"), "")); err != nil {
		return fmt.Errorf("rebuild %s: %w", n.Name, err)
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	return c.waitCaughtUp(ctx, primary, n)
}

// Failover stops the primary at once, promotes another node, and makes the
// other running replicas follow that one. A replica that had received more
// than the promoted node is rebuilt. The old primary stays stopped: Rebuild
// brings it back.
func (c *Cluster) Failover(ctx context.Context, to *Node) error {
	old := c.Primary()
	if to == old {
		return fmt.Errorf("fail over to %s: it is the primary", to.Name)
	}
	if err := old.Stop(Immediate); err != nil {
		return err
	}
	if err := to.Promote(ctx); err != nil {
		return err
	}
	fork, err := to.fork(ctx)
	if err != nil {
		return err
	}
	for _, n := range c.Replicas() {
		if !n.Running() {
			continue
		}
		ahead, err := n.QueryString(ctx, "SELECT coalesce(greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) > $1::pg_lsn, false)", fork)
		if err == nil && ahead == "t" {
			err = c.Rebuild(ctx, n)
		} else if err == nil {
			err = n.Repoint(ctx, to)
		}
		if err != nil {
			return fmt.Errorf("make %s follow %s: %w", n.Name, to.Name, err)
		}
	}
	return nil
}

// fork is the position at which a primary's timeline began.
func (n *Node) fork(ctx context.Context) (string, error) {
	history, err := n.QueryString(ctx, `SELECT pg_read_file('pg_wal/' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) || '.history')`)
	if err != nil {
		return "", fmt.Errorf("read the timeline's history: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(history), "\n")
	fields := strings.Split(lines[len(lines)-1], "\t") // timeline, position, reason
	if len(fields) < 2 {
		return "", fmt.Errorf("read the timeline's history: not understood: %q", history)
	}
	return fields[1], nil
}

// WaitCaughtUp waits until every running replica streams and has replayed all
// that the primary has written so far, asynchronous commits included. It
// commits one small record on the primary. A paused or frozen replica makes it
// wait until ctx ends.
func (c *Cluster) WaitCaughtUp(ctx context.Context) error {
	var running []*Node
	for _, n := range c.Replicas() {
		if n.Running() {
			running = append(running, n)
		}
	}
	return c.waitCaughtUp(ctx, c.Primary(), running...)
}

func (c *Cluster) waitCaughtUp(ctx context.Context, primary *Node, replicas ...*Node) error {
	// The record's synchronous commit flushes everything before it; only what
	// is flushed is sent to replicas.
	conn, err := primary.Super(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, sql := range []string{"SET synchronous_commit = local", "SELECT pg_logical_emit_message(true, 'pgroute', '')"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("flush %s: %w", primary.Name, err)
		}
	}
	target, err := primary.queryOn(ctx, conn, "SELECT pg_current_wal_flush_lsn()")
	if err != nil {
		return err
	}
	return c.each(replicas, func(n *Node) error { return n.waitReplayed(ctx, target) })
}

func (n *Node) waitReplayed(ctx context.Context, target string) error {
	conn, err := n.Super(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return poll(ctx, "wait until "+n.Name+" has replayed "+target, func() (bool, error) {
		done, err := n.queryOn(ctx, conn, `SELECT coalesce(pg_last_wal_replay_lsn() >= $1::pg_lsn, false)
			AND EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')`, target)
		return done == "t", err
	})
}

// Lag is how many bytes of WAL that the primary has flushed the replica has
// not replayed.
func (n *Node) Lag(ctx context.Context) (int64, error) {
	replayed, err := n.QueryString(ctx, "SELECT coalesce(pg_last_wal_replay_lsn(), '0/0')")
	if err != nil {
		return 0, err
	}
	text, err := n.c.Primary().QueryString(ctx, "SELECT greatest(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), $1::pg_lsn), 0)::int8", replayed)
	if err != nil {
		return 0, err
	}
	lag, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("lag of %s: %w", n.Name, err)
	}
	return lag, nil
}

// SetSynchronous makes what is committed from now on wait for the standbys that
// names tells, in the words of synchronous_standby_names; they need not exist.
func (n *Node) SetSynchronous(ctx context.Context, names string) error {
	if err := n.Exec(ctx, "ALTER SYSTEM SET synchronous_standby_names = "+quoteConf(names), "SELECT pg_reload_conf()"); err != nil {
		return err
	}
	err := poll(ctx, "wait until "+n.Name+" has read its configuration again", func() (bool, error) {
		now, err := n.QueryString(ctx, "SHOW synchronous_standby_names")
		return now == names, err
	})
	if err != nil {
		return err
	}
	// That a session knows the names is not enough: nobody waits until the
	// checkpointer, which reads the configuration by itself and before it
	// checkpoints, has said in shared memory that there are any.
	return n.Exec(ctx, "CHECKPOINT")
}
