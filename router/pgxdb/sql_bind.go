package pgxdb

import (
	"context"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/router"
)

// binding is what a statement does to the session that runs it.
type binding struct {
	// session is true if the session must not be anybody else's afterwards.
	session bool
	// transaction is true for transaction control as text.
	transaction bool
	// listens is true for LISTEN.
	listens bool
	// foreign is true for the settings that only the proxy has.
	foreign bool
}

// binding classifies a statement. What the classifier does not know counts as
// binding.
func (q *Queries) binding(ctx context.Context, query string) (binding, error) {
	// What is known to be a read binds nothing, and that is remembered.
	v, err := q.db.verdict(ctx, query)
	if err != nil || v.read {
		return binding{}, err
	}
	cat, _, _ := q.db.watcher.Load().Known()
	var r sqlclass.Result
	sqlclass.Classify(bytesOf(query), cat, q.db.options, &r)
	return binding{
		// SET LOCAL is not among what binds: it ends with its transaction.
		// Neither is EXECUTE, whose PREPARE was.
		session:     r.Binds&^(sqlclass.BindsDDL|sqlclass.BindsLocal|sqlclass.BindsExecute|sqlclass.BindsStatements|sqlclass.BindsEndsPin|sqlclass.BindsListen) != 0,
		transaction: r.Tx != sqlclass.TxNone || r.Mixed,
		listens:     r.PinReason == "LISTEN" || r.Statements > 1 && r.Binds&sqlclass.BindsPin != 0,
		foreign:     r.Binds&sqlclass.BindsLocal != 0,
	}, nil
}

// tell says where a statement on the held connection runs.
func (c *sqlConn) tell() {
	l := c.held.lease
	l.tell()
	l.route.Reason, l.route.Waited = router.ReasonPinned, 0
}

// wroteFor makes what a statement on the held connection wrote known to the
// session of its own context, if that is not the one with which the connection
// was taken.
func (c *sqlConn) wroteFor(ctx context.Context) {
	if s := c.q.db.sessionFrom(ctx); s != nil && (c.held == nil || s != c.held.lease.session) {
		s.Wrote(c.q.db.router)
	}
}

// letGo gives the held connection back, cleaned or destroyed if it has state.
func (c *sqlConn) letGo() {
	if c.held == nil {
		return
	}
	l := c.held.lease
	if c.bound {
		c.clean(l)
	}
	c.held, c.tx, c.bound, c.listens = nil, nil, false, false
	_ = l.done(nil)
}

// clean removes all state of a session (I4), or ends the session where that
// cannot be done for certain: in a transaction, where notifications may be
// under way, and where a hook may have put state there that is to stay.
func (c *sqlConn) clean(l *lease) {
	ctx, cancel := context.WithTimeout(l.db.lifetime, goodbye)
	defer cancel()
	server := l.conn.Conn()
	if server.IsClosed() {
		return
	}
	if c.listens || l.db.cfg.Pool != nil || server.PgConn().IsBusy() || server.PgConn().TxStatus() != idle {
		hangUp(ctx, server)
		return
	}
	_, err := server.PgConn().Exec(ctx, "DISCARD ALL").ReadAll()
	if err == nil {
		// pgx must not believe that its statements are still prepared.
		err = server.DeallocateAll(ctx)
	}
	if err != nil {
		hangUp(ctx, server)
	}
}
