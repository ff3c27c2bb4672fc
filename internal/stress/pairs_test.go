package stress_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Pairs of a write and a read that must see it.
const (
	kindSame       = "same connection"
	kindPipeline   = "same pipeline"
	kindOther      = "other connection"
	kindReconnect  = "reconnect"
	kindReconnect1 = "reconnect, scope connection"
	kindToken      = "other sidecar with a token"
	kindStrong     = "other sidecar with strong"
	kindNotify     = "announced by NOTIFY"
	kindGetCreate  = "get or create beside asynchronous writer"
)

// Ways to read.
const (
	protoSimple     = "simple"
	protoPrepared   = "prepared"
	protoRepeatable = "repeatable read, read only"
	protoCommitted  = "read committed, read only"
)

var (
	kinds  = []string{kindSame, kindSame, kindPipeline, kindOther, kindOther, kindToken, kindStrong, kindGetCreate, kindGetCreate, kindReconnect, kindReconnect1}
	protos = []string{protoSimple, protoPrepared, protoRepeatable, protoCommitted}
)

// schema is what the tests work on: counters that only grow, and rows that are
// made once.
var schema = []string{
	"CREATE TABLE kv (k bigint PRIMARY KEY, v bigint NOT NULL)",
	"CREATE TABLE made (k bigint PRIMARY KEY, v bigint NOT NULL)",
	"ALTER TABLE kv OWNER TO app", "ALTER TABLE made OWNER TO app",
	"INSERT INTO kv SELECT g, 0 FROM generate_series(0, 999) AS g",
	`CREATE FUNCTION bump(key bigint, value bigint) RETURNS void LANGUAGE plpgsql
		AS 'BEGIN UPDATE kv SET v = greatest(v, value) WHERE k = key; END'`,
}

const probeSQL = "SELECT v FROM kv WHERE k = 0"

// pairTimeout is how long a pair may take, in the middle of a failover on a
// busy machine.
const pairTimeout = 60 * time.Second

// worker writes and reads, alone with its row.
type worker struct {
	*tally
	id         int
	key        int64
	n          int64 // the last value written, acknowledged or not
	nem        *nemesis
	home, away *sidecar
	database   string

	// conns are by name; see conn.
	conns map[string]*pgx.Conn
	// listens is true for those who do the pairs with a notification; each
	// keeps a connection to the primary.
	listens bool
	// after ends what a write has left open, once the pair is over.
	after func(context.Context)
}

// conn returns the worker's connection of that name, idle. It makes a new one
// if there is none or the last one is of no use any more.
func (w *worker) conn(ctx context.Context, name string) (*pgx.Conn, error) {
	if c := w.conns[name]; c != nil {
		if !c.IsClosed() && c.PgConn().TxStatus() == 'I' {
			return c, nil
		}
		hangUp(c) // a fault has left a failed transaction
		delete(w.conns, name)
	}
	side, settings := w.home, []string(nil)
	switch name {
	case "token", "announcer":
		side = w.away
	case "strong":
		side, settings = w.away, []string{"pgroute.consistency", "strong"}
	case "async":
		side, settings = w.away, []string{"synchronous_commit", "off"}
	}
	c, err := connect(ctx, side.addr, w.database, settings...)
	if err != nil {
		return nil, err
	}
	if name == "listener" {
		if _, err := c.Exec(ctx, fmt.Sprintf("LISTEN c%d", w.id)); err != nil {
			hangUp(c)
			return nil, err
		}
	}
	w.conns[name] = c
	return c, nil
}

func (w *worker) hangUp() {
	for _, c := range w.conns {
		hangUp(c)
	}
}

// pair does one pair and judges it.
func (w *worker) pair(ctx context.Context) {
	kind := kinds[rand.IntN(len(kinds))]
	if w.listens && rand.IntN(3) == 0 {
		kind = kindNotify
	}
	proto := protos[rand.IntN(len(protos))]
	begun := time.Now()
	one, cancel := context.WithTimeout(ctx, pairTimeout)
	defer cancel()
	held, crashes := w.nem.holding(), w.nem.crashes.Load()
	w.after = nil
	defer func() {
		if w.after != nil {
			w.after(one)
		}
	}()
	reader, want, read, err := w.write(one, kind)
	if err != nil {
		w.failed(ctx, "write, "+kind, err)
		return
	}
	early := w.nem.lacked(held, begun)
	got, r, err := read(one, reader, proto)
	for proto == protoCommitted && anew(err) && one.Err() == nil {
		w.anew++
		got, r, err = read(one, reader, proto)
	}
	if err != nil {
		w.failed(ctx, "read, "+kind, err)
		return
	}
	if early {
		w.held++
	}
	w.served(r)
	if kind == kindGetCreate && (crashes&1 == 1 || w.nem.crashes.Load() != crashes) {
		w.unknown++
		return
	}
	w.pairs[pairName(kind, proto)]++
	w.judged++
	if got < want {
		w.stale = append(w.stale, fmt.Sprintf("%s, %s, worker %d: read %d after %d; route %+v; %v after the write began",
			kind, proto, w.id, got, want, r, time.Since(begun)))
	}
}

