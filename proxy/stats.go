package proxy

import (
	"cmp"
	"slices"
	"time"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/router"
)

// Stats is a snapshot of what a Server has counted since New, and of what it
// knows of the servers now. It belongs to the caller.
type Stats struct {
	// Started is when Run was called, zero before the Server is ready; until
	// then nothing is counted either.
	Started time.Time
	// Clients are those that are logged in now.
	Clients int64
	// Writes are the requests that were not proven to be reads. Violations are
	// clients that broke the protocol.
	Writes, Violations uint64
	// Reads counts the statements that were classified as reads, by where and
	// why they ran there.
	Reads []ReadCount
	// Shadow counts the reads in shadow mode, by where and why they would have
	// run: role replica with reason waited if they would have had to wait first,
	// role unknown if nowhere.
	Shadow []ShadowCount
	// Redo counts the reads that were run again, by the SQLSTATE of the first
	// attempt, or EOF.
	Redo []RedoCount
	// Pins counts what pins clients to server connections, every reason once.
	// PinChecks is how often a server was asked whether that is still there.
	Pins      []PinCount
	PinChecks uint64
	// Router is what the router has counted.
	Router router.Stats

	// Listen is what the shared listeners count.
	Listen ListenStats

	// Epoch is that of the topology. Primary is the name of the node that may
	// take writes, empty if there is none; NoPrimary then says why.
	Epoch              uint64
	Primary, NoPrimary string
	// Leadership is true while no other server can acknowledge commits.
	Leadership bool
	// Replicas is how many nodes count as replicas.
	Replicas int
	// Nodes are sorted by name.
	Nodes []NodeStats
	// Databases are those that clients have asked for, sorted by name.
	Databases []DatabaseStats
}

// ListenStats is what the shared listeners of all databases count together.
type ListenStats struct {
	// Channels are listened to for some client; Listeners counts a channel once
	// for each of its clients.
	Channels  int
	Listeners int64
	// Notifications have arrived from servers. Dropped counts those that one
	// client was not given, because it did not read or was in a transaction for
	// too long. Reconnects counts connections after one that was lost.
	Notifications, Dropped, Reconnects uint64
}

// ReadCount is one counter of reads. A node that has gone keeps its name until
// another has taken its place among the counters; then it is "unknown".
type ReadCount struct {
	Node, Role, Reason string
	Count              uint64
}

// ShadowCount is one counter of reads in shadow mode.
type ShadowCount struct {
	Role, Reason string
	Count        uint64
}

// RedoCount is one counter of reads that were run again.
type RedoCount struct {
	SQLState string
	Count    uint64
}

// PinCount is one reason why clients are pinned: how often one got pinned for
// it, and how many are pinned for it now.
type PinCount struct {
	Reason  string // a word
	Total   uint64 // times
	Clients int64  // now
}

// NodeStats is what is known of one server.
type NodeStats struct {
	Name, Host string
	Port       int
	// Role is what the server last proved to be: primary, replica or unknown.
	Role string
	// Leads is true for the primary that takes writes.
	Leads bool
	// Eligible is true for a replica that may serve reads. Healthy is false
	// while the node is left out because connections to it keep failing.
	Eligible, Healthy bool
	// Streams is true for a replica that receives WAL from another server.
	Streams bool
	// Paused and ApplyDelay say whether and how its replay is held back.
	Paused     bool
	ApplyDelay time.Duration
	// Watermark is a lower bound of a replica's replay position, 0 if it is
	// not known, and LagBytes how far that is behind the latest known position
	// of the primary.
	Watermark lsn.LSN
	LagBytes  int64
	// Outstanding are the reads that run there now.
	Outstanding int64
	// Standing is how the node stands with the router: the state of its breaker,
	// why it is not preferred, its zone and weight.
	router.Standing
	// Ejections are how often it was left out or not preferred, by reason.
	Ejections []EjectionCount
	// SystemID and Incarnation are 0 if they are not known.
	SystemID    uint64
	Incarnation int64
}

// EjectionCount is one counter of a node's ejections.
type EjectionCount struct {
	Why   string // a word: breaker, lag, paused, delayed, stalled
	Count uint64 // times
}

// DatabaseStats is what is known of one database.
type DatabaseStats struct {
	Name string
	// Catalogue is true while the database's catalogue is known: until then
	// most statements are writes.
	Catalogue bool
}

