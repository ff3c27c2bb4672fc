package pgxdb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/router"
)

const (
	// maxUncovered is how many connections of a replica may turn out to be
	// behind what was decided before the replica is left out.
	maxUncovered = 3
	// redialPause is how long a write waits before it dials a primary again
	// that refuses connections, unless the topology changes first.
	redialPause = 50 * time.Millisecond
)

// acquireRead finds the node for a read and takes a connection of its read
// pool that covers the floor (I2).
func (l *lease) acquireRead(ctx context.Context) error {
	var spoilt int32
	for {
		if err := l.decide(ctx); err != nil {
			return err
		}
		if err := l.tellFate(ctx); err != nil {
			return err
		}
		pool, err := l.db.pool(l.decision.Node, forReads)
		if err != nil {
			return err
		}
		if l.conn, err = pool.Acquire(ctx); err != nil {
			l.conn = nil
			return l.dialFailed(ctx, err)
		}
		c := l.conn.Conn().PgConn()
		s := stampOf(c)
		// Whoever ran SET default_transaction_read_only = off has spoilt the
		// connection. Servers before PostgreSQL 14 do not tell.
		if s == nil || c.ParameterStatus("default_transaction_read_only") == "off" {
			l.destroy(ctx)
			if spoilt++; spoilt > pool.Stat().MaxConns() {
				return fmt.Errorf("the connections for reads to %s are not read only: something (a hook of the pool?) turns default_transaction_read_only off",
					l.decision.Node.Name)
			}
			continue
		}
		covers, err := l.covers(ctx, s)
		if err != nil {
			return err
		}
		if covers {
			l.saw = true
			if l.decision.Stale {
				warnStale(l.conn.Conn(), l.decision.Role)
			}
			return nil
		}
		l.conn.Release()
		l.conn = nil
		if l.waits++; l.waits%maxUncovered == 0 {
			l.request.Exclude.Add(l.decision.Node)
		}
	}
}

// decide asks the router where the read runs, and waits until it knows.
func (l *lease) decide(ctx context.Context) error {
	q := &l.request
	q.Level, q.Wait, q.OnTimeout, q.MaxStaleness = l.level, l.wait, l.onTimeout, l.maxStaleness
	for {
		var err error
		if l.decision, err = l.ask(ctx); err != nil {
			return err
		}
		refused := l.decision.Err
		if refused == nil {
			break
		}
		if !noPrimary(refused) {
			return refused
		}
		if err := l.awaitPrimary(ctx, refused); err != nil {
			return err
		}
	}
	d := &l.decision
	l.route = Route{Node: d.Node.Name, Role: d.Role, Reason: d.Reason, Waited: d.Waited, Level: l.level, Stale: d.Stale}
	if l.hinted && d.Reason == router.ReasonLevel {
		l.route.Reason = router.ReasonHint
	}
	if l.redone > 0 {
		l.route.Reason = router.ReasonRedo
	}
	return nil
}

// noPrimary reports whether a decision failed because there is no primary, which
// is worth waiting for.
func noPrimary(err error) bool {
	e, ok := errors.AsType[*router.RouteError](err)
	return ok && e.NoPrimary()
}

// covers reports whether the connection with stamp s may serve the read that
// was decided. It may have to wait for a reading of the replay position that
// is younger than the connection.
func (l *lease) covers(ctx context.Context, s *stamp) (bool, error) {
	d := &l.decision
	if d.Role == router.RolePrimary {
		// The process that answers must be the one that is the primary.
		start := d.Node.PostmasterStart()
		if start == 0 || start == s.started {
			return true, nil
		}
		hangUp(ctx, l.conn.Conn())
		d.Node.KickIdentify()
		return false, l.pause(ctx)
	}
	if d.Node.Covers(d.Floor, s.dialed, s.own) {
		return true, nil
	}
	for !l.db.router.AwaitReading(&l.request, d.Node, s.dialed, l) {
		if err := l.await(ctx, time.Now().Add(time.Hour)); err != nil {
			l.db.router.Cancel(&l.request)
			return false, err
		}
	}
	return d.Node.Covers(d.Floor, s.dialed, s.own), nil
}