// pairName is a pair's row in the table. A pipeline has a protocol of its own.
func pairName(kind, proto string) string {
	if kind == kindPipeline {
		return kind
	}
	return kind + ", " + proto
}

// served counts who answered a read.
func (w *worker) served(r route) {
	w.reads++
	w.routes[r.role+" "+r.reason]++
	if r.role == "replica" {
		w.nodes[fmt.Sprintf("phase %d, %s", w.nem.phase.Load(), r.node)]++
	}
	if r.reason == "waited" || r.reason == "not_covered" || r.reason == "no_replica" {
		w.nobody++
	}
}

// reading reads a number in one of the ways, and tells where that happened.
type reading func(ctx context.Context, c *pgx.Conn, proto string) (int64, route, error)

// write does the pair's write and returns the connection that must see it,
// what it must see at least, and how to ask.
func (w *worker) write(ctx context.Context, kind string) (reader *pgx.Conn, want int64, read reading, err error) {
	if kind == kindGetCreate {
		reader, want, err = w.getOrCreate(ctx)
		return reader, want, w.readMade, err
	}
	// Connections first: one that was made after the write would find it
	// without any floor but the connect ticket.
	a, err := w.conn(ctx, "main")
	if err != nil {
		return nil, 0, nil, err
	}
	switch kind {
	case kindPipeline:
		read, err = w.pipeline(ctx, a)
		return a, w.n, read, err
	case kindSame:
		reader = a
	case kindOther, kindNotify:
		reader, err = w.conn(ctx, "second")
	case kindToken:
		reader, err = w.conn(ctx, "token")
	case kindStrong:
		reader, err = w.conn(ctx, "strong")
	}
	if err != nil {
		return nil, 0, nil, err
	}
	if kind == kindNotify {
		err = w.announce(ctx)
	} else {
		err = w.update(ctx, a, kind == kindOther)
	}
	if err != nil {
		return nil, 0, nil, err
	}
	switch kind {
	case kindReconnect:
		hangUp(w.conns["main"])
		reader, err = w.conn(ctx, "main")
	case kindReconnect1:
		hangUp(w.conns["main"])
		hangUp(w.conns["alone"])
		if reader, err = connect(ctx, w.home.addr, w.database, "pgroute.scope", "connection"); err == nil {
			w.conns["alone"] = reader
		}
	case kindToken:
		var token string
		if token, err = simple(ctx, a, "SHOW pgroute.token"); err == nil {
			_, err = simple(ctx, reader, "SET pgroute.token = '"+token+"'")
		}
	}
	return reader, w.n, w.readRow, err
}

// update writes the next value in one of many ways, and with chain also in one
// that leaves a transaction open. A write whose outcome is not known may still
// arrive later, so values never go down.
func (w *worker) update(ctx context.Context, c *pgx.Conn, chain bool) (err error) {
	w.nem.gate.RLock()
	defer w.nem.gate.RUnlock()
	w.n++
	set := fmt.Sprintf("UPDATE kv SET v = greatest(v, %d) WHERE k = %d", w.n, w.key)
	switch w.n % 6 {
	case 0:
		_, err = simple(ctx, c, set)
	case 1:
		err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE kv SET v = greatest(v, $1) WHERE k = $2", w.n, w.key)
			return err
		})
	case 2:
		_, err = simple(ctx, c, "WITH u AS ("+set+" RETURNING v) SELECT v FROM u")
	case 3:
		_, err = c.Exec(ctx, "SELECT bump($1, $2)", w.key, w.n)
	case 4:
		if chain {
			for _, sql := range []string{"BEGIN", set, "COMMIT AND CHAIN"} {
				if _, err := simple(ctx, c, sql); err != nil {
					return err
				}
			}
			w.after = func(ctx context.Context) { _, _ = simple(ctx, c, "ROLLBACK") }
			return nil
		}
		fallthrough
	default:
		_, err = c.Exec(ctx, "UPDATE kv SET v = greatest(v, $1) WHERE k = $2", w.n, w.key)
	}
	return err
}

// pipeline sends the read behind the write, before either is answered, and
// returns what gives the read's answer.
func (w *worker) pipeline(ctx context.Context, c *pgx.Conn) (reading, error) {
	w.nem.gate.RLock()
	defer w.nem.gate.RUnlock()
	w.n++
	key := []byte(strconv.FormatInt(w.key, 10))
	p := c.PgConn().StartPipeline(ctx)
	p.SendQueryParams("UPDATE kv SET v = greatest(v, $1) WHERE k = $2", [][]byte{[]byte(strconv.FormatInt(w.n, 10)), key}, nil, nil, nil)
	if err := p.Sync(); err != nil {
		return nil, err
	}
	p.SendQueryParams("SELECT v FROM kv WHERE k = $1", [][]byte{key}, nil, nil, nil)
	if err := p.Sync(); err != nil {
		return nil, err
	}
	var text string
	for {
		results, err := p.GetResults()
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		if results == nil {
			break
		}
		if rr, ok := results.(*pgconn.ResultReader); ok {
			result := rr.Read()
			if result.Err != nil {
				return nil, errors.Join(result.Err, p.Close())
			}
			if len(result.Rows) > 0 {
				text = string(result.Rows[0][0])
			}
		}
	}
	if err := p.Close(); err != nil {
		return nil, err
	}
	return func(ctx context.Context, c *pgx.Conn, _ string) (v int64, r route, err error) {
		if v, err = strconv.ParseInt(text, 10, 64); err == nil {
			r, err = lastRoute(ctx, c)
		}
		return v, r, err
	}, nil
}

