package pgxdb

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// counters are what a DB counts, and the last errors that explain why Open
// does not get on.
type counters struct {
	replicaReads, primaryReads, writes, redone atomic.Uint64

	mu          sync.Mutex // guards the fields below
	probe, fail error
}

func (c *counters) routerFailed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = err
}

func (c *counters) routerError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fail
}

func (c *counters) probeError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.probe
}

// watchedProber remembers why a server could not be asked, so that Open can
// say it.
type watchedProber struct {
	*pgprobe.Prober
	c *counters
}

func (p watchedProber) Connect(ctx context.Context, addr router.Addr) (router.Probe, error) {
	probe, err := p.Prober.Connect(ctx, addr)
	if err != nil {
		p.c.mu.Lock()
		p.c.probe = err
		p.c.mu.Unlock()
	}
	return probe, err
}

// Stat is a snapshot of what a DB does and has done.
type Stat struct {
	// ReplicaReads and PrimaryReads are the reads that ran there, Writes what
	// took a ticket as a write, Redone the reads that were run again.
	ReplicaReads, PrimaryReads, Writes, Redone uint64
	// Pools are those that exist now, by the name of their node.
	Pools []PoolStat
}

// PoolStat describes one pool.
type PoolStat struct {
	Node string
	// Writes is true for the pool of a primary that takes writes, false for
	// one of read-only connections.
	Writes bool
	*pgxpool.Stat
}

// Stat returns a snapshot. The numbers are read one after the other.
func (db *DB) Stat() Stat {
	s := Stat{
		ReplicaReads: db.stats.replicaReads.Load(),
		PrimaryReads: db.stats.primaryReads.Load(),
		Writes:       db.stats.writes.Load(),
		Redone:       db.stats.redone.Load(),
	}
	for _, node := range db.router.Topology().Nodes {
		n, err := db.table.of(db, node)
		if err != nil {
			break
		}
		n.mu.Lock()
		pools := n.pools
		n.mu.Unlock()
		for p, pool := range pools {
			if pool != nil {
				s.Pools = append(s.Pools, PoolStat{Node: node.Name, Writes: purpose(p) == forWrites, Stat: pool.Stat()})
			}
		}
	}
	return s
}
