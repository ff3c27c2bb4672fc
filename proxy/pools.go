package proxy

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/pgroute/pgroute/router"
)

// PoolStats says how server connections are used, and for how long clients
// waited for them.
type PoolStats struct {
	// Nodes are sorted by name. Those that no client has used are left out.
	Nodes []NodePool
	// Waited is how long the statements did wait that had to wait for a
	// connection and got one.
	Waited router.Histogram
	// Refused counts those that got none, by the limit that was in the way,
	// sorted.
	Refused []RefusedCount
}

// NodePool is the pools of one node.
type NodePool struct {
	Node string
	// Active are connections that a client has, Used those that are being
	// cleaned, Opening those that are being opened.
	Active, Idle, Used, Opening int
	// Waiting are the clients that wait for a connection to the node.
	Waiting int
}

// RefusedCount counts statements that got no connection. Limit is the key of
// the configuration that was in the way, or server if the server took no more
// connections, or dial if one was still being opened.
type RefusedCount struct {
	Limit string
	Count uint64
}

// Pools returns a snapshot. Loops that are too busy to answer for a second are
// left out.
func (s *Server) Pools() PoolStats {
	var out PoolStats
	select {
	case <-s.ready:
	default:
		return out
	}
	w := s.group.Waits()
	out.Waited = w.Served
	for limit, n := range w.Refused {
		out.Refused = append(out.Refused, RefusedCount{limit, n})
	}
	slices.SortFunc(out.Refused, func(a, b RefusedCount) int { return cmp.Compare(a.Limit, b.Limit) })
	ctx, cancel := context.WithTimeout(s.life, time.Second)
	defer cancel()
	nodes := make(map[string]*NodePool)
	for _, p := range s.group.Pools(ctx) {
		n := nodes[p.Node]
		if n == nil {
			n = &NodePool{Node: p.Node}
			nodes[p.Node] = n
		}
		n.Active += p.Active
		n.Idle += p.Idle
		n.Used += p.Used
		n.Opening += p.Dialing
		n.Waiting += p.ClientsWaiting
	}
	for _, n := range nodes {
		out.Nodes = append(out.Nodes, *n)
	}
	slices.SortFunc(out.Nodes, func(a, b NodePool) int { return cmp.Compare(a.Node, b.Node) })
	return out
}
