package pgprobe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/router"
)

// snapshotSQL asks for a snapshot and for the next transaction's number. That
// one is read after the snapshot was taken, so it is not below any transaction
// that had begun by then.
const snapshotSQL = `SELECT s.v, pg_catalog.age(pg_catalog.pg_snapshot_xmax(s.v)::pg_catalog.xid)
 FROM (SELECT pg_catalog.pg_current_snapshot() AS v OFFSET 0) AS s`

// earlySQL asks a standby for those of the given transactions, and of those
// from a given one on, that it shows as committed. What is not below its own
// snapshot's xmax it has not shown to anybody, and pg_xact_status would raise
// an error for what it has not heard of. A standby's own list of running
// transactions is no help: pg_snapshot_xip is empty there.
//
// The states are asked for one by one after the snapshot was taken, so they
// are at least as new.
const earlySQL = `SELECT x.v, own.xmax
 FROM (SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8 AS xmax OFFSET 0) AS own
 LEFT JOIN LATERAL (SELECT pg_catalog.unnest('{%s}'::pg_catalog.int8[])
 UNION ALL SELECT pg_catalog.generate_series(%d::pg_catalog.int8, least(own.xmax - 1, %d::pg_catalog.int8))) AS x(v)
 ON CASE WHEN x.v < own.xmax THEN pg_catalog.pg_xact_status(x.v::pg_catalog.text::pg_catalog.xid8) = 'committed' ELSE false END`

// earlyMost bounds how many transactions beyond a snapshot a standby is asked
// for. A standby that is farther ahead of a snapshot that was just taken is
// not one of that primary.
const earlyMost = 1 << 16

// Snapshot implements router.Witness.
func (p *probe) Snapshot(ctx context.Context) (router.Snapshot, error) {
	if err := p.begin(ctx); err != nil {
		return router.Snapshot{}, p.fail(ctx, "snapshot", err)
	}
	s, err := p.snapshot()
	if err != nil {
		return router.Snapshot{}, p.fail(ctx, "snapshot", err)
	}
	p.end()
	return s, nil
}

func (p *probe) snapshot() (router.Snapshot, error) {
	rows, err := p.query(snapshotSQL)
	if err != nil {
		return router.Snapshot{}, err
	}
	f := fields{rows: rows}
	text, ahead := f.text(0, 0), f.int(0, 1)
	if f.err != nil {
		return router.Snapshot{}, f.err
	}
	s, err := parseSnapshot(text)
	if err != nil {
		return router.Snapshot{}, err
	}
	if ahead < 0 {
		return router.Snapshot{}, fmt.Errorf("the next transaction is %d before the end of the snapshot", -ahead)
	}
	s.Next = s.Xmax + uint64(ahead)
	return s, nil
}

// parseSnapshot reads the text of a pg_snapshot, xmin:xmax:xip,xip,….
func parseSnapshot(text string) (router.Snapshot, error) {
	var s router.Snapshot
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return s, fmt.Errorf("malformed snapshot %q", text)
	}
	var err error
	if s.Xmin, err = strconv.ParseUint(parts[0], 10, 63); err != nil {
		return s, fmt.Errorf("malformed snapshot %q: %w", text, err)
	}
	if s.Xmax, err = strconv.ParseUint(parts[1], 10, 63); err != nil {
		return s, fmt.Errorf("malformed snapshot %q: %w", text, err)
	}
	if parts[2] != "" {
		for _, part := range strings.Split(parts[2], ",") {
			xid, err := strconv.ParseUint(part, 10, 63)
			if err != nil {
				return s, fmt.Errorf("malformed snapshot %q: %w", text, err)
			}
			s.Running = append(s.Running, xid)
		}
	}
	if s.Xmin > s.Xmax || !slices.IsSorted(s.Running) {
		return s, fmt.Errorf("malformed snapshot %q", text)
	}
	return s, nil
}

