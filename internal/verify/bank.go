package verify

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/sqlstate"
)

const (
	bankReadSQL   = `SELECT id, n, balance FROM %s.account WHERE id >= $1 AND id < $2 ORDER BY id`
	bankMoveSQL   = `UPDATE %s.account SET n = n + 1, balance = balance + $2 WHERE id = $1 RETURNING n`
	bankLedgerSQL = `INSERT INTO %s.ledger (id, src, src_n, dst, dst_n, amount) VALUES ($1, $2, $3, $4, $5, $6)`
)

func accountKey(id int) string { return fmt.Sprintf("account%d", id) }

// readBank reads all balances: with one statement, or with two in a read-only
// transaction with one snapshot.
func (c *client) readBank(ctx context.Context) Op {
	op := c.begin(Bank, KindRead, "")
	scan := func(rows pgx.Rows) error {
		var id, n int
		var balance int64
		if err := rows.Scan(&id, &n, &balance); err != nil {
			return err
		}
		op.Saw = append(op.Saw, Version{Key: accountKey(id), N: n})
		op.balances = append(op.balances, balance)
		return nil
	}
	if c.rng.IntN(2) == 0 {
		level, hint := c.level()
		op.Level = level
		c.read(ctx, &op, hint+c.r.sql(bankReadSQL), []any{0, accounts}, scan)
		return op
	}
	op.Level = c.base
	if _, err := c.conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		op.fail(err, Failed)
		return op
	}
	c.read(ctx, &op, c.r.sql(bankReadSQL), []any{0, accounts / 2}, scan)
	if op.Outcome == OK {
		c.read(ctx, &op, c.r.sql(bankReadSQL), []any{accounts / 2, accounts}, scan)
	}
	if op.Outcome == OK {
		// What it saw counts, whatever becomes of the COMMIT.
		if _, err := c.conn.Exec(ctx, "COMMIT"); err != nil {
			op.SQLState = codeOf(err)
		}
	}
	return op
}

// transfer moves money from one account to another.
func (c *client) transfer(ctx context.Context) Op {
	src := c.rng.IntN(accounts)
	dst := (src + 1 + c.rng.IntN(accounts-1)) % accounts
	op := c.begin(Bank, KindTransfer, accountKey(src)+" → "+accountKey(dst))
	op.Value, op.amount = c.value(), 1+c.rng.Int64N(1_000_000)
	wrote, sent, err := c.move(ctx, op.Value, src, dst, op.amount)
	c.answered(&op)
	switch {
	case err == nil:
		op.Outcome, op.Wrote = OK, wrote
	case !sent:
		op.fail(err, Failed) // without a COMMIT it cannot have happened
	default:
		op.fail(err, judge(err))
		op.Undone = op.SQLState == sqlstate.SerializationFailure
	}
	return op
}

// move does the transaction. sent tells whether its COMMIT was sent.
func (c *client) move(ctx context.Context, id string, src, dst int, amount int64) (wrote []Version, sent bool, err error) {
	if _, err := c.conn.Exec(ctx, "BEGIN"); err != nil {
		return nil, false, err
	}
	// In the order of the accounts, so that transfers do not block each other.
	n := map[int]int{}
	for _, account := range []int{min(src, dst), max(src, dst)} {
		change := amount
		if account == src {
			change = -amount
		}
		var version int
		if err := c.conn.QueryRow(ctx, c.r.sql(bankMoveSQL), account, change).Scan(&version); err != nil {
			return nil, false, err
		}
		n[account] = version
	}
	if _, err := c.conn.Exec(ctx, c.r.sql(bankLedgerSQL), id, src, n[src], dst, n[dst], amount); err != nil {
		return nil, false, err
	}
	if err := c.commit(ctx); err != nil {
		return nil, true, err
	}
	return []Version{{accountKey(src), n[src], id}, {accountKey(dst), n[dst], id}}, true, nil
}

// commit fails too if the server says that it rolled back.
func (c *client) commit(ctx context.Context) error {
	tag, err := c.conn.Exec(ctx, "COMMIT")
	if err == nil && tag.String() != "COMMIT" {
		return fmt.Errorf("commit: the server says %s: %w", tag, errRolledBack)
	}
	return err
}
