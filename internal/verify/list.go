package verify

import (
	"context"

	"github.com/jackc/pgx/v5"
)

const (
	listReadSQL   = `SELECT v FROM %s.list WHERE k = $1`
	listAppendSQL = `INSERT INTO %s.list AS l (k, v) VALUES ($1, ARRAY[$2::text]) ON CONFLICT (k) DO UPDATE SET v = l.v || excluded.v RETURNING pg_catalog.cardinality(l.v)`
)

// readList reads one.
func (c *client) readList(ctx context.Context) Op {
	key, _ := c.r.lists.pick(c.rng)
	op := c.begin(Append, KindRead, key)
	level, hint := c.level()
	op.Level = level
	c.read(ctx, &op, hint+c.r.sql(listReadSQL), []any{key}, func(rows pgx.Rows) error { return rows.Scan(&op.list) })
	if op.Outcome == OK {
		op.Saw = []Version{listVersion(key, op.list)}
	}
	return op
}

// listVersion is the version that a list is: its length, and its last element.
func listVersion(key string, list []string) Version {
	v := Version{Key: key, N: len(list)}
	if v.N > 0 {
		v.Value = list[v.N-1]
	}
	return v
}

// appendList appends to one.
func (c *client) appendList(ctx context.Context) Op {
	key, _ := c.r.lists.pick(c.rng)
	op := c.begin(Append, KindAppend, key)
	op.Value = c.value()
	var n int
	err := c.conn.QueryRow(ctx, c.r.sql(listAppendSQL), key, op.Value).Scan(&n)
	c.answered(&op)
	if err != nil {
		op.fail(err, judge(err))
		return op
	}
	op.Outcome, op.Wrote = OK, []Version{{key, n, op.Value}}
	return op
}
