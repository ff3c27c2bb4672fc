package rig

import (
	"context"
	"database/sql"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// Pgx is what the examples that use pgx itself need of a database: sqlc's DBTX
// and scany's Querier are parts of it.
type Pgx interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error)
}

// A Way is how a test reaches its cluster.
type Way struct {
	// Cluster is what stands behind. It is shared with the other way.
	Cluster *cluster.Cluster

	reach reach
	level router.Level
}

// A reach is one of the two ways.
type reach interface {
	sql(t testing.TB, level router.Level) *sql.DB
	pgx(t testing.TB, level router.Level) Pgx
	replicaReads() uint64
}

// At returns the same way with another level of consistency.
func (w *Way) At(level router.Level) *Way {
	at := *w
	at.level = level
	return &at
}

// SQL opens a database/sql handle that is closed when the test ends.
func (w *Way) SQL(t testing.TB) *sql.DB {
	t.Helper()
	db := w.reach.sql(t, w.level)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close the database: %v", err)
		}
	})
	return db
}

// Pgx opens a handle of pgx's shape that is closed when the test ends.
func (w *Way) Pgx(t testing.TB) Pgx {
	t.Helper()
	return w.reach.pgx(t, w.level)
}

// ReplicaReads returns how many statements ran on replicas so far.
func (w *Way) ReplicaReads() uint64 { return w.reach.replicaReads() }

// Exec runs statements without parameters, such as a schema.
func (w *Way) Exec(t testing.TB, sql string) {
	t.Helper()
	db := w.SQL(t)
	if _, err := db.ExecContext(t.Context(), sql); err != nil {
		t.Fatalf("run %.40q…: %v", sql, err)
	}
}

// AwaitReplicas reads until a read runs on a replica: until the catalogue is
// read again after a change of the schema, nothing is proven to be a read.
func (w *Way) AwaitReplicas(ctx context.Context, t testing.TB, read func() error) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for before := w.ReplicaReads(); w.ReplicaReads() == before; {
		if err := read(); err != nil {
			t.Fatalf("wait until a read runs on a replica: %v", err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatal("no read runs on a replica")
		}
	}
}

// Slow pauses replay on one replica and delays it on the other until the test
// ends.
func (w *Way) Slow(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	replicas := w.Cluster.Replicas()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := replicas[0].ResumeReplay(ctx); err != nil {
			t.Errorf("resume replay: %v", err)
		}
		if err := replicas[1].SetApplyDelay(ctx, 0); err != nil {
			t.Errorf("end the delay of replay: %v", err)
		}
	})
	if err := replicas[0].PauseReplay(ctx); err != nil {
		t.Fatalf("pause replay: %v", err)
	}
	if err := replicas[1].SetApplyDelay(ctx, 30*time.Millisecond); err != nil {
		t.Fatalf("delay replay: %v", err)
	}
}

// A sidecar is a proxy in this process. A service needs nothing but its DSN.
type sidecar struct {
	server *proxy.Server
	ended  chan error
}

func (s *sidecar) run(ctx context.Context) { s.ended <- s.server.Run(ctx, time.Minute) }

func (s *sidecar) dsn(level router.Level) string {
	return "postgres://" + cluster.AppUser + ":" + cluster.AppPassword + "@" + s.server.Addrs()[0].String() + "/" + cluster.AppDatabase +
		"?sslmode=disable&options=-c%20pgroute.consistency%3D" + level.String()
}

func (s *sidecar) sql(t testing.TB, level router.Level) *sql.DB {
	t.Helper()
	cfg, err := pgx.ParseConfig(s.dsn(level))
	if err != nil {
		t.Fatal(err)
	}
	return stdlib.OpenDB(*cfg)
}

func (s *sidecar) pgx(t testing.TB, level router.Level) Pgx {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), s.dsn(level))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func (s *sidecar) replicaReads() uint64 {
	var n uint64
	for _, r := range s.server.Stats().Reads {
		if r.Role == router.RoleReplica.String() {
			n += r.Count
		}
	}
	return n
}

// A library is the cluster opened in this process.
type library struct {
	db    *pgxdb.DB
	reads atomic.Uint64
}

// queries routes each statement by what it does, as the sidecar does.
func (l *library) queries(level router.Level) pgxdb.Queries {
	return l.db.Auto().At(level).Trace(func(r pgxdb.Route) {
		if r.Role == router.RoleReplica {
			l.reads.Add(1)
		}
	})
}

func (l *library) sql(_ testing.TB, level router.Level) *sql.DB {
	return sql.OpenDB(pgxdb.NewConnector(l.queries(level)))
}

func (l *library) pgx(_ testing.TB, level router.Level) Pgx { return l.queries(level) }

func (l *library) replicaReads() uint64 { return l.reads.Load() }
