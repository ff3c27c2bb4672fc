package pgprobe

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// errMoved says that the server changed its role between two questions.
var errMoved = errors.New("the server changed its role while it was asked")

// identifyTries is how often Identify asks again after a change of role. Only
// a promotion changes it without cutting the connection, and only once.
const identifyTries = 3

// identitySQL asks what can be asked in either role, the role last.
const identitySQL = `SELECT
 (SELECT c.system_identifier FROM pg_catalog.pg_control_system() AS c),
 (SELECT pg_catalog.max((extract(epoch FROM a.backend_start) * 1000000)::pg_catalog.int8)
  FROM pg_catalog.pg_stat_activity AS a WHERE a.backend_type = 'checkpointer'),
 (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::pg_catalog.int8,
 pg_catalog.current_setting('server_version_num'),
 pg_catalog.current_setting('wal_block_size'),
 (extract(epoch FROM pg_catalog.current_setting('recovery_min_apply_delay')::pg_catalog.interval) * 1000)::pg_catalog.int8,
 pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'),
 pg_catalog.pg_is_in_recovery()`

// primarySQL raises 55000 on a standby.
const primarySQL = `SELECT
 pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()),
 pg_catalog.pg_current_wal_insert_lsn(),
 pg_catalog.pg_current_wal_flush_lsn(),
 pg_catalog.pg_last_wal_replay_lsn(),
 pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())`

// standbySQL raises 55000 on a primary. pg_is_wal_replay_paused is true
// already when a pause was asked for, and unlike pg_get_wal_replay_pause_state
// it exists in PostgreSQL 13. The role is asked again in a statement of its
// own: what was read before it was read from a standby.
const standbySQL = `SELECT
 (SELECT pg_catalog.max(w.received_tli) FROM pg_catalog.pg_stat_wal_receiver AS w),
 pg_catalog.pg_last_wal_replay_lsn(),
 pg_catalog.pg_is_wal_replay_paused();
SELECT pg_catalog.pg_is_in_recovery()`

// Identify implements router.Probe.
func (p *probe) Identify(ctx context.Context) (router.Status, error) {
	if err := p.begin(ctx); err != nil {
		return router.Status{}, p.fail(ctx, "identity", err)
	}
	var (
		s   router.Status
		err error
	)
	for range identifyTries {
		if s, err = p.identify(); !errors.Is(err, errMoved) {
			break
		}
	}
	if err != nil {
		return router.Status{}, p.fail(ctx, "identity", err)
	}
	p.end()
	s.At = time.Now()
	return s, nil
}

// identify asks once. It fails with errMoved when a promotion came between the
// questions.
func (p *probe) identify() (router.Status, error) {
	var s router.Status
	rows, err := p.query(identitySQL)
	if err != nil {
		return s, err
	}
	f := fields{rows: rows}
	s.SystemID = uint64(f.int(0, 0))
	incarnation := f.nullable(0, 1)
	s.PostmasterStart = f.int(0, 2)
	s.Version = int(f.int(0, 3))
	s.BlockSize = int(f.int(0, 4))
	s.ApplyDelay = time.Duration(f.int(0, 5)) * time.Millisecond
	seesStatistics := f.bool(0, 6)
	s.InRecovery = f.bool(0, 7)
	s.Parks = s.InRecovery && s.Version >= waitForLSN
	if f.err != nil {
		return s, f.err
	}
	switch {
	case incarnation != nil:
		s.Incarnation = f.int(0, 1)
	case !seesStatistics:
		return s, errors.New("the monitor's role may not see when the checkpointer was started: grant it pg_monitor")
	default:
		return s, errors.New("the server has no checkpointer yet")
	}
	if f.err != nil {
		return s, f.err
	}
	if s.InRecovery {
		return s, p.identifyStandby(&s)
	}
	return s, p.identifyPrimary(&s)
}

func (p *probe) identifyStandby(s *router.Status) error {
	rows, err := p.query(standbySQL)
	if isWrongRole(err) {
		return errMoved
	}
	if err != nil {
		return err
	}
	f := fields{rows: rows}
	if f.nullable(0, 0) != nil {
		s.Timeline = uint32(f.int(0, 0))
	}
	if f.nullable(0, 1) != nil {
		s.Replay = f.lsn(0, 1)
	}
	s.ReplayPaused = f.bool(0, 2)
	if still := f.bool(1, 0); f.err == nil && !still {
		return errMoved
	}
	return f.err
}

