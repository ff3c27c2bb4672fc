package verify

import (
	"context"

	"github.com/jackc/pgx/v5"
)

const (
	seatReadSQL = `SELECT customer FROM %s.seat WHERE k = $1`
	seatBookSQL = `INSERT INTO %s.seat (k, customer) VALUES ($1, $2) ON CONFLICT (k) DO NOTHING`
)

// readSeat looks whether a seat is free.
func (c *client) readSeat(ctx context.Context) Op {
	key, _ := c.r.seats.pick(c.rng)
	op := c.begin(Booking, KindRead, key)
	level, hint := c.level()
	op.Level = level
	saw := Version{Key: key}
	c.read(ctx, &op, hint+c.r.sql(seatReadSQL), []any{key}, func(rows pgx.Rows) error {
		saw.N = 1
		return rows.Scan(&saw.Value)
	})
	if op.Outcome == OK {
		op.Saw = []Version{saw}
	}
	return op
}

// book tries to get a seat: with one statement, or in a transaction that looks
// first.
func (c *client) book(ctx context.Context) Op {
	key, _ := c.r.seats.pick(c.rng)
	op := c.begin(Booking, KindBook, key)
	op.Value = c.value()
	got, sent, err := c.take(ctx, key, op.Value, c.rng.IntN(2) == 0)
	c.answered(&op)
	switch {
	case err != nil && !sent:
		op.fail(err, Failed)
	case err != nil:
		op.fail(err, judge(err))
	case got:
		op.Outcome, op.Wrote = OK, []Version{{key, 1, op.Value}}
	default:
		op.Outcome, op.Refused = OK, true
	}
	c.r.seats.retire(key)
	return op
}

// take inserts the booking. sent tells whether it may have been committed.
func (c *client) take(ctx context.Context, key, customer string, look bool) (got, sent bool, err error) {
	if !look {
		tag, err := c.conn.Exec(ctx, c.r.sql(seatBookSQL), key, customer)
		return tag.RowsAffected() == 1, true, err
	}
	if _, err := c.conn.Exec(ctx, "BEGIN"); err != nil {
		return false, false, err
	}
	var holder string
	if err := c.conn.QueryRow(ctx, c.r.sql(seatReadSQL), key).Scan(&holder); err != nil && err != pgx.ErrNoRows { //nolint:errorlint // pgx returns it as it is
		return false, false, err
	}
	tag, err := c.conn.Exec(ctx, c.r.sql(seatBookSQL), key, customer)
	if err != nil {
		return false, false, err
	}
	return tag.RowsAffected() == 1, true, c.commit(ctx)
}
