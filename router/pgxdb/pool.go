package pgxdb

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgroute/pgroute/router"
)

// purpose says what a pool's connections are for.
type purpose uint8

const (
	forReads purpose = iota
	forWrites
	numPurposes
)

// nodePools are the pools of one node, one for each purpose.
type nodePools struct {
	db   *DB
	node *router.Node

	mu     sync.Mutex // guards the fields below, and that a pool is made once
	closed bool
	pools  [numPurposes]*pgxpool.Pool
}

// open returns the pool for a purpose and makes it if there is none yet.
func (n *nodePools) open(p purpose) (*pgxpool.Pool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, errGone
	}
	if n.pools[p] == nil {
		pool, err := n.db.newPool(n.node, p)
		if err != nil {
			return nil, fmt.Errorf("make a pool for %s: %w", n.node.Name, err)
		}
		n.pools[p] = pool
		n.db.table.publish(n)
	}
	return n.pools[p], nil
}

// resetWrites makes the connections that were dialled in an earlier epoch go:
// the idle ones now, the others when they are given back.
func (n *nodePools) resetWrites() {
	n.mu.Lock()
	pool := n.pools[forWrites]
	n.mu.Unlock()
	if pool != nil {
		pool.Reset()
	}
}

// close ends the pools and returns when the last connection was given back.
func (n *nodePools) close() {
	n.mu.Lock()
	n.closed = true
	pools := n.pools
	n.mu.Unlock()
	for _, pool := range pools {
		if pool != nil {
			pool.Close()
		}
	}
}

// newPool makes a pool that dials nothing yet, unless the connection string
// asks for idle connections.
func (db *DB) newPool(node *router.Node, p purpose) (*pgxpool.Pool, error) {
	cfg, err := db.cfg.poolConfig(node.Addr)
	if err != nil {
		return nil, err
	}
	if p == forReads {
		// Nothing that is routed as a read can write here, also after the node
		// was promoted (I6).
		cfg.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	}
	before := cfg.BeforeConnect
	cfg.BeforeConnect = func(ctx context.Context, cc *pgx.ConnConfig) error {
		if before != nil {
			if err := before(ctx, cc); err != nil {
				return err
			}
		}
		db.stampDial(cc, node, p)
		return nil
	}
	return pgxpool.NewWithConfig(db.lifetime, cfg)
}

// stampDial makes one dial stamp its connection. The epoch is noted before the
// dial begins: should it change while that goes on, the connection is an old
// one.
func (db *DB) stampDial(cc *pgx.ConnConfig, node *router.Node, p purpose) {
	epoch := db.router.Topology().Epoch
	after := cc.AfterConnect
	cc.AfterConnect = func(ctx context.Context, c *pgconn.PgConn) error {
		if err := identify(ctx, c, db.router, node, epoch, p == forWrites); err != nil {
			return err
		}
		node.Report(nil)
		if after != nil {
			return after(ctx, c)
		}
		return nil
	}
}
