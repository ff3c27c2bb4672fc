package pgxdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgroute/pgroute/router"
)

// want says what a lease is for.
type want struct {
	policy
	// write asks for the primary's write pool; the policy is then not used.
	write bool
	// answers says that a write begins like a query.
	answers bool
	// auto says that a refusal to write on the read pool means a misjudged
	// text, which is then run as a write.
	auto bool
	// ddl says that the text may change the catalogue.
	ddl bool
	// hinted says that the level comes from a hint.
	hinted bool
	// onPrimary asks for the read pool of the primary.
	onPrimary bool
	// trace is told where it ran, may be nil.
	trace func(Route)
}

// lease is the use of one connection on the right node by one statement, batch
// or transaction. Its life is
//
//	l, err := db.lease(ctx, w)  // a connection that may serve w now
//	…use l.conn…
//	l.wrote()                   // if that may have written, before anyone knows
//	l.done(err)                 // gives everything back; l must not be used after
//
// or, for what may be run again elsewhere, with again between a failure and
// the next use. It belongs to one goroutine at a time.
type lease struct {
	want
	db   *DB
	conn *pgxpool.Conn
	// session is that of the context, nil for the DB's own.
	session *router.Session
	// chain is the session's own while it is borrowed, else own.
	chain    *router.Chain
	own      router.Chain
	request  router.Request
	decision router.Decision
	route    Route
	// wake gets a token when the request may be decided.
	wake chan struct{}

	// redone counts how often it was run again, waits how often a connection
	// turned out not to cover the floor.
	redone, waits int
	// retried is true after a write was tried again that had not been sent.
	retried bool
	// deadline bounds the wait for a primary; zero until there was none.
	deadline time.Time
	began    time.Time
	// era and node are what a held write connection belongs to.
	era uint64
	// dialed is what the node's Asked was after a write connection was dialled.
	dialed uint64
	node   *router.Node
	// ticketed is true once the write's ticket was taken.
	ticketed bool
	// saw is true once the read has seen anything of the server.
	saw bool
	// kept: somebody may still hold the lease when it has ended, so that it is
	// not used again.
	kept bool
}

var leases = sync.Pool{New: func() any { return &lease{wake: make(chan struct{}, 1)} }}