// acquireWrite takes a connection of the primary's write pool that was dialled
// in the present epoch (I6), and waits for a primary if there is none.
func (l *lease) acquireWrite(ctx context.Context) error {
	if l.began.IsZero() {
		l.began = time.Now()
	}
	for {
		node, epoch, rerr := l.db.router.Primary()
		if rerr != nil {
			if err := l.awaitPrimary(ctx, rerr); err != nil {
				return err
			}
			continue
		}
		// A connection of this epoch is used below, or none.
		if err := l.tellFate(ctx); err != nil {
			return err
		}
		if l.answers {
			if err := l.look(ctx, node); err != nil {
				return err
			}
		}
		l.decision = router.Decision{Node: node, Role: router.RolePrimary}
		pool, err := l.db.pool(node, forWrites)
		if err == nil {
			if l.conn, err = pool.Acquire(ctx); err != nil {
				l.conn = nil
				err = l.dialFailed(ctx, err)
			}
		}
		if err != nil {
			if !noConnection(err) || !l.mayWait(ctx) {
				return err
			}
			continue
		}
		t := l.db.router.Topology() // before the check: the era is that of the epoch
		now, present, rerr := l.db.router.Primary()
		s := stampOf(l.conn.Conn().PgConn())
		if rerr != nil || now != node || present != epoch || t.Epoch != epoch || s == nil || s.epoch != epoch || l.conn.Conn().IsClosed() {
			l.destroy(ctx)
			continue
		}
		l.node, l.era, l.dialed = node, t.Era(), s.dialed
		l.decision = router.Decision{Node: node, Role: router.RolePrimary, Epoch: epoch}
		l.route = Route{Node: node.Name, Role: router.RolePrimary, Reason: router.ReasonWrite, Waited: time.Since(l.began), Level: router.LevelPrimary, Stale: l.route.Stale}
		l.saw = true
		l.sends()
		return nil
	}
}

// ready makes sure that a held connection may run a statement. asks says that
// it may be a query, and that its snapshot is not taken yet.
func (l *lease) ready(ctx context.Context, asks bool) error {
	err := l.leads(ctx)
	if err == nil && asks && l.write {
		if err = l.look(ctx, l.node); err != nil {
			err = l.explain(err)
		}
	}
	return err
}

// leads reports whether a held connection to the primary may go on: the server
// that it leads to is still the primary, in the same life. It waits while there
// is none. If not, the connection is given up.
func (l *lease) leads(ctx context.Context) error {
	if !l.write && l.node == nil {
		return nil
	}
	node, _, rerr := l.db.router.Primary()
	if rerr != nil {
		l.deadline = time.Time{}
		if err := l.awaitPrimary(ctx, rerr); err != nil {
			return l.explain(err)
		}
		node = l.db.router.Topology().Primary
	}
	if node == l.node && l.db.router.Topology().Era() == l.era {
		l.sends()
		return nil
	}
	hangUp(ctx, l.conn.Conn())
	code := sqlstate.ConnectionFailure
	if !l.write {
		code = sqlstate.SerializationFailure
	}
	return &serverError{pg: pgconn.PgError{Severity: "ERROR", Code: code,
		Message: fmt.Sprintf("the server %s of this connection is not the primary any more", l.node.Name)}}
}

// dialFailed judges why no connection came, and tells the breaker what
// concerns the node.
func (l *lease) dialFailed(ctx context.Context, err error) error {
	if pgxpoolClosed(err) {
		if l.db.closed.Load() {
			return errClosed
		}
		return errGone
	}
	var ce *pgconn.ConnectError
	if ctx.Err() == nil && errors.As(err, &ce) && !refusesUser(err) && !errors.Is(err, errElsewhere) {
		l.decision.Node.Report(err)
		l.decision.Node.KickIdentify()
	}
	return err
}

// refusesUser reports whether a server was reached and said something that
// concerns the user or the database rather than the server.
func refusesUser(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || len(pg.Code) < 2 {
		return false
	}
	switch pg.Code[:2] {
	case "28", "3D", "42", "53":
		return true
	}
	return false
}

// noConnection reports whether err says that a server could not be reached, so
// that it makes sense to try again or elsewhere.
func noConnection(err error) bool {
	var ce *pgconn.ConnectError
	return errors.Is(err, errGone) || errors.As(err, &ce) && !refusesUser(err)
}

// mayWait waits a moment for the primary to be reached again. It reports false
// when the time for that is over.
func (l *lease) mayWait(ctx context.Context) bool {
	l.setDeadline(ctx)
	return time.Now().Before(l.deadline) && l.pause(ctx) == nil
}

// pause waits a moment, or for the topology to change.
func (l *lease) pause(ctx context.Context) error {
	timer := time.NewTimer(redialPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.db.router.Topology().Changed():
	case <-l.db.ending:
		return errClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// pgxpoolClosed reports whether a pool was closed while somebody looked.
func pgxpoolClosed(err error) bool { return err.Error() == closedPool }

// closedPool is what puddle says; pgxpool does not export the error.
const closedPool = "closed pool"

// warnStale tells the connection's notice handler, as if the server had done
// so, that the answer may be older than the level promises.
func warnStale(c *pgx.Conn, role router.Role) {
	message := "no replica has replayed the session's floor yet; this answer may be stale"
	if role == router.RolePrimary {
		message = "the primary does not show yet what was read on a replica; this answer may be stale"
	}
	if handler := c.Config().OnNotice; handler != nil {
		handler(c.PgConn(), &pgconn.Notice{Severity: "WARNING", SeverityUnlocalized: "WARNING", Code: sqlstate.FloorNotReached,
			Message: message})
	}
}
