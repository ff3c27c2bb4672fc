package pgxdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/catalogue"
	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// DB is a cluster of PostgreSQL servers as one database: a pool of connections
// for each server, and a router that knows which of them may serve what. Its
// own methods are those of Write, but for read-only transactions, so that it
// stands where a *pgxpool.Pool stood. It is safe for concurrent use.
type DB struct {
	cfg     Config
	policy  policy
	router  *router.Router
	monitor *pgprobe.Prober
	session *router.Session

	// lifetime ends what runs in the background.
	lifetime context.Context //nolint:containedctx // it lives as long as the DB does
	end      context.CancelFunc
	// ending is closed when Close begins, closed set just before.
	ending    chan struct{}
	closed    atomic.Bool
	closeOnce sync.Once
	routed    chan struct{} // closed when the router has ended
	followed  chan struct{} // closed when followLoop has ended

	table    table
	stats    counters
	database string
	options  sqlclass.Options

	watchOnce    sync.Once
	watchedSince time.Time // written before watcher is
	watcher      atomic.Pointer[catalogue.Watcher]
	watching     sync.WaitGroup
	catalogueGen atomic.Uint64
	verdicts     verdicts
}

// Open makes a DB and returns when a primary is known and lets the DB's user
// in. ctx bounds that, and 10 s if it has no deadline; it does not bound the
// DB's life: Close ends it. If it fails, nothing is left running.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	db, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	db.start(ctx)
	if err := db.begin(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("pgxdb: %w", err)
	}
	return db, nil
}

// prepare makes a DB that does nothing yet.
func prepare(cfg Config) (*DB, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	monitor, err := pgprobe.New(pgprobe.Config{DSN: cfg.MonitorDSN, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("pgxdb: %w", err)
	}
	db := &DB{cfg: cfg, monitor: monitor, router: cfg.Router, session: router.NewSession(),
		ending: make(chan struct{}), routed: make(chan struct{}), followed: make(chan struct{})}
	db.table.nodes = make(map[*router.Node]*nodePools)
	err = db.sample()
	if err == nil && db.router == nil {
		db.router, err = router.New(router.Config{Source: cfg.Source, Prober: watchedProber{monitor, &db.stats}, Wait: cfg.Wait,
			OnTimeout: cfg.OnTimeout, MaxStaleness: cfg.MaxStaleness, Monotonic: cfg.Monotonic, Logger: cfg.Logger})
	}
	if err != nil {
		monitor.Close()
		return nil, fmt.Errorf("pgxdb: %w", err)
	}
	db.policy = cfg.policy(db.router.Config())
	return db, nil
}

// sample parses the DSN as for a pool, so that a mistake in it is reported
// now, and finds out what the classifier must know.
func (db *DB) sample() error {
	cfg, err := db.cfg.poolConfig(router.Addr{Name: "sample", Host: "localhost", Port: 5432})
	if err != nil {
		return err
	}
	db.options = classOptions(cfg)
	// libpq's rule: without a database it is the one named like the user.
	if db.database = cfg.ConnConfig.Database; db.database == "" {
		db.database = cfg.ConnConfig.User
	}
	return nil
}

// start starts what runs in the background.
func (db *DB) start(ctx context.Context) {
	db.lifetime, db.end = context.WithCancel(context.WithoutCancel(ctx))
	if db.cfg.Router == nil {
		// Close ends both by db.lifetime and waits for them.
		go db.routeLoop()
	} else {
		close(db.routed)
	}
	go db.followLoop(db.lifetime)
}

func (db *DB) routeLoop() {
	defer close(db.routed)
	if err := db.router.Run(db.lifetime); err != nil {
		db.stats.routerFailed(err)
		db.cfg.Logger.Error("pgxdb: the router has ended", "error", err)
	}
}

// openWait bounds Open if its context has no deadline.
const openWait = 10 * time.Second

// begin waits for a primary and logs in to it. The session then starts from
// now: a service that is restarted sees what it wrote before.
func (db *DB) begin(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, openWait, errors.New("it took too long"))
		defer cancel()
	}
	for t := db.router.Topology(); t.Primary == nil; t = db.router.Topology() {
		select {
		case <-t.Changed():
		case <-db.ended():
			return fmt.Errorf("the router has ended: %w", db.stats.routerError())
		case <-ctx.Done():
			err := fmt.Errorf("no primary was found (%s): %w", t.Reason, context.Cause(ctx))
			if probe := db.stats.probeError(); probe != nil {
				err = fmt.Errorf("%w; the last server that could not be asked: %w", err, probe)
			}
			return err
		}
	}
	if err := db.Ping(ctx); err != nil {
		return fmt.Errorf("log in to the primary: %w", err)
	}
	db.session.Wrote(db.router)
	return nil
}