// announce lets somebody else write and tell, and returns once the worker has
// been told.
func (w *worker) announce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pairTimeout/2)
	defer cancel()
	l, err := w.conn(ctx, "listener")
	if err != nil {
		return err
	}
	teller, err := w.conn(ctx, "announcer")
	if err != nil {
		return err
	}
	if err := w.tell(ctx, teller); err != nil {
		return err
	}
	for {
		n, err := l.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		if n.Payload == fmt.Sprint(w.n) {
			return nil
		}
	}
}

func (w *worker) tell(ctx context.Context, c *pgx.Conn) error {
	w.nem.gate.RLock()
	defer w.nem.gate.RUnlock()
	w.n++
	_, err := simple(ctx, c, fmt.Sprintf("BEGIN; UPDATE kv SET v = greatest(v, %d) WHERE k = %d; NOTIFY c%d, '%[1]d'; COMMIT", w.n, w.key, w.id))
	return err
}

// getOrCreate finds a row that somebody else has made and not flushed: the
// statement that finds it writes nothing itself.
func (w *worker) getOrCreate(ctx context.Context) (*pgx.Conn, int64, error) {
	other, err := w.conn(ctx, "async")
	if err != nil {
		return nil, 0, err
	}
	a, err := w.conn(ctx, "main")
	if err != nil {
		return nil, 0, err
	}
	reader := a
	if rand.IntN(2) == 0 {
		if reader, err = w.conn(ctx, "second"); err != nil {
			return nil, 0, err
		}
	}
	w.nem.gate.RLock()
	defer w.nem.gate.RUnlock()
	w.n++
	if _, err := simple(ctx, other, fmt.Sprintf("INSERT INTO made VALUES (%d, %d)", w.madeKey(), w.n)); err != nil {
		return nil, 0, err
	}
	_, err = a.Exec(ctx, "INSERT INTO made VALUES ($1, $2) ON CONFLICT (k) DO NOTHING", w.madeKey(), w.n)
	return reader, w.n, err
}

// madeKey is the row of the last getOrCreate.
func (w *worker) madeKey() int64 { return w.key<<32 | w.n }

func (w *worker) readRow(ctx context.Context, c *pgx.Conn, proto string) (int64, route, error) {
	return readValue(ctx, c, proto, "SELECT v FROM kv WHERE k = $1", w.key)
}

func (w *worker) readMade(ctx context.Context, c *pgx.Conn, proto string) (int64, route, error) {
	return readValue(ctx, c, proto, "SELECT coalesce(max(v), 0) FROM made WHERE k = $1", w.madeKey())
}

func readValue(ctx context.Context, c *pgx.Conn, proto, sql string, key int64) (v int64, r route, err error) {
	switch proto {
	case protoSimple:
		var text string
		if text, err = simple(ctx, c, strings.Replace(sql, "$1", strconv.FormatInt(key, 10), 1)); err == nil {
			v, err = strconv.ParseInt(text, 10, 64)
		}
	case protoPrepared:
		err = c.QueryRow(ctx, sql, key).Scan(&v)
	case protoCommitted:
		return readTwice(ctx, c, pgx.ReadCommitted, sql, key)
	default:
		return readTwice(ctx, c, pgx.RepeatableRead, sql, key)
	}
	if err == nil {
		r, err = lastRoute(ctx, c)
	}
	return v, r, err
}

// anew reports whether a read-only transaction has to begin anew, because its
// replica was not there in time. On a busy machine that is a matter of course.
func anew(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "40001"
}

// readTwice reads in a read-only transaction: the same value twice under
// REPEATABLE READ, whose one snapshot must be new enough; never less at the
// second time under READ COMMITTED.
func readTwice(ctx context.Context, c *pgx.Conn, level pgx.TxIsoLevel, sql string, key int64) (v int64, r route, err error) {
	tx, err := c.BeginTx(ctx, pgx.TxOptions{IsoLevel: level, AccessMode: pgx.ReadOnly})
	if err != nil {
		return 0, r, err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if err := tx.QueryRow(ctx, sql, key).Scan(&v); err != nil {
		return 0, r, err
	}
	if r, err = lastRoute(ctx, c); err != nil {
		return 0, r, err
	}
	var again int64
	if err := tx.QueryRow(ctx, sql, key).Scan(&again); err != nil {
		return 0, r, err
	}
	switch {
	case level == pgx.RepeatableRead && again != v:
		return 0, r, fmt.Errorf("REPEATABLE READ read %d and then %d", v, again)
	case again < v:
		v = again // as if it had been the first: it must not be stale either
	}
	return v, r, tx.Commit(ctx)
}
