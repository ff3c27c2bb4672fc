package verify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/sqlstate"
)

const (
	// How many operations are reads, or give or take a token.
	readShare, tokenShare = 0.6, 0.03
	// againShare is how often the client's last key is used again: who looks
	// twice sees whether it goes backwards.
	againShare = 0.35
	// baseShare is how often a read is done at the level that the connection is
	// set to, instead of one named in a comment.
	baseShare = 0.5
	// So many connections only read, and so many of these and of the others have
	// the scope connection. Nothing but what they see raises their floor.
	readerShare, narrowReaders, narrowShare = 0.25, 0.7, 0.25
)

// client works on one connection after the other. Each is a process. It belongs
// to one goroutine.
type client struct {
	r   *run
	id  int
	rng *rand.Rand
	seq int

	target  *target
	conn    *pgx.Conn // nil: there is none
	process int
	base    string // the level that the connection is set to
	scope   string
	reader  bool     // it writes nothing
	role    string   // of a server without pgroute
	told    []string // PR002 and PR003 since the last operation

	last map[*keyring]string // the keys that it used last
	ops  []Op
}

func newClient(r *run, id int) *client {
	return &client{r: r, last: map[*keyring]string{}, id: id, target: r.targets[id%len(r.targets)], rng: rand.New(rand.NewPCG(r.opts.Seed, uint64(id)+1))}
}

// workLoop does operations until ctx ends. What it is doing then it ends first.
func (c *client) workLoop(ctx context.Context) {
	for c.r.pace.wait(ctx) && c.r.count.Add(1) <= int64(c.r.opts.MaxOps) {
		if c.conn == nil {
			if !c.reconnect(ctx) && !rest(ctx, time.Duration(10+c.rng.IntN(200))*time.Millisecond) {
				return
			}
			continue
		}
		c.step(context.WithoutCancel(ctx))
	}
}

// step does one operation.
func (c *client) step(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.r.opts.Timeout)
	defer cancel()
	if c.rng.IntN(c.r.opts.ReconnectEvery) == 0 {
		c.leave()
		return
	}
	if c.rng.Float64() < tokenShare && !c.target.plain.Load() {
		c.passToken(ctx)
		return
	}
	read := c.reader || c.rng.Float64() < readShare
	var op Op
	switch w := c.r.opts.Workloads[c.rng.IntN(len(c.r.opts.Workloads))]; {
	case w == Register && read:
		op = c.readRegister(ctx)
	case w == Register:
		op = c.writeRegister(ctx)
	case w == Append && read:
		op = c.readList(ctx)
	case w == Append:
		op = c.appendList(ctx)
	case w == Bank && read:
		op = c.readBank(ctx)
	case w == Bank:
		op = c.transfer(ctx)
	case read:
		op = c.readSeat(ctx)
	default:
		op = c.book(ctx)
	}
	c.finish(op)
}

// begin is the beginning of an operation.
func (c *client) begin(workload, kind, key string) Op {
	return Op{Client: c.id, Process: c.process, Target: c.target.Name, Scope: c.scope, Reader: c.reader, Workload: workload, Kind: kind, Key: key, Start: c.r.now()}
}

// answered is called when the answer of a write is there.
func (c *client) answered(op *Op) { op.End = c.r.now() }

// finish records an operation and gives up a connection that is no good any more.
func (c *client) finish(op Op) {
	if op.End == 0 {
		op.End = c.r.now()
	}
	op.Told, c.told = c.told, nil
	// As an error it says that the statement was not run.
	if op.SQLState == sqlstate.WriteLost || op.SQLState == sqlstate.WriteMayBeLost {
		op.Told = append(op.Told, op.SQLState)
	}
	c.ops = append(c.ops, op)
	if c.r.opts.Observe != nil {
		c.r.opts.Observe(op)
	}
	if c.conn != nil && (c.conn.IsClosed() || c.conn.PgConn().TxStatus() != 'I' && !c.rollBack()) {
		c.leave()
	}
}

// rollBack ends a transaction that an error has left open.
func (c *client) rollBack() bool {
	ctx, cancel := context.WithTimeout(context.Background(), c.r.opts.Timeout)
	defer cancel()
	_, err := c.conn.Exec(ctx, "ROLLBACK")
	return err == nil && c.conn.PgConn().TxStatus() == 'I'
}

// key chooses one, and returns the last value that anybody noted for it.
func (c *client) key(k *keyring) (key, last string) {
	if c.rng.Float64() < againShare {
		key = c.last[k]
	}
	key, last = k.pick(c.rng, key)
	c.last[k] = key
	return key, last
}

// value makes one that nobody else writes.
func (c *client) value() string {
	c.seq++
	return fmt.Sprintf("%d.%d", c.id, c.seq)
}

// level chooses the level of a read, and returns the comment that asks for it.
func (c *client) level() (level, hint string) {
	if c.rng.Float64() < baseShare {
		return c.base, ""
	}
	level = c.r.opts.Levels[c.rng.IntN(len(c.r.opts.Levels))]
	if level == c.base {
		return level, ""
	}
	return level, "/* pgroute: consistency=" + level + " */ "
}