// Wake implements router.Waiter.
func (l *lease) Wake(uint64, error) {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// lease returns a lease with a connection for w.
func (db *DB) lease(ctx context.Context, w *want) (*lease, error) {
	l := db.newLease(ctx, w)
	for {
		err := l.acquire(ctx)
		if err == nil {
			return l, nil
		}
		if !l.again(ctx, err, "") {
			return nil, l.done(err)
		}
	}
}

// newLease returns a lease that has no connection yet.
func (db *DB) newLease(ctx context.Context, w *want) *lease {
	l := leases.Get().(*lease)
	l.want = *w
	l.db = db
	l.session = db.sessionFrom(ctx)
	if l.session != nil {
		l.chain = l.session.Borrow(db.router)
	} else {
		l.own.Init(db.router, db.session, false)
		l.chain = &l.own
	}
	l.request.Exclude, l.request.Only = 0, nil
	if l.onPrimary {
		l.request.Exclude = everyNode
	}
	l.decision = router.Decision{}
	l.redone, l.waits, l.retried, l.ticketed, l.saw, l.kept = 0, 0, false, false, false, false
	l.deadline, l.began, l.route = time.Time{}, time.Time{}, Route{}
	return l
}

// everyNode excludes all replicas, so that a read goes to the primary.
const everyNode = ^router.NodeSet(0)

// acquire finds a place and takes a connection there.
func (l *lease) acquire(ctx context.Context) error {
	if l.db.closed.Load() {
		return errClosed
	}
	if l.write {
		return l.acquireWrite(ctx)
	}
	return l.acquireRead(ctx)
}

// tell says where the statement runs.
func (l *lease) tell() {
	if l.trace != nil {
		l.trace(l.route)
	}
}

// release gives the connection and the decision back, but not the lease.
func (l *lease) release() {
	if l.conn != nil {
		l.conn.Release()
		l.conn = nil
	}
	l.decision.Done()
}

// destroy gives the connection up so that nobody uses it again.
func (l *lease) destroy(ctx context.Context) {
	if l.conn != nil {
		hangUp(ctx, l.conn.Conn())
	}
	l.release()
}

// hangUp closes a connection. A pool destroys it when it is given back.
func hangUp(ctx context.Context, c *pgx.Conn) {
	if c.PgConn().IsBusy() {
		// Whoever reads from it finds out.
		_ = c.PgConn().Conn().Close()
		return
	}
	_ = c.Close(ctx)
}

// wrote takes the ticket of a write, for the DB's own session and the
// context's. It must be called before anybody can see that the write has ended
// (I1).
func (l *lease) wrote() {
	if l.chain == nil {
		return // it has ended, and took its ticket then
	}
	l.ticketed = true
	l.chain.Wrote()
	if l.session != nil {
		l.db.session.Wrote(l.db.router)
	}
	l.db.stats.writes.Add(1)
}

// done ends the lease and returns err as the caller of the package gets it.
// The lease must not be used afterwards.
func (l *lease) done(err error) error {
	if l.saw && !l.ticketed {
		l.sawNode()
	}
	l.release()
	if err != nil {
		err = l.explain(err)
	}
	if l.session != nil {
		l.session.Return(l.chain)
	}
	// A late wake of the request finds the channel of the next user, who only
	// looks once more.
	l.db, l.session, l.chain, l.trace, l.node = nil, nil, nil, nil, nil
	l.decision = router.Decision{}
	if !l.kept {
		leases.Put(l)
	}
	return err
}

// abandon ends a lease when code of the caller's (an encoder, a tracer, a
// function for Trace) panics: what it may have written counts as written, and
// the pool looks whether the connection can be used again.
func (l *lease) abandon() {
	if l.write && l.conn != nil {
		l.wrote()
	}
	_ = l.done(nil)
}

// sawNode tells the chain where something was seen.
func (l *lease) sawNode() {
	if l.decision.Node == nil || l.decision.Role == router.RolePrimary {
		l.chain.SawPrimary()
		if !l.write {
			l.db.stats.primaryReads.Add(1)
		}
		return
	}
	l.chain.SawReplica(l.decision.Node)
	l.db.stats.replicaReads.Add(1)
}

// await waits for a wake, the time, or the end of ctx or of the DB.
func (l *lease) await(ctx context.Context, until time.Time) error {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-l.wake:
	case <-timer.C:
	case <-l.db.ending:
		return errClosed
	case <-ctx.Done():
		return fmt.Errorf("wait for a replica: %w", context.Cause(ctx))
	}
	return nil
}

// awaitPrimary waits for a primary, as long as ctx allows or else for
// primaryWait. why is the error if none comes.
func (l *lease) awaitPrimary(ctx context.Context, why error) error {
	l.setDeadline(ctx)
	for {
		t := l.db.router.Topology()
		if t.Primary != nil && t.Leads(time.Now()) {
			return nil
		}
		timer := time.NewTimer(time.Until(l.deadline))
		select {
		case <-t.Changed():
			timer.Stop()
		case <-timer.C:
			return why
		case <-l.db.ending:
			timer.Stop()
			return errClosed
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(why, context.Cause(ctx))
		}
	}
}

// setDeadline begins the time that is left for a primary to come.
func (l *lease) setDeadline(ctx context.Context) {
	if !l.deadline.IsZero() {
		return
	}
	l.deadline = time.Now().Add(primaryWait)
	if d, ok := ctx.Deadline(); ok {
		l.deadline = d
	}
}

// primaryWait is how long a statement waits for a primary if its context has
// no deadline.
const primaryWait = 5 * time.Second
