package pgprobe

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pgroute/pgroute/router"
)

// errMoved says that the server changed its role between two questions.
var errMoved = errors.New("the server changed its role while it was asked")

// identifyTries is how often Identify asks again after a change of role. Only
// a promotion changes it without cutting the connection, and only once.
const identifyTries = 3

// lifeSQL asks what stays the same for as long as a connection lasts: a server
// whose checkpointer ends takes all its connections with it. This is most of
// what there is to ask, and costs the more the more connections the server has,
// because pg_stat_activity copies what is known of each. The role, which can
// change once, is asked last.
const lifeSQL = `SELECT
 (SELECT c.system_identifier FROM pg_catalog.pg_control_system() AS c),
 (SELECT pg_catalog.max((extract(epoch FROM a.backend_start) * 1000000)::pg_catalog.int8)
  FROM pg_catalog.pg_stat_activity AS a WHERE a.backend_type = 'checkpointer'),
 (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::pg_catalog.int8,
 pg_catalog.current_setting('server_version_num'),
 pg_catalog.current_setting('wal_block_size'),
 pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'),
 pg_catalog.pg_is_in_recovery()`

const applyDelaySQL = `(extract(epoch FROM pg_catalog.current_setting('recovery_min_apply_delay')::pg_catalog.interval) * 1000)::pg_catalog.int8`

// primarySQL raises 55000 on a standby.
const primarySQL = `SELECT
 pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()),
 pg_catalog.pg_current_wal_insert_lsn(),
 pg_catalog.pg_current_wal_flush_lsn(),
 pg_catalog.pg_last_wal_replay_lsn(),
 pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()),
 ` + applyDelaySQL

// standbySQL raises 55000 on a primary. pg_is_wal_replay_paused is true
// already when a pause was asked for, and unlike pg_get_wal_replay_pause_state
// it exists in PostgreSQL 13.
const standbySQL = `SELECT
 (SELECT pg_catalog.max(w.received_tli) FROM pg_catalog.pg_stat_wal_receiver AS w),
 pg_catalog.pg_last_wal_replay_lsn(),
 pg_catalog.pg_is_wal_replay_paused(),
 ` + applyDelaySQL

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
		p.life = router.Status{}
	}
	if err != nil {
		return router.Status{}, p.fail(ctx, "identity", err)
	}
	p.end()
	s.At = time.Now()
	return s, nil
}

// identify asks once. It fails with errMoved when the server does not have the
// role any more that it is remembered to have.
func (p *probe) identify() (router.Status, error) {
	if p.life.Incarnation == 0 {
		if err := p.meet(); err != nil {
			return router.Status{}, err
		}
	}
	s, err := p.life, error(nil)
	if s.InRecovery {
		err = p.identifyStandby(&s)
	} else {
		err = p.identifyPrimary(&s)
	}
	return s, err
}

// meet asks for what is remembered.
func (p *probe) meet() error {
	rows, err := p.query(lifeSQL)
	if err != nil {
		return err
	}
	var s router.Status
	f := fields{rows: rows}
	s.SystemID = uint64(f.int(0, 0))
	incarnation := f.nullable(0, 1)
	s.PostmasterStart = f.int(0, 2)
	s.Version = int(f.int(0, 3))
	s.BlockSize = int(f.int(0, 4))
	seesStatistics := f.bool(0, 5)
	s.InRecovery = f.bool(0, 6)
	s.Parks = s.InRecovery && s.Version >= waitForLSN
	if f.err != nil {
		return f.err
	}
	switch {
	case incarnation != nil:
		s.Incarnation = f.int(0, 1)
	case !seesStatistics:
		return errors.New("the monitor's role may not see when the checkpointer was started: grant it pg_monitor")
	default:
		return errors.New("the server has no checkpointer yet")
	}
	if f.err != nil {
		return f.err
	}
	p.life = s
	return nil
}

func (p *probe) identifyStandby(s *router.Status) error {
	// The role is asked again in a call of its own: what was read before it was
	// read from a standby.
	rows, err := p.ask(&p.standby, p.roleCall)
	if err != nil && !isWrongRole(err) {
		return err
	}
	result, roleErr := p.result(1)
	if roleErr != nil {
		return roleErr
	}
	still := result != nil && result[0] != 0
	if roleErr = p.ready(); roleErr != nil {
		return roleErr
	}
	if err != nil || !still {
		return errMoved
	}
	f := fields{rows: rows}
	if f.nullable(0, 0) != nil {
		s.Timeline = uint32(f.int(0, 0))
	}
	if f.nullable(0, 1) != nil {
		s.Replay = f.lsn(0, 1)
	}
	s.ReplayPaused = f.bool(0, 2)
	s.ApplyDelay = time.Duration(f.int(0, 3)) * time.Millisecond
	return f.err
}

func (p *probe) identifyPrimary(s *router.Status) error {
	rows, err := p.ask(&p.primary, nil)
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
	s.ApplyDelay = time.Duration(f.int(0, 5)) * time.Millisecond
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