// committingSQL asks a primary for the transactions that may have committed and
// are not shown. A transaction is hidden, as is what it has flushed, until its
// backend has taken it from the list of those that run (xact.c,
// CommitTransaction). Meanwhile that backend waits neither for a lock nor for a
// message of its client, so one that is seen to do so has ended what it hid
// before: its transaction is read first (pgstat_read_current_status), its wait
// event after it. It may wait until its client takes a message: the warning that
// a wait for a synchronous standby was cancelled. For the standby it waits in
// syncrep.c. The state tells less: a worker of logical replication commits as
// idle (worker.c), and so may a session that drops its temporary tables at its
// end. A COMMIT PREPARED has no transaction of its own; what it commits is listed
// as prepared until it is shown (twophase.c).
const committingSQL = `SELECT a.backend_xid::pg_catalog.text, a.wait_event IS NOT DISTINCT FROM 'SyncRep'
 FROM pg_catalog.pg_stat_activity AS a
 WHERE a.wait_event = 'SyncRep' OR a.backend_xid IS NOT NULL
 AND a.wait_event_type IS DISTINCT FROM 'Lock' AND a.wait_event IS DISTINCT FROM 'ClientRead'
 UNION ALL SELECT p.transaction::pg_catalog.text, false FROM pg_catalog.pg_prepared_xact() AS p`

// Committing implements router.CommitWitness.
func (p *probe) Committing(ctx context.Context, next uint64) ([]router.PendingCommit, error) {
	if err := p.begin(ctx); err != nil {
		return nil, p.fail(ctx, "who is committing", err)
	}
	rows, err := p.query(committingSQL)
	if err != nil {
		return nil, p.fail(ctx, "who is committing", err)
	}
	p.end()
	f := fields{rows: rows}
	var list []router.PendingCommit
	for i := range rows {
		c := router.PendingCommit{Standby: f.bool(i, 1)}
		if text := f.nullable(i, 0); text != nil {
			xid, err := strconv.ParseUint(*text, 10, 32)
			if err != nil {
				return nil, p.fail(ctx, "who is committing", err)
			}
			c.XID = next + uint64(int64(int32(uint32(xid)-uint32(next)))) // it comes without an epoch, and may have begun since
		}
		list = append(list, c)
	}
	if f.err != nil {
		return nil, p.fail(ctx, "who is committing", f.err)
	}
	return list, nil
}

// Early implements router.Witness.
func (p *probe) Early(ctx context.Context, s router.Snapshot) ([]uint64, error) {
	if err := p.begin(ctx); err != nil {
		return nil, p.fail(ctx, "visible commits", err)
	}
	early, err := p.early(&s)
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && refused.Severity == "ERROR" || errors.Is(err, router.ErrWitnessRefused):
		p.end()
		return nil, fmt.Errorf("ask %s for its visible commits: %w", p.addr.Name, errors.Join(router.ErrWitnessRefused, err))
	case err != nil:
		return nil, p.fail(ctx, "visible commits", err)
	}
	p.end()
	return early, nil
}

func (p *probe) early(s *router.Snapshot) ([]uint64, error) {
	var running strings.Builder
	for i, xid := range s.Running {
		if i > 0 {
			running.WriteByte(',')
		}
		running.WriteString(strconv.FormatUint(xid, 10))
	}
	last := s.Xmax + earlyMost
	rows, err := p.query(fmt.Sprintf(earlySQL, running.String(), s.Xmax, last))
	if err != nil {
		return nil, err
	}
	f := fields{rows: rows}
	if xmax := f.int(0, 1); f.err == nil && uint64(xmax) > last {
		return nil, fmt.Errorf("%w: it is at transaction %d, the primary's snapshot at %d", router.ErrWitnessRefused, xmax, s.Xmax)
	}
	var early []uint64
	for i := range rows {
		if f.nullable(i, 0) != nil { // NULL in the one row that says that there is none
			early = append(early, uint64(f.int(i, 0)))
		}
	}
	return early, f.err
}
