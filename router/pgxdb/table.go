package pgxdb

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgroute/pgroute/router"
)

// maxNodes is how many nodes a router has at most; see router.NodeSet.
const maxNodes = 64

// table holds the pools of all nodes. Looking one up takes no lock.
type table struct {
	mu    sync.Mutex // guards the field below
	nodes map[*router.Node]*nodePools
	// fast holds, by the ID of their nodes, the pools that are open.
	fast    [maxNodes]atomic.Pointer[fastPools]
	closing sync.WaitGroup
}

// fastPools is an immutable copy of what nodePools holds.
type fastPools struct {
	node  *router.Node
	pools [numPurposes]*pgxpool.Pool
}

// pool returns the pool of a node.
func (db *DB) pool(node *router.Node, p purpose) (*pgxpool.Pool, error) {
	if node.ID < maxNodes {
		if f := db.table.fast[node.ID].Load(); f != nil && f.node == node && f.pools[p] != nil {
			return f.pools[p], nil
		}
	}
	n, err := db.table.of(db, node)
	if err != nil {
		return nil, err
	}
	return n.open(p)
}

// of returns the pools of a node.
func (t *table) of(db *DB, node *router.Node) (*nodePools, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.nodes == nil {
		return nil, errClosed
	}
	n := t.nodes[node]
	if n == nil {
		n = &nodePools{db: db, node: node}
		t.nodes[node] = n
	}
	return n, nil
}

// publish makes n's pools known to those who look without a lock. n.mu is
// held.
func (t *table) publish(n *nodePools) {
	if n.node.ID < maxNodes {
		t.fast[n.node.ID].Store(&fastPools{node: n.node, pools: n.pools})
	}
}

// followLoop keeps the pools in line with the topology: those of a node that
// is gone are closed, and a new epoch ends the connections that wrote in the
// one before. Close ends it by ctx and waits for it.
func (db *DB) followLoop(ctx context.Context) {
	defer close(db.followed)
	var epoch uint64
	for {
		t := db.router.Topology()
		db.table.keep(t)
		if t.Epoch != epoch {
			epoch = t.Epoch
			for _, n := range db.table.all() {
				n.resetWrites()
			}
		}
		select {
		case <-t.Changed():
		case <-ctx.Done():
			return
		}
	}
}

// keep closes the pools of nodes that are not in topology t.
func (t *table) keep(topology *router.Topology) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for node, n := range t.nodes {
		if topology.Node(node.Name) == node {
			continue
		}
		delete(t.nodes, node)
		t.closeLocked(n)
	}
}

// all returns the pools of all nodes.
func (t *table) all() []*nodePools {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*nodePools, 0, len(t.nodes))
	for _, n := range t.nodes {
		list = append(list, n)
	}
	return list
}

// close ends all pools for good and returns when all connections were given
// back.
func (t *table) close() {
	t.mu.Lock()
	for _, n := range t.nodes {
		t.closeLocked(n)
	}
	t.nodes = nil
	t.mu.Unlock()
	t.closing.Wait()
}

// closeLocked ends the pools of one node without waiting for that.
func (t *table) closeLocked(n *nodePools) {
	if n.node.ID < maxNodes {
		if f := t.fast[n.node.ID].Load(); f != nil && f.node == n.node {
			t.fast[n.node.ID].CompareAndSwap(f, nil)
		}
	}
	t.closing.Add(1)
	// close waits for it.
	go t.closeOne(n)
}

func (t *table) closeOne(n *nodePools) {
	defer t.closing.Done()
	n.close()
}
