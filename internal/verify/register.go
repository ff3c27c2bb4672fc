package verify

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// The statements find a row by its key, and decide by what they have locked: so
// they never decide by a state that a commit has already replaced. %s is the
// schema.
const (
	registerReadSQL  = `SELECT n, v FROM %s.register WHERE k = $1`
	registerWriteSQL = `WITH u AS (INSERT INTO %[1]s.register AS r (k, n, v) VALUES ($1, 1, $2)
 ON CONFLICT (k) DO UPDATE SET n = r.n + 1, v = excluded.v RETURNING r.k, r.n, r.v)
INSERT INTO %[1]s.register_log (k, n, v) SELECT k, n, v FROM u RETURNING n`
	registerCASSQL = `WITH u AS (INSERT INTO %[1]s.register AS r (k, n, v)
 VALUES ($1, CASE WHEN $2::text = '' THEN 1 ELSE 0 END, CASE WHEN $2::text = '' THEN $3::text ELSE '' END)
 ON CONFLICT (k) DO UPDATE SET n = CASE WHEN r.v = $2::text THEN r.n + 1 ELSE r.n END, v = CASE WHEN r.v = $2::text THEN $3::text ELSE r.v END
 RETURNING r.k, r.n, r.v)
INSERT INTO %[1]s.register_log (k, n, v) SELECT k, n, v FROM u WHERE v = $3::text RETURNING n`
)

// readRegister reads one.
func (c *client) readRegister(ctx context.Context) Op {
	key, _ := c.r.registers.pick(c.rng)
	op := c.begin(Register, KindRead, key)
	level, hint := c.level()
	op.Level = level
	saw := Version{Key: key}
	c.read(ctx, &op, hint+c.r.sql(registerReadSQL), []any{key}, func(rows pgx.Rows) error { return rows.Scan(&saw.N, &saw.Value) })
	if op.Outcome == OK {
		op.Saw = []Version{saw}
		c.r.registers.note(key, saw.Value)
	}
	return op
}

// writeRegister writes one, or replaces the value that it had lately.
func (c *client) writeRegister(ctx context.Context) Op {
	key, last := c.r.registers.pick(c.rng)
	op := c.begin(Register, KindWrite, key)
	op.Value = c.value()
	sql, args := registerWriteSQL, []any{key, op.Value}
	if c.rng.IntN(2) == 0 {
		op.Kind, op.Old = KindCAS, last
		sql, args = registerCASSQL, []any{key, last, op.Value}
	}
	var n int
	err := c.conn.QueryRow(ctx, c.r.sql(sql), args...).Scan(&n)
	c.answered(&op)
	switch {
	case err == pgx.ErrNoRows: //nolint:errorlint // pgx returns it as it is
		op.Outcome, op.Refused = OK, true
	case err != nil:
		op.fail(err, judge(err))
	default:
		op.Outcome, op.Wrote = OK, []Version{{key, n, op.Value}}
		c.r.registers.note(key, op.Value)
	}
	return op
}