// ended returns a channel that is closed when a router of our own has ended,
// nil if it is somebody else's.
func (db *DB) ended() <-chan struct{} {
	if db.cfg.Router != nil {
		return nil
	}
	return db.routed
}

// Close ends the DB. It waits until all connections are given back: rows,
// transactions and acquired connections that are in use must be closed.
// Statements that wait for a place to run fail. It may be called more than
// once; each call returns when everything has ended.
func (db *DB) Close() {
	db.closeOnce.Do(func() {
		db.closed.Store(true)
		close(db.ending)
		db.table.close()
		db.end()
	})
	<-db.followed
	if db.cfg.Router == nil {
		<-db.routed
	}
	db.watching.Wait()
	db.monitor.Close()
}

// Read returns Queries whose statements are all reads. Each runs on a replica
// that covers the session's floor, else on the primary, and on a connection
// that is read only: what writes is refused, with SQLSTATE 25006. A read that
// fails because of its server is run again on another one before the caller
// sees anything of it.
func (db *DB) Read() Queries { return Queries{db: db, policy: db.policy, verb: verbRead} }

// Write returns Queries whose statements all run on the primary. When there is
// none they wait for one until their context ends, or for 5 s if that has no
// deadline.
func (db *DB) Write() Queries { return Queries{db: db, policy: db.policy, verb: verbWrite} }

func (db *DB) own() Queries { return Queries{db: db, policy: db.policy, verb: verbDB} }

// Router returns the router. It may be shared with other DBs of the cluster.
func (db *DB) Router() *router.Router { return db.router }

// Session returns the session of those whose context carries none.
func (db *DB) Session() *router.Session { return db.session }

// sessionFrom returns the session of a context, nil if it carries none or that
// of another cluster.
func (db *DB) sessionFrom(ctx context.Context) *router.Session {
	if s := router.SessionFrom(ctx); s != nil && s.Join(db.router) {
		return s
	}
	return nil
}

// Exec is that of Write.
func (db *DB) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return db.own().Exec(ctx, sql, args...)
}

// Query is that of Write.
func (db *DB) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return db.own().Query(ctx, sql, args...)
}

// QueryRow is that of Write.
func (db *DB) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return db.own().QueryRow(ctx, sql, args...)
}

// Begin is that of Write.
func (db *DB) Begin(ctx context.Context) (pgx.Tx, error) { return db.own().Begin(ctx) }

// BeginTx is that of Write, but a transaction with the access mode read only
// runs on a replica, unless it is serializable.
func (db *DB) BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error) {
	return db.own().BeginTx(ctx, options)
}

// SendBatch is that of Write.
func (db *DB) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	return db.own().SendBatch(ctx, b)
}

// CopyFrom is that of Write.
func (db *DB) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource) (int64, error) {
	return db.own().CopyFrom(ctx, table, columns, source)
}

// Ping makes sure that the primary answers on a connection that may write.
func (db *DB) Ping(ctx context.Context) error {
	l, err := db.lease(ctx, &want{write: true})
	if err != nil {
		return err
	}
	return l.done(l.conn.Ping(ctx))
}

// Token returns a token that covers everything that the context's session
// wrote or saw, and everything of anybody if the context carries none. It waits
// for an answer of the primary, one round trip if that answers, and otherwise
// until ctx is done.
func (db *DB) Token(ctx context.Context) (string, error) {
	return db.router.Token(ctx, db.sessionFrom(ctx))
}

// Accept makes the reads of the context's session, or of the DB's own if it
// carries none, see at least what a token stands for: one of Token, of another
// service, or of a proxy (SHOW pgroute.token). A token that cannot be right is
// refused with a *router.TokenError.
func (db *DB) Accept(ctx context.Context, token string) error {
	s := db.sessionFrom(ctx)
	if s == nil {
		s = db.session
	}
	return db.router.Accept(ctx, s, token)
}