// reconnect begins a new process.
func (c *client) reconnect(ctx context.Context) bool {
	if c.process != 0 && c.rng.IntN(4) == 0 {
		c.target = c.r.targets[c.rng.IntN(len(c.r.targets))]
	}
	c.process = int(c.r.processes.Add(1))
	c.base = c.r.opts.Levels[c.rng.IntN(len(c.r.opts.Levels))]
	c.reader, c.scope = c.rng.Float64() < readerShare, "application"
	narrow := narrowShare
	if c.reader {
		narrow = narrowReaders
	}
	if c.rng.Float64() < narrow {
		c.scope = "connection"
	}
	op := c.begin("", KindConnect, "")
	err := c.dial(ctx)
	if err != nil {
		c.leave()
		if ctx.Err() != nil {
			return false
		}
		op.fail(err, Failed)
	} else {
		op.Outcome = OK
	}
	c.finish(op)
	if err != nil {
		// Another one may be there.
		c.target = c.r.targets[c.rng.IntN(len(c.r.targets))]
	}
	return err == nil
}

// dial connects and sets what the process is to have.
func (c *client) dial(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.r.opts.Timeout)
	defer cancel()
	modes := []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec}
	conn, err := c.target.connect(ctx, modes[c.rng.IntN(len(modes))], c.notice)
	if err != nil {
		return err
	}
	c.conn, c.role, c.told = conn, "", nil
	for _, sql := range []string{
		"SET pgroute.consistency = '" + c.base + "'",
		"SET pgroute.scope = '" + c.scope + "'",
		fmt.Sprintf("SET pgroute.max_staleness = '%dms'", c.r.opts.Staleness.Milliseconds()),
	} {
		if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	_, err = c.lastRoute(ctx)
	switch code := codeOf(err); {
	case err == nil, errors.Is(err, errNoRoute): // nothing has run yet
		c.target.plain.Store(false)
		return nil
	case code != sqlstate.UndefinedObject:
		return err
	}
	c.target.plain.Store(true)
	var recovery bool
	if err := conn.QueryRow(ctx, "SELECT pg_catalog.pg_is_in_recovery()").Scan(&recovery); err != nil {
		return err
	}
	c.role = "primary"
	if recovery {
		c.role = "replica"
	}
	return nil
}

func (c *client) notice(n *pgconn.Notice) {
	if n.Code == sqlstate.WriteLost || n.Code == sqlstate.WriteMayBeLost {
		c.told = append(c.told, n.Code)
	}
}

// leave ends the process.
func (c *client) leave() {
	hangUp(c.conn)
	c.conn = nil
}

// hangUp ends a connection without waiting for anybody.
func hangUp(conn *pgx.Conn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = conn.Close(ctx)
}

// read runs a query for an operation, and then asks where it ran.
func (c *client) read(ctx context.Context, op *Op, sql string, args []any, scan func(pgx.Rows) error) {
	rows, err := c.conn.Query(ctx, sql, args...)
	if err == nil {
		for err == nil && rows.Next() {
			err = scan(rows)
		}
		rows.Close()
		if err == nil {
			err = rows.Err()
		}
	}
	c.answered(op)
	if err != nil {
		op.Saw, op.list, op.balances = nil, nil, nil
		op.fail(err, Failed)
		return
	}
	op.Outcome = OK
	c.whereTo(ctx, op)
}

// whereTo notes where the last statement ran.
func (c *client) whereTo(ctx context.Context, op *Op) {
	if c.role != "" {
		op.Node, op.Role = c.target.Name, c.role
		return
	}
	if row, err := c.lastRoute(ctx); err == nil {
		op.Node, op.Role, op.Reason = row[0], row[1], row[2]
	}
}

var errNoRoute = errors.New("SHOW pgroute.last_route: no route was told")

// lastRoute returns node, role and reason of the last statement.
func (c *client) lastRoute(ctx context.Context) (row [3]string, err error) {
	results, err := c.conn.PgConn().Exec(ctx, "SHOW pgroute.last_route").ReadAll()
	if err != nil {
		return row, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) < len(row) {
		return row, errNoRoute
	}
	for i := range row {
		row[i] = string(results[0].Rows[0][i])
	}
	return row, nil
}

// final runs a last statement, with which the process is told what it must be.
func (c *client) final(ctx context.Context) {
	if c.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.r.opts.Timeout)
	defer cancel()
	for range 2 {
		if c.conn == nil {
			return
		}
		op := c.begin("", KindFinal, "")
		op.Level = Primary
		c.read(ctx, &op, "/* pgroute: consistency=primary */ SELECT 1", nil, func(rows pgx.Rows) error { return nil })
		c.finish(op)
	}
}

// sorted merges the operations of all clients, in the order of their ends.
func sorted(clients []*client) []Op {
	n := 0
	for _, c := range clients {
		n += len(c.ops)
	}
	all := make([]Op, 0, n)
	for _, c := range clients {
		all = append(all, c.ops...)
		c.ops = nil
	}
	slices.SortStableFunc(all, byEnd)
	return all
}

func byEnd(a, b Op) int { return int(a.End - b.End) }
