package pgxdb

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/router"
)

// look waits until the primary n shows what the session saw on a replica, which
// can show a commit before. It is for what reads on the primary without having
// been decided as a read; a write need not wait, it is no answer.
func (l *lease) look(ctx context.Context, n *router.Node) error {
	if !l.chain.Owes() {
		return nil
	}
	switch l.level {
	case router.LevelEventual, router.LevelBounded:
		return nil
	}
	l.request.Level, l.request.Only = router.LevelPrimary, n
	l.request.Wait, l.request.OnTimeout = l.wait, l.onTimeout
	d, err := l.ask(ctx)
	if err != nil {
		return err
	}
	d.Done()
	switch {
	case d.Err == nil:
	case noPrimary(d.Err):
		return nil // whoever runs it finds out, and waits
	default:
		return d.Err
	}
	if l.route.Stale = d.Stale; d.Stale && l.conn != nil {
		warnStale(l.conn.Conn(), d.Role)
	}
	return nil
}

// ask asks the router about the request, and waits until it knows.
func (l *lease) ask(ctx context.Context) (router.Decision, error) {
	r, q := l.db.router, &l.request
	now := time.Now()
	r.Begin(q, l.chain, now)
	if l.began.IsZero() {
		l.began = now
	}
	for {
		d, done := r.Decide(q, l.chain, now, l)
		if done {
			return d, nil
		}
		if err := l.await(ctx, q.Deadline()); err != nil {
			r.Cancel(q)
			return d, err
		}
		now = time.Now()
	}
}

// answers reports whether a text may be a query, judged by its first word: one
// whose answer shows what is there. It may be wrong about a write that begins
// like one.
func answers(sql string) bool {
	for {
		sql = strings.TrimLeft(sql, " \t\r\n\f\v(;")
		switch {
		case strings.HasPrefix(sql, "--"):
			_, sql, _ = strings.Cut(sql, "\n")
			continue
		case strings.HasPrefix(sql, "/*"):
			sql = sql[commentEnd(sql):]
			continue
		}
		break
	}
	for _, word := range [...]string{"select", "with", "table", "values", "execute", "declare", "copy"} {
		if len(sql) >= len(word) && strings.EqualFold(sql[:len(word)], word) {
			return true
		}
	}
	return false
}

// commentEnd returns where a comment ends that sql begins with. They nest.
func commentEnd(sql string) int {
	depth := 0
	for i := 0; i+1 < len(sql); i++ {
		switch sql[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			i++
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(sql)
}

// answersBatch is answers for all of a batch.
func answersBatch(b *pgx.Batch) bool {
	for _, q := range b.QueuedQueries {
		if answers(q.SQL) {
			return true
		}
	}
	return false
}
