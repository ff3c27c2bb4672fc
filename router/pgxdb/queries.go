package pgxdb

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/router"
)

// Queries runs statements, batches and transactions one way: as reads, as
// writes, or as the classifier says; see DB.Read, DB.Write and DB.Auto. It is a
// small value that may be copied, kept and used by several goroutines; the zero
// value is of no use. Its methods have the signatures of pgxpool.Pool, so that
// generated code and libraries take it for one.
type Queries struct {
	db     *DB
	policy policy
	trace  func(Route)
	verb   verb
}

// At returns a copy whose reads see what level promises.
func (q Queries) At(level router.Level) Queries {
	q.policy.level = level
	return q
}

// Within returns a copy whose reads wait that long for a replica to get there,
// 0 or less not at all, and what happens then.
func (q Queries) Within(wait time.Duration, then router.OnTimeout) Queries {
	q.policy.wait, q.policy.onTimeout = max(wait, 0), then
	return q
}

// MaxStaleness returns a copy whose reads at the level bounded see at least what
// was acknowledged that long ago. 0 or less is no staleness at all.
func (q Queries) MaxStaleness(most time.Duration) Queries {
	q.policy.maxStaleness = max(most, 0)
	return q
}

// Trace returns a copy that tells f where each statement ran, before the
// caller gets its answer. f must not block. nil ends it.
func (q Queries) Trace(f func(Route)) Queries {
	q.trace = f
	return q
}

// want says what a statement needs.
func (q *Queries) want(ctx context.Context, sql string) (want, error) {
	w := want{policy: q.policy, trace: q.trace}
	switch q.verb {
	case verbWrite, verbDB:
		w.write = true
	case verbAuto:
		if err := q.db.judge(ctx, sql, &w); err != nil {
			return w, err
		}
	}
	w.answers = w.write && answers(sql)
	return w, nil
}

// Exec runs a statement and returns its command tag.
func (q Queries) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	w, err := q.want(ctx, sql)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	l, ended := q.db.newLease(ctx, &w), false
	defer func() {
		if !ended {
			l.abandon()
		}
	}()
	for {
		var tag pgconn.CommandTag
		if err = l.acquire(ctx); err == nil {
			tag, err = l.conn.Conn().Exec(ctx, sql, args...)
			if err == nil {
				l.tell()
				l.settle(tag, nil)
				ended = true
				return tag, l.done(nil)
			}
		}
		if !l.again(ctx, err, sql) {
			l.settle(tag, err)
			ended = true
			return tag, l.done(err)
		}
	}
}

// Query runs a query. The connection is held until the rows are exhausted or
// closed. The first row of a read was fetched when Query returns: until then
// the read can still run elsewhere. If there is an error, the rows returned are
// in an error state, too.
func (q Queries) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	r := q.query(ctx, sql, args)
	if r.lease == nil && r.err != nil {
		return r, r.err
	}
	return r, nil
}

// QueryRow runs a query of which one row at most is wanted. Its errors are
// those of Scan, which must be called: it gives the connection back.
func (q Queries) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return (*row)(q.query(ctx, sql, args))
}

// query runs a query. If it failed, the rows have an error and no lease.
func (q *Queries) query(ctx context.Context, sql string, args []any) *rows {
	w, err := q.want(ctx, sql)
	if err != nil {
		return failed(err)
	}
	l, handed := q.db.newLease(ctx, &w), false
	defer func() {
		if !handed {
			l.abandon()
		}
	}()
	for {
		if err = l.acquire(ctx); err == nil {
			var answer pgx.Rows
			if answer, err = l.conn.Conn().Query(ctx, sql, args...); err == nil {
				if l.write {
					l.tell()
					handed = true
					return &rows{Rows: answer, lease: l}
				}
				ahead := answer.Next()
				if err = answer.Err(); err == nil {
					l.tell()
					handed = true
					return &rows{Rows: answer, lease: l, ahead: ahead}
				}
			}
		}
		if !l.again(ctx, err, sql) {
			l.settle(pgconn.CommandTag{}, err)
			handed = true
			return failed(l.done(err))
		}
	}
}

// settle takes the ticket of a write that has ended with err, which may be
// nil: it must come before anybody can see that (I1). A statement that was
// never sent needs none. It also notes what may have changed the catalogue.
func (l *lease) settle(tag pgconn.CommandTag, err error) {
	if l.conn == nil {
		return
	}
	if err != nil && notSent(err) {
		return
	}
	// Only who puts an end to the read-only transaction in so many words can
	// have written by Read.
	if !l.write && (err != nil || tag.Select() || l.decision.Role != router.RolePrimary) {
		return
	}
	l.wrote()
	if err == nil && tag.String() != "ROLLBACK" && l.conn.Conn().PgConn().TxStatus() == idle {
		l.acknowledged(changes(tag, false))
	}
	if l.ddl || err == nil && changesCatalogue(tag) {
		l.db.catalogueChanged()
	}
}

// changesCatalogue reports whether a statement with this tag may have changed
// what the classifier knows.
func changesCatalogue(tag pgconn.CommandTag) bool {
	word, _, _ := strings.Cut(tag.String(), " ")
	switch word {
	case "CREATE", "ALTER", "DROP", "DO", "CALL":
		return true
	}
	return false
}

// CopyFrom copies rows into a table. It is a write: as a read it is refused by
// the server.
func (q Queries) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource) (int64, error) {
	w := want{policy: q.policy, trace: q.trace, write: q.verb != verbRead}
	l, err := q.db.lease(ctx, &w)
	if err != nil {
		return 0, err
	}
	ended := false
	defer func() {
		if !ended {
			l.abandon()
		}
	}()
	l.tell()
	n, err := l.conn.Conn().CopyFrom(ctx, table, columns, source)
	if l.write {
		l.wrote()
		if err == nil {
			l.acknowledged(n > 0)
		}
	}
	ended = true
	return n, l.done(err)
}
