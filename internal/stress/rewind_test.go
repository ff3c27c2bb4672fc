package stress_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
)

// A replica that comes back from an old copy of its files is behind where it
// was. What was known of it before must not count.
func readAfterRestore(l *lab) error {
	p, r := l.c.Primary(), l.c.Replicas()[0]
	restore, err := l.copyOf(r)
	if err != nil {
		return err
	}
	l.src.set(p.Addr(), p, r)
	s, err := l.sidecar(1)
	if err != nil {
		return err
	}
	conn, err := l.dial(s)
	if err != nil {
		return err
	}
	// It has read nothing yet, so that its floor is that of the write and no
	// ticket of its own hides what is known of the replica.
	reader, err := s.dial(l.ctx)
	if err != nil {
		return err
	}
	defer hangUp(reader)
	v, err := l.mark()
	if err != nil {
		return err
	}
	if _, err := simple(l.ctx, conn, writeMark(v)); err != nil {
		return err
	}
	err = until(l.ctx, "the replica is known to have the write", func() (bool, error) {
		got, err := simple(l.ctx, conn, probeSQL)
		if err != nil {
			return false, err
		}
		at, err := lastRoute(l.ctx, conn)
		return at.role == "replica" && got == fmt.Sprint(v), err
	})
	if err != nil {
		return err
	}
	node := s.srv.Router().Topology().Node(r.Addr())
	life := node.PostmasterStart()
	if err := restore(); err != nil {
		return err
	}
	if got, err := r.QueryString(l.ctx, probeSQL); err != nil || got == fmt.Sprint(v) {
		return fmt.Errorf("the restored replica shows %s, which was to be missing (%w)", got, err)
	}
	err = until(l.ctx, "the replica counts again", func() (bool, error) {
		return node.PostmasterStart() != life && node.Eligible(), nil
	})
	if err != nil {
		return err
	}
	return l.wantMark(reader, v)
}

// copyOf copies the files of a replica and returns what puts the copy back.
// A replica that runs from the copy receives everything, and replays no commit
// until somebody ends its delay.
func (l *lab) copyOf(r *cluster.Node) (restore func() error, err error) {
	dir, err := r.QueryString(l.ctx, "SHOW data_directory")
	if err != nil {
		return nil, err
	}
	old := dir + ".old"
	l.t.Cleanup(func() { _ = os.RemoveAll(old) })
	if err := r.SetApplyDelay(l.ctx, time.Hour); err != nil {
		return nil, err
	}
	if err := r.Stop(cluster.Fast); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(l.ctx, "cp", "-a", dir, old).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copy a replica: %w: %s", err, out)
	}
	err = errors.Join(r.Start(l.ctx), r.SetApplyDelay(l.ctx, 0), l.c.WaitCaughtUp(l.ctx))
	return func() error {
		if err := errors.Join(r.Stop(cluster.Immediate), os.RemoveAll(dir), os.Rename(old, dir)); err != nil {
			return fmt.Errorf("restore a replica: %w", err)
		}
		return r.Start(l.ctx)
	}, err
}

// The replica that was ahead when another was promoted stays on the old
// timeline, with a higher position and without what was written since.
func readAcrossTimelines(l *lab) (err error) {
	l.c = cluster.Start(l.t, cluster.Options{Trust: true})
	old, next, ahead := l.c.Nodes()[0], l.c.Nodes()[1], l.c.Nodes()[2]
	if err := errors.Join(old.Exec(l.ctx, schema...), l.c.WaitCaughtUp(l.ctx), next.Stop(cluster.Immediate)); err != nil {
		return err
	}
	l.src = newSource(old, ahead)
	// It cannot follow, and would be waited for in the end.
	defer func() { err = errors.Join(err, ahead.Stop(cluster.Immediate)) }()
	s, err := l.sidecar(1)
	if err != nil {
		return err
	}
	err = errors.Join(old.Exec(l.ctx, "SELECT pg_logical_emit_message(true, 'x', repeat('x', 2000000))"), l.c.WaitCaughtUp(l.ctx),
		old.Stop(cluster.Immediate), next.Start(l.ctx), next.Promote(l.ctx))
	if err != nil {
		return err
	}
	l.src.set(next.Addr(), next, ahead)
	err = s.srv.Router().WaitTopology(l.ctx, func(t *router.Topology) bool { return t.Primary != nil && t.Primary.Name == next.Addr() })
	if err != nil {
		return err
	}
	conn, err := s.dial(l.ctx)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	for v := int64(1); v <= 15; v++ {
		if _, err := simple(l.ctx, conn, writeMark(v)); err != nil {
			return err
		}
		if err := l.wantMark(conn, v); err != nil {
			return err
		}
		rest(l.ctx, 50*time.Millisecond) // the router looks at the servers in between
	}
	return nil
}
