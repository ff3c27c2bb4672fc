package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// sidecar is the way over a pgroute proxy beside the service. It is an
// ordinary pool of connections; what it wants from pgroute it says in SQL.
type sidecar struct {
	pool *pgxpool.Pool
	// eventual are the connections of reads that take whatever there is.
	// pgroute leaves a connection at the replica where it read last; on shared
	// connections these reads would follow the others, to the replicas that
	// are up to date, and leave the rest idle.
	eventual *pgxpool.Pool
	// admin is how the sidecar's own database is reached.
	admin *pgxpool.Pool
}

// OpenSidecar returns the way over the sidecar at dsn. It connects when it is
// first used.
func OpenSidecar(ctx context.Context, dsn string) (Way, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("read the sidecar's DSN: %w", err)
	}
	if !strings.Contains(dsn, "pool_max_conns") {
		// A read that waits for a replica keeps its connection, so there must
		// be more of them than pgxpool's default of one for each CPU.
		cfg.MaxConns = 16
	}
	s := new(sidecar)
	if s.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, fmt.Errorf("open the pool: %w", err)
	}
	if s.eventual, err = pgxpool.NewWithConfig(ctx, cfg.Copy()); err != nil {
		s.Close()
		return nil, fmt.Errorf("open the pool of eventual reads: %w", err)
	}
	cfg = cfg.Copy()
	// The database pgroute is the sidecar itself: it answers SHOW.
	cfg.ConnConfig.Database = "pgroute"
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	cfg.MinConns, cfg.MinIdleConns, cfg.MaxConns = 0, 0, 2
	if s.admin, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		s.Close()
		return nil, fmt.Errorf("open the pool of the sidecar's own database: %w", err)
	}
	return s, nil
}

func (s *sidecar) Name() string { return "sidecar" }

func (s *sidecar) Close() {
	for _, pool := range []*pgxpool.Pool{s.pool, s.eventual, s.admin} {
		if pool != nil {
			pool.Close()
		}
	}
}

func (s *sidecar) Read(ctx context.Context, need Need, sql string, args []any, scan func(pgx.Rows) error) (Route, error) {
	pool := s.pool
	if need.Level == router.LevelEventual {
		pool = s.eventual
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return Route{}, err
	}
	defer conn.Release()
	if need.useToken() {
		// The connection's floor stays where the token has put it, also for
		// whoever gets the connection next: floors only grow. At worst a read
		// waits for what another customer has seen.
		if err := setToken(ctx, conn.Conn(), need.Token); err != nil {
			return Route{}, err
		}
	}
	hint := fmt.Sprintf("/* pgroute: consistency=%s wait=%s on_timeout=%s */ ", need.Level, need.Wait, need.OnTimeout)
	if err := query(ctx, conn.Conn(), hint+sql, args, scan); err != nil {
		return Route{}, err
	}
	// On the same connection: it is this connection's last statement.
	return lastRoute(ctx, conn.Conn())
}

func (s *sidecar) Primary(ctx context.Context, sql string, args []any, scan func(pgx.Rows) error) (Route, string, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return Route{}, "", err
	}
	defer conn.Release()
	if err := query(ctx, conn.Conn(), "/* pgroute: primary */ "+sql, args, scan); err != nil {
		return Route{}, "", err
	}
	route, err := lastRoute(ctx, conn.Conn())
	if err != nil {
		return Route{}, "", err
	}
	var token string
	if err := conn.QueryRow(ctx, "SHOW pgroute.token").Scan(&token); err != nil {
		return Route{}, "", fmt.Errorf("ask for a token: %w", err)
	}
	return route, token, nil
}

// query runs one statement and lets scan read its rows.
func query(ctx context.Context, conn *pgx.Conn, sql string, args []any, scan func(pgx.Rows) error) error {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	return scanAll(rows, scan)
}

func setToken(ctx context.Context, conn *pgx.Conn, token string) error {
	// SET takes no parameters. What ParseToken accepts holds no quote.
	if _, err := lsn.ParseToken(token); err != nil {
		return fmt.Errorf("%w: %w", ErrBadToken, err)
	}
	_, err := conn.Exec(ctx, "SET pgroute.token = '"+token+"'")
	if sqlState(err) == stateInvalidParameter {
		return fmt.Errorf("%w: %w", ErrBadToken, err)
	}
	return err
}

func lastRoute(ctx context.Context, conn *pgx.Conn) (Route, error) {
	var r Route
	var waited string // milliseconds, as text
	err := conn.QueryRow(ctx, "SHOW pgroute.last_route").Scan(&r.Node, &r.Role, &r.Reason, &waited)
	if err != nil {
		return Route{}, fmt.Errorf("ask for the route: %w", err)
	}
	ms, err := strconv.ParseFloat(waited, 64)
	if err != nil {
		return Route{}, fmt.Errorf("read the route: %w", err)
	}
	r.Waited = time.Duration(ms * float64(time.Millisecond))
	return r, nil
}

func (s *sidecar) Nodes(ctx context.Context) ([]Node, error) {
	rows, err := s.admin.Query(ctx, "SHOW NODES")
	if err != nil {
		return nil, fmt.Errorf("ask the sidecar for the servers: %w", err)
	}
	// The columns are found by name: later versions may have more.
	maps, err := pgx.CollectRows(rows, pgx.RowToMap)
	if err != nil {
		return nil, fmt.Errorf("ask the sidecar for the servers: %w", err)
	}
	nodes := make([]Node, len(maps))
	for i, m := range maps {
		n := &nodes[i]
		n.Name, _ = m["name"].(string)
		n.Host, _ = m["host"].(string)
		n.Role, _ = m["role"].(string)
		n.Paused, _ = m["paused"].(bool)
		n.Healthy, _ = m["healthy"].(bool)
		n.LagBytes, _ = m["lag_bytes"].(int64)
		port, _ := m["port"].(int64)
		n.Port = int(port)
	}
	return nodes, nil
}
