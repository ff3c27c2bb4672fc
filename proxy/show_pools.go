package proxy

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/reactor"
)

// inspect asks the loops. Before the Server is ready there is nothing.
func (s *Server) inspect() *reactor.Inspection {
	select {
	case <-s.ready:
	default:
		return new(reactor.Inspection)
	}
	// The admin session's own context would only cut a wait short that is
	// short already.
	ctx, cancel := context.WithTimeout(s.life, time.Second)
	defer cancel()
	return s.group.Inspect(ctx)
}

// The columns are PgBouncer's, as far as they mean the same here, and then
// ours.

// showPools adds up the nodes of each database and user, since their clients
// are the same.
func (s *Server) showPools() *table {
	t := newTable("database", "user", "cl_active:int", "cl_waiting:int", "sv_active:int", "sv_idle:int", "sv_used:int",
		"sv_tested:int", "sv_login:int", "maxwait:int", "maxwait_us:int", "pool_mode", "node")
	in := s.inspect()
	type key struct{ database, user, node string }
	sums := make(map[key]*reactor.PoolInfo)
	for i := range in.Pools {
		p := &in.Pools[i]
		k := key{p.Database, p.User, p.Node}
		if sum := sums[k]; sum != nil {
			sum.Active += p.Active
			sum.Idle += p.Idle
			sum.Used += p.Used
			sum.Dialing += p.Dialing
			sum.ClientsActive += p.ClientsActive
			sum.ClientsWaiting += p.ClientsWaiting
			sum.MaxWait = max(sum.MaxWait, p.MaxWait)
			continue
		}
		sums[k] = p
	}
	mode := s.cfg.Load().PoolMode.String()
	for k, p := range sums {
		t.add(k.database, k.user, p.ClientsActive, p.ClientsWaiting, p.Active, p.Idle, p.Used, 0, p.Dialing,
			int(p.MaxWait/time.Second), int(p.MaxWait%time.Second/time.Microsecond), mode, k.node)
	}
	slices.SortFunc(t.rows, func(a, b []any) int {
		return cmp.Or(cmp.Compare(a[0].(string), b[0].(string)), cmp.Compare(a[1].(string), b[1].(string)),
			cmp.Compare(a[len(a)-1].(string), b[len(b)-1].(string)))
	})
	return t
}

func (s *Server) showClients() *table {
	t := newTable("type", "user", "database", "state", "addr", "port:int", "link:int", "remote_pid:int", "node", "waits_for", "pin", "loop:int", "channels:int")
	for _, c := range s.inspect().Clients {
		var link, node, waits, pin any
		if c.ServerPID != 0 {
			link, node = int64(c.ServerPID), c.Node
		}
		if c.Waits != "" {
			waits = c.Waits
		}
		if c.Pin != "" {
			pin = c.Pin
		}
		t.add("C", c.User, c.Database, c.State, cmp.Or(c.Addr, "unix"), c.Port, link, int64(c.PID), node, waits, pin, c.Loop, c.Channels)
	}
	return t
}

func (s *Server) showServers() *table {
	t := newTable("type", "user", "database", "state", "addr", "port:int", "link:int", "remote_pid:int", "node", "role", "loop:int")
	for _, b := range s.inspect().Servers {
		var link any
		if b.ClientPID != 0 {
			link = int64(b.ClientPID)
		}
		role := "replica"
		if b.Primary {
			role = "primary"
		}
		t.add("S", b.User, b.Database, b.State, b.Host, b.Port, link, int64(b.PID), b.Node, role, b.Loop)
	}
	return t
}
