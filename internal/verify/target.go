package verify

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// target is what clients connect to.
type target struct {
	Target
	config *pgx.ConnConfig
	// plain is set once something answered that is not pgroute.
	plain atomic.Bool
}

func newTarget(t Target) (*target, error) {
	cfg, err := pgx.ParseConfig(t.DSN)
	if err != nil {
		return nil, fmt.Errorf("connection string of %s: %w", t.Name, err)
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "pgroute verify"
	}
	return &target{Target: t, config: cfg}, nil
}

// connect connects; notice gets what the server says besides.
func (t *target) connect(ctx context.Context, mode pgx.QueryExecMode, notice func(*pgconn.Notice)) (*pgx.Conn, error) {
	cfg := t.config.Copy()
	cfg.DefaultQueryExecMode = mode
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notice(n) }
	return pgx.ConnectConfig(ctx, cfg)
}

// with does something on a connection of its own, at the level primary.
func (t *target) with(ctx context.Context, do func(*pgx.Conn) error) error {
	conn, err := t.connect(ctx, pgx.QueryExecModeSimpleProtocol, func(*pgconn.Notice) {})
	if err != nil {
		return err
	}
	defer hangUp(conn)
	if _, err := conn.Exec(ctx, "SET pgroute.consistency = 'primary'"); err != nil {
		return err
	}
	return do(conn)
}
