package reactor

import (
	"cmp"
	"context"
	"time"
)

// ClientInfo describes one client.
type ClientInfo struct {
	User, Database string
	// State is active while the client has a backend, waiting while it waits
	// for something, and else idle.
	State string
	// Waits is what it waits for, and Pin why it keeps its backend; both are
	// empty if it does not.
	Waits, Pin string
	// Channels is how many channels it has on the shared listener.
	Channels int
	// Addr and Port are the peer's; Addr is empty for a Unix socket.
	Addr string
	Port int
	// PID is the process id that the client was told, ServerPID and Node those
	// of its backend, 0 and empty if it has none.
	PID, ServerPID uint32
	Node           string
	Loop           int
}

// ServerInfo describes one backend.
type ServerInfo struct {
	User, Database string
	// State is active for a backend that a client has, used for one that is
	// being cleaned, and else idle.
	State   string
	Node    string
	Host    string
	Port    int
	Primary bool
	// PID is the server's process, ClientPID the client that has it, 0 if
	// nobody has.
	PID, ClientPID uint32
	Loop           int
}

// PoolInfo describes the backends of one node for one user and database.
type PoolInfo struct {
	User, Database, Node          string
	Active, Idle, Used, Dialing   int
	ClientsActive, ClientsWaiting int
	// MaxWait is how long the first of those who wait has waited.
	MaxWait time.Duration
}

// Inspection is what the loops hold, each at its own moment.
type Inspection struct {
	Clients []ClientInfo
	Servers []ServerInfo
	Pools   []PoolInfo
}

// inspectWait bounds how long a loop that is busy is waited for.
const inspectWait = time.Second

// Inspect asks every loop what it holds. Loops that have ended, or are too
// busy, are left out.
func (g *Group) Inspect(ctx context.Context) *Inspection { return g.ask(ctx, true) }

// Pools is Inspect for the pools only, which costs little.
func (g *Group) Pools(ctx context.Context) []PoolInfo { return g.ask(ctx, false).Pools }

func (g *Group) ask(ctx context.Context, all bool) *Inspection {
	ctx, cancel := context.WithTimeout(ctx, inspectWait)
	defer cancel()
	parts := make([]chan *Inspection, len(g.loops))
	for i, l := range g.loops {
		// Buffered: the loop does not wait for us.
		part := make(chan *Inspection, 1)
		parts[i] = part
		l.post(mail{kind: mailCall, fn: func() { part <- l.inspect(i, all) }})
	}
	sum := new(Inspection)
	for i, l := range g.loops {
		select {
		case p := <-parts[i]:
			sum.Clients = append(sum.Clients, p.Clients...)
			sum.Servers = append(sum.Servers, p.Servers...)
			sum.Pools = append(sum.Pools, p.Pools...)
		case <-l.done:
		case <-ctx.Done():
		}
	}
	return sum
}

var waitNames = [numWaits]string{waitNothing: "", waitRoute: "a replica", waitPrimary: "a primary", waitLease: "a connection",
	waitReading: "a reading", waitAgain: "a reading", waitTicket: "a ticket", waitHeard: "a notification", waitOutcome: "the outcome of a COMMIT"}

// inspect describes what the loop holds: all of it, or the pools only. It runs
// in the loop.
func (l *Loop) inspect(index int, all bool) *Inspection {
	out := new(Inspection)
	type poolKey struct {
		tenantKey
		node string
	}
	pools := make(map[poolKey]*PoolInfo)
	for _, t := range l.tenants {
		for _, p := range t.pools {
			if p != nil {
				pools[poolKey{t.key, p.node.Name}] = &PoolInfo{User: t.key.user, Database: t.key.database, Node: p.node.Name,
					Dialing: p.dialing, ClientsWaiting: p.queue.n,
					MaxWait: p.longest(l.env.Now)}
			}
		}
	}
	for i := range l.slots {
		if c := l.slots[i].c; c != nil && all {
			out.Clients = append(out.Clients, c.describe(index))
		}
		if s := l.slots[i].b; s != nil {
			info := s.describe(index)
			if all {
				out.Servers = append(out.Servers, info)
			}
			p := pools[poolKey{s.pool.tenant.key, info.Node}]
			if p == nil {
				continue // the node has changed its address; this backend is on its way out
			}
			switch info.State {
			case "active":
				p.Active++
				p.ClientsActive++
			case "idle":
				p.Idle++
			default:
				p.Used++
			}
		}
	}
	for _, p := range pools {
		out.Pools = append(out.Pools, *p)
	}
	return out
}

func (c *Client) describe(loop int) ClientInfo {
	info := ClientInfo{User: c.login.User, Database: c.login.DatabaseName, State: "idle", Pin: c.m.Pin(), PID: c.pid, Loop: loop,
		Channels: c.m.Listening()}
	info.Addr, info.Port = peerAddr(c.fd)
	if c.wait != waitNothing {
		info.State, info.Waits = "waiting", waitNames[c.wait]
	}
	if s := cmp.Or(c.server, c.home); s != nil {
		info.State, info.ServerPID, info.Node = "active", s.PID, s.Node.Name
	}
	return info
}

func (s *server) describe(loop int) ServerInfo {
	key := s.pool.tenant.key
	info := ServerInfo{User: key.user, Database: key.database, State: "idle", Node: s.Node.Name, Host: s.Node.Host, Port: s.Node.Port,
		Primary: s.Primary, PID: s.PID, Loop: loop}
	switch {
	case s.client != nil:
		info.State, info.ClientPID = "active", s.client.pid
	case s.cleaning, s.parked:
		info.State = "used"
	}
	return info
}
