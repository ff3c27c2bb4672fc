package reactor

import (
	"strconv"
	"time"
)

// Limits bound what a process opens. They may change while the loops run; see
// Group.SetLimits.
type Limits struct {
	// MaxServer bounds the backends of the process, MaxNode those of one node,
	// MaxUser those of one user and MaxDatabase those of one database. 0 means
	// no bound.
	MaxServer, MaxNode, MaxUser, MaxDatabase int
	// Pool says what holds for the pools of one user and database. nil means
	// PoolLimits' defaults for all. It is called by any goroutine.
	Pool func(user, database string) PoolLimits
}

// PoolLimits hold for the pools of one user and database, one for each node.
// A negative duration means none.
type PoolLimits struct {
	// Size bounds the backends of a pool over all loops; 0 means 20.
	Size int
	// Reserve is how many more there may be once a client has waited
	// ReserveWait, of which 0 means 5 s.
	Reserve     int
	ReserveWait time.Duration
	// Min is how many are kept open in a pool that was used.
	Min int
	// Queue bounds the clients that wait in a pool of one loop; 0 means no
	// bound.
	Queue int
	// LeaseWait is how long a statement waits for a backend; 0 means 30 s.
	LeaseWait time.Duration
	// Lifetime is after what age a backend is closed when nobody has it; 0
	// means 1 h. Up to a tenth is taken off it, so that those that were opened
	// together are not closed together.
	Lifetime time.Duration
	// IdleTimeout is after how long an unused backend is closed; 0 means
	// 10 min.
	IdleTimeout time.Duration
	// Watch is for what clients do.
	Watch WatchLimits
}

// WatchLimits bound how long clients may do what. 0 or less means no bound.
type WatchLimits struct {
	// Query is for a statement on a backend, IdleTransaction for a client that
	// is in a transaction and says nothing, ClientIdle for one outside of one.
	Query, IdleTransaction, ClientIdle time.Duration
}

func (p *PoolLimits) fill() {
	setDefault(&p.Size, 20)
	setDefault(&p.ReserveWait, 5*time.Second)
	setDefault(&p.LeaseWait, 30*time.Second)
	setDefault(&p.Lifetime, time.Hour)
	setDefault(&p.IdleTimeout, 10*time.Minute)
}

// pool returns what holds for a user and database.
func (x *Limits) pool(k tenantKey) PoolLimits {
	var p PoolLimits
	if x.Pool != nil {
		p = x.Pool(k.user, k.database)
	}
	p.fill()
	return p
}

// Kind says which limit a connection ran into.
type Kind uint8

// The kinds of limits. The first five are what a connection needs a slot of,
// the narrowest first.
const (
	KindPool Kind = iota
	KindUser
	KindDatabase
	KindNode
	KindTotal
	// KindServer: the server took no more connections.
	KindServer
	// KindDial: a connection was being opened.
	KindDial
	// KindQueue: too many clients waited already.
	KindQueue
	kinds
)

var kindNames = [kinds]string{"pool_size", "max_user_connections", "max_db_connections", "max_node_connections",
	"max_server_connections", "server", "dial", "queue_limit"}

// String is the key of the configuration, where there is one.
func (k Kind) String() string { return kindNames[k] }

// explain says what is in the way of a client that waits in p.
func (p *pool) explain(k Kind, max int64) (detail, hint string) {
	n, t := strconv.FormatInt(max, 10), p.tenant.key
	const all = "All connections ("
	switch k {
	case KindPool:
		detail = all + n + ") that pool_size allows to node " + p.node.Name + " for user " + quote(t.user) + " and database " +
			quote(t.database) + " are in use."
	case KindUser:
		detail = all + n + ") that max_user_connections allows user " + quote(t.user) + " are in use."
	case KindDatabase:
		detail = all + n + ") that max_db_connections allows to database " + quote(t.database) + " are in use."
	case KindNode:
		detail = all + n + ") that max_node_connections allows to node " + p.node.Name + " are in use."
	case KindTotal:
		detail = all + n + ") that max_server_connections allows are in use."
	case KindServer:
		return "Node " + p.node.Name + " takes no more connections.",
			"Raise max_connections of the server, or lower max_node_connections below it."
	case KindDial:
		return "A connection to node " + p.node.Name + " was being opened.", "Look whether that server answers, or raise query_wait_timeout."
	}
	return detail, "Raise " + k.String() + ", or look in SHOW CLIENTS for clients that are pinned or in long transactions."
}

func quote(s string) string { return `"` + s + `"` }