// Stats returns a snapshot. The numbers are read one after the other.
func (s *Server) Stats() Stats {
	t := s.router.Topology()
	out := Stats{
		Router: s.router.Stats(), Epoch: t.Epoch, NoPrimary: t.Reason,
		Leadership: t.Leads(time.Now()), Replicas: t.Replicas(),
	}
	if t.Primary != nil {
		out.Primary = t.Primary.Name
	}
	for _, n := range t.Nodes {
		out.Nodes = append(out.Nodes, nodeStats(n, t))
	}
	s.databases.mu.Lock()
	for _, d := range s.databases.all {
		cat, _, _ := d.Catalogue()
		hub := d.hub.Stats()
		out.Listen.Channels += hub.Channels
		out.Listen.Notifications += hub.Notifications
		out.Listen.Reconnects += hub.Reconnects
		out.Databases = append(out.Databases, DatabaseStats{Name: d.name, Catalogue: cat != nil})
	}
	s.databases.mu.Unlock()
	slices.SortFunc(out.Databases, func(a, b DatabaseStats) int { return cmp.Compare(a.Name, b.Name) })
	select {
	case <-s.ready:
		// Run has set what the rest is read from.
		s.count(&out)
	default:
	}
	return out
}

func nodeStats(n *router.Node, t *router.Topology) NodeStats {
	st := NodeStats{
		Name: n.Name, Host: n.Host, Port: n.Port, Role: n.Role().String(), Leads: n == t.Primary,
		Eligible: n.Eligible(), Healthy: n.Healthy(), Outstanding: n.Outstanding(),
		SystemID: n.SystemID(), Incarnation: n.Incarnation(), Standing: n.Standing(time.Now()),
	}
	for why, count := range n.Ejections() {
		st.Ejections = append(st.Ejections, EjectionCount{why, count})
	}
	if n.Role() == router.RoleReplica {
		st.Streams = n.Streams()
		st.Paused, st.ApplyDelay = n.ReplayPaused(), n.ApplyDelay()
		st.Watermark, st.LagBytes = n.Watermark(), n.LagBytes()
	}
	return st
}

// count adds up the counters of the loops.
func (s *Server) count(out *Stats) {
	out.Started, out.Clients = s.started, s.group.Clients()
	out.Listen.Listeners = s.group.Listeners()
	reads := make(map[ReadCount]uint64)
	redo := make(map[string]uint64)
	shadow := make(map[ShadowCount]uint64)
	out.Pins = make([]PinCount, sqlclass.PinKinds)
	for i := range out.Pins {
		out.Pins[i].Reason = sqlclass.PinName(i)
	}
	s.group.EachStats(func(c *client.Stats) {
		out.Writes += c.Writes.Load()
		out.Violations += c.Violations.Load()
		out.Listen.Dropped += c.Overheard.Load()
		c.EachRead(func(node string, role router.Role, reason router.Reason, n uint64) {
			reads[ReadCount{Node: cmp.Or(node, "unknown"), Role: role.String(), Reason: reason.String()}] += n
		})
		c.EachShadow(func(role router.Role, reason router.Reason, n uint64) {
			shadow[ShadowCount{Role: role.String(), Reason: reason.String()}] += n
		})
		out.PinChecks += c.PinChecks.Load()
		c.EachPin(func(kind int, total uint64, now int64) {
			out.Pins[kind].Total += total
			out.Pins[kind].Clients += now
		})
		c.EachRedo(func(code string, n uint64) { redo[code] += n })
	})
	for r, n := range reads {
		r.Count = n
		out.Reads = append(out.Reads, r)
	}
	slices.SortFunc(out.Reads, func(a, b ReadCount) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Role, b.Role), cmp.Compare(a.Reason, b.Reason))
	})
	for r, n := range shadow {
		r.Count = n
		out.Shadow = append(out.Shadow, r)
	}
	slices.SortFunc(out.Shadow, func(a, b ShadowCount) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Reason, b.Reason))
	})
	for code, n := range redo {
		out.Redo = append(out.Redo, RedoCount{code, n})
	}
	slices.SortFunc(out.Redo, func(a, b RedoCount) int { return cmp.Compare(a.SQLState, b.SQLState) })
}
