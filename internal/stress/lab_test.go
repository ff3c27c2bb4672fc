package stress_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
)

// violation says that a rule was broken: an answer was wrong. Any other error
// says that the test could not be done.
type violation string

func (v violation) Error() string { return string(v) }

// startLab starts the cluster that the rules share. Its primary flushes only
// what somebody waits for.
func startLab(t *testing.T) *cluster.Cluster {
	t.Helper()
	c := cluster.Start(t, cluster.Options{Trust: true, Settings: map[string]string{"wal_writer_delay": "10s"}})
	if err := errors.Join(c.Primary().Exec(t.Context(), schema...), c.WaitCaughtUp(t.Context())); err != nil {
		t.Fatal(err)
	}
	return c
}

// lab is what the test of a rule works with.
type lab struct {
	t   *testing.T
	ctx context.Context
	c   *cluster.Cluster
	src *source
}

// cure undoes whatever a test did to the replicas that run.
func (l *lab) cure() error {
	var err error
	for _, r := range l.c.Replicas() {
		if r.Running() {
			err = errors.Join(err, r.ResumeReplay(l.ctx), r.SetApplyDelay(l.ctx, 0))
		}
	}
	return errors.Join(err, l.c.WaitCaughtUp(l.ctx))
}

// sidecar starts a proxy that knows everything it needs to send reads to a
// replica.
func (l *lab) sidecar(replicas int) (*sidecar, error) {
	s := startSidecar(l.t, "lab", l.src, nil)
	return s, s.settle(l.ctx, probeSQL, replicas)
}

// dial connects, and returns once the connection reads at a replica.
func (l *lab) dial(s *sidecar, settings ...string) (*pgx.Conn, error) {
	conn, err := s.dial(l.ctx, settings...)
	if err != nil {
		return nil, err
	}
	l.t.Cleanup(func() { hangUp(conn) })
	err = until(l.ctx, "the connection reads at a replica", func() (bool, error) {
		if _, err := simple(l.ctx, conn, probeSQL); err != nil {
			return false, err
		}
		r, err := lastRoute(l.ctx, conn)
		return r.role == "replica", err
	})
	return conn, err
}

// pauseAll holds all replicas where they are, once they have everything.
func (l *lab) pauseAll() error {
	err := l.c.WaitCaughtUp(l.ctx)
	for _, r := range l.c.Replicas() {
		err = errors.Join(err, r.PauseReplay(l.ctx))
	}
	return err
}

// mark is the value that the tests write: row 0 has a greater one each time.
func (l *lab) mark() (int64, error) {
	text, err := l.c.Primary().QueryString(l.ctx, probeSQL)
	if err != nil {
		return 0, err
	}
	var v int64
	_, err = fmt.Sscan(text, &v)
	return v + 1, err
}

func writeMark(v int64) string { return fmt.Sprintf("UPDATE kv SET v = %d WHERE k = 0", v) }

// wantMark reads row 0 and demands at least v.
func (l *lab) wantMark(conn *pgx.Conn, v int64) error {
	text, err := simple(l.ctx, conn, probeSQL)
	if err != nil {
		return err
	}
	return l.judge(conn, text, v)
}

func (l *lab) judge(conn *pgx.Conn, text string, v int64) error {
	r, err := lastRoute(l.ctx, conn)
	if err != nil {
		return err
	}
	var got int64
	if _, err := fmt.Sscan(text, &got); err != nil {
		return err
	}
	if got < v {
		return violation(fmt.Sprintf("read %d after %d (%+v)", got, v, r))
	}
	return nil
}