func (p *probe) identifyPrimary(s *router.Status) error {
	rows, err := p.query(primarySQL)
	if isWrongRole(err) {
		return errMoved
	}
	if err != nil {
		return err
	}
	f := fields{rows: rows}
	name := f.text(0, 0)
	s.Insert = f.lsn(0, 1)
	s.Flush = f.lsn(0, 2)
	if f.nullable(0, 3) != nil {
		s.Recovered = f.lsn(0, 3)
	} else {
		s.CleanStart = true
	}
	s.NextXID = uint64(f.int(0, 4))
	if f.err != nil {
		return f.err
	}
	if s.Timeline, err = walFileTimeline(name); err != nil {
		return err
	}
	h, err := p.timelineHistory(s.Timeline)
	if err != nil {
		return err
	}
	s.Begin, s.BeginKnown, s.History = h.begin, h.known, h.past
	return nil
}

// walFileTimeline returns the timeline in the name of a WAL segment, its first
// eight hexadecimal digits.
func walFileTimeline(name string) (uint32, error) {
	if len(name) != 24 {
		return 0, fmt.Errorf("malformed WAL file name %q", name)
	}
	tli, err := strconv.ParseUint(name[:8], 16, 32)
	if err != nil || tli == 0 {
		return 0, fmt.Errorf("malformed WAL file name %q", name)
	}
	return uint32(tli), nil
}

// isWrongRole reports whether a function refused because the server is or is
// not in recovery (object_not_in_prerequisite_state).
func isWrongRole(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "55000"
}

// query runs sql by the simple protocol and returns the rows of all its
// statements; nil stands for NULL. After an error from the server the
// connection is ready for the next question, after any other it is not.
func (p *probe) query(sql string) ([][]*string, error) {
	p.frontend.SendQuery(&pgproto3.Query{String: sql})
	if err := p.frontend.Flush(); err != nil {
		return nil, err
	}
	var (
		rows   [][]*string
		failed error
	)
	for {
		msg, err := p.frontend.Receive()
		if err != nil {
			// A server that ends the connection says why just before.
			return nil, errors.Join(failed, err)
		}
		switch msg := msg.(type) {
		case *pgproto3.DataRow:
			rows = append(rows, textRow(msg.Values))
		case *pgproto3.ErrorResponse:
			failed = pgconn.ErrorResponseToPgError(msg)
		case *pgproto3.ReadyForQuery:
			if failed == nil && msg.TxStatus != 'I' {
				failed = fmt.Errorf("monitor connection is in transaction state %q", msg.TxStatus)
			}
			return rows, failed
		case *pgproto3.RowDescription, *pgproto3.CommandComplete, *pgproto3.EmptyQueryResponse,
			*pgproto3.NoticeResponse, *pgproto3.ParameterStatus, *pgproto3.NotificationResponse:
		default:
			return nil, fmt.Errorf("unexpected %T in the answer to a query", msg)
		}
	}
}

// textRow copies the values of a row out of the read buffer.
func textRow(values [][]byte) []*string {
	row := make([]*string, len(values))
	for i, v := range values {
		if v != nil {
			s := string(v)
			row[i] = &s
		}
	}
	return row
}

// fields reads values out of rows and keeps the first thing that was wrong.
type fields struct {
	rows [][]*string
	err  error
}

func (f *fields) nullable(row, column int) *string {
	if row >= len(f.rows) || column >= len(f.rows[row]) {
		f.keep(fmt.Errorf("row %d, column %d is missing in the answer", row, column))
		return nil
	}
	return f.rows[row][column]
}

func (f *fields) text(row, column int) string {
	v := f.nullable(row, column)
	if v == nil {
		f.keep(fmt.Errorf("row %d, column %d of the answer is NULL", row, column))
		return ""
	}
	return *v
}

func (f *fields) int(row, column int) int64 {
	n, err := strconv.ParseInt(f.text(row, column), 10, 64)
	f.keep(err)
	return n
}

func (f *fields) bool(row, column int) bool { return f.text(row, column) == "t" }

func (f *fields) lsn(row, column int) lsn.LSN {
	l, err := lsn.Parse(f.text(row, column))
	f.keep(err)
	return l
}

func (f *fields) keep(err error) {
	if f.err == nil && err != nil {
		f.err = fmt.Errorf("read the server's answer: %w", err)
	}
}
