package stress_test

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
)

func readOwnWrite(l *lab) error {
	s, err := l.sidecar(2)
	if err != nil {
		return err
	}
	conn, err := l.dial(s)
	if err != nil {
		return err
	}
	v, err := l.mark()
	if err := errors.Join(err, l.pauseAll()); err != nil {
		return err
	}
	if _, err := simple(l.ctx, conn, writeMark(v)); err != nil {
		return err
	}
	return l.wantMark(conn, v)
}

func readOtherConnection(l *lab) error {
	s, err := l.sidecar(2)
	if err != nil {
		return err
	}
	writer, err := l.dial(s)
	if err != nil {
		return err
	}
	reader, err := l.dial(s)
	if err != nil {
		return err
	}
	v, err := l.mark()
	if err := errors.Join(err, l.pauseAll()); err != nil {
		return err
	}
	if _, err := simple(l.ctx, writer, writeMark(v)); err != nil {
		return err
	}
	return l.wantMark(reader, v)
}

func readInSnapshot(l *lab) error {
	s, err := l.sidecar(2)
	if err != nil {
		return err
	}
	conn, err := l.dial(s)
	if err != nil {
		return err
	}
	v, err := l.mark()
	if err := errors.Join(err, l.pauseAll()); err != nil {
		return err
	}
	if _, err := simple(l.ctx, conn, writeMark(v)); err != nil {
		return err
	}
	got, r, err := readTwice(l.ctx, conn, pgx.RepeatableRead, hotRead, 0)
	if err == nil && got < v {
		err = violation(fmt.Sprintf("read %d after %d in REPEATABLE READ (%+v)", got, v, r))
	}
	return err
}

// A statement that finds the row of an asynchronous commit has written nothing
// and flushed nothing. Still its client has seen the row.
func readUnflushed(l *lab) error {
	s, err := l.sidecar(2)
	if err != nil {
		return err
	}
	conn, err := l.dial(s)
	if err != nil {
		return err
	}
	other, err := connect(l.ctx, l.c.Primary().Addr(), cluster.AppDatabase, "synchronous_commit", "off")
	if err != nil {
		return err
	}
	defer hangUp(other)
	base := time.Now().UnixMicro()
	for k := base; k < base+20; k++ {
		if _, err := simple(l.ctx, other, fmt.Sprintf("INSERT INTO made VALUES (%d, 1)", k)); err != nil {
			return err
		}
		if _, err := simple(l.ctx, conn, fmt.Sprintf("INSERT INTO made VALUES (%d, 2) ON CONFLICT (k) DO NOTHING", k)); err != nil {
			return err
		}
		text, err := simple(l.ctx, conn, fmt.Sprintf("SELECT count(*) FROM made WHERE k = %d", k))
		if err != nil {
			return err
		}
		if err := l.judge(conn, text, 1); err != nil {
			return err
		}
	}
	return nil
}

func readAfterReconnect(l *lab) error {
	s, err := l.sidecar(2)
	if err != nil {
		return err
	}
	conn, err := l.dial(s, "pgroute.scope", "connection")
	if err != nil {
		return err
	}
	v, err := l.mark()
	if err := errors.Join(err, l.pauseAll()); err != nil {
		return err
	}
	if _, err := simple(l.ctx, conn, writeMark(v)); err != nil {
		return err
	}
	if err := conn.Close(l.ctx); err != nil {
		return err
	}
	if conn, err = s.dial(l.ctx, "pgroute.scope", "connection"); err != nil {
		return err
	}
	defer hangUp(conn)
	return l.wantMark(conn, v)
}

func readAfterNotification(l *lab) error {
	s, err := l.sidecar(2)
	if err != nil {
		return err
	}
	listener, err := s.dial(l.ctx)
	if err != nil {
		return err
	}
	defer hangUp(listener)
	if _, err := simple(l.ctx, listener, "LISTEN news"); err != nil {
		return err
	}
	reader, err := l.dial(s)
	if err != nil {
		return err
	}
	v, err := l.mark()
	if err := errors.Join(err, l.pauseAll()); err != nil {
		return err
	}
	// Whoever writes does not come through the sidecar.
	if err := l.c.Primary().Exec(l.ctx, writeMark(v)+"; NOTIFY news"); err != nil {
		return err
	}
	if _, err := listener.WaitForNotification(l.ctx); err != nil {
		return err
	}
	return l.wantMark(reader, v)
}

// A role that was made a moment ago does not exist on a replica yet. There the
// client's SET ROLE fails, and what it then asks must not be answered to the
// role that it had before.
func readAsNewRole(l *lab) error {
	s, err := l.sidecar(2)
	if err != nil {
		return err
	}
	conn, err := l.dial(s, "pgroute.consistency", "eventual")
	if err != nil {
		return err
	}
	if err := l.pauseAll(); err != nil {
		return err
	}
	role := fmt.Sprintf("r%d", time.Now().UnixNano())
	if err := l.c.Primary().Exec(l.ctx, "CREATE ROLE "+role, "GRANT "+role+" TO app"); err != nil {
		return err
	}
	if _, err := simple(l.ctx, conn, primaryHint+"SET ROLE "+role); err != nil {
		return err
	}
	got, err := simple(l.ctx, conn, probeSQL)
	if err == nil {
		r, err := lastRoute(l.ctx, conn)
		return errors.Join(err, violation(fmt.Sprintf("a role that may not read kv has read %q (%+v)", got, r)))
	}
	if !strings.Contains(err.Error(), "permission denied") {
		return err
	}
	return nil
}

func readAfterMove(l *lab) error {
	p, here, there := l.c.Primary(), l.c.Replicas()[0], l.c.Replicas()[1]
	l.src.set(p.Addr(), p, here)
	s, err := l.sidecar(1)
	if err != nil {
		return err
	}
	conn, err := l.dial(s)
	if err != nil {
		return err
	}
	v, err := l.mark()
	if err := errors.Join(err, l.c.WaitCaughtUp(l.ctx), there.PauseReplay(l.ctx), p.Exec(l.ctx, writeMark(v))); err != nil {
		return err
	}
	err = until(l.ctx, "the connection sees what somebody else wrote", func() (bool, error) {
		got, err := simple(l.ctx, conn, probeSQL)
		return got == fmt.Sprint(v), err
	})
	if err != nil {
		return err
	}
	// Its replica goes, another comes that is behind.
	for i, nodes := range [][]*cluster.Node{{p, here, there}, {p, there}} {
		l.src.set(p.Addr(), nodes...)
		err := until(l.ctx, "the sidecar has followed", func() (bool, error) {
			t := s.srv.Router().Topology()
			n := t.Node(there.Addr())
			return t.Replicas() == 2-i && n != nil && n.Eligible(), nil
		})
		if err != nil {
			return err
		}
	}
	return l.wantMark(conn, v)
}
