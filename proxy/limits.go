package proxy

import (
	"errors"
	"fmt"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/reactor"
)

// Limits bound what a Server opens. 0 means no bound; negative is an error.
type Limits struct {
	// MaxServerConnections bounds the connections to servers, without those of
	// the monitor and of replication clients; MaxNodeConnections those to one
	// server, MaxUserConnections those of one user and MaxDatabaseConnections
	// those to one database.
	MaxServerConnections, MaxNodeConnections, MaxUserConnections, MaxDatabaseConnections int
	// MaxClients bounds the clients. 0 means as many as three quarters of the
	// process's file descriptors allow. MaxUserClients bounds those of one user
	// and MaxDatabaseClients those of one database.
	MaxClients, MaxUserClients, MaxDatabaseClients int
}

// PoolLimits hold for the pools of one user and database, of which there is one
// for each node. What is zero is the default, and in a Rule that of the
// Config; negative means none.
type PoolLimits struct {
	// ReserveSize is how many connections more than PoolSize there may be once
	// a client has waited ReserveTimeout: none, and 5 s.
	ReserveSize    int
	ReserveTimeout time.Duration
	// MinSize is how many connections are kept open in a pool that was used:
	// none.
	MinSize int
	// QueueLimit bounds the clients that wait for a connection of one pool. By
	// default there is no bound but that of the clients.
	QueueLimit int
	// Lifetime is the age at which a connection is closed when it is given
	// back, or idle: 1 h.
	Lifetime time.Duration
	// IdleTimeout is after how long an unused connection is closed: 10 min.
	IdleTimeout time.Duration
	// QueryTimeout is how long a statement may run on a server before it is
	// cancelled: for ever.
	QueryTimeout time.Duration
	// IdleTransactionTimeout is how long a client may do nothing in a
	// transaction before it is ended: for ever.
	IdleTransactionTimeout time.Duration
	// ClientIdleTimeout is how long a client may do nothing outside of a
	// transaction before it is ended: for ever.
	ClientIdleTimeout time.Duration
}

// inherit replaces what is zero.
func (p *PoolLimits) inherit(d *PoolLimits) {
	for _, n := range [][2]*int{{&p.ReserveSize, &d.ReserveSize}, {&p.MinSize, &d.MinSize}, {&p.QueueLimit, &d.QueueLimit}} {
		if *n[0] == 0 {
			*n[0] = *n[1]
		}
	}
	for _, n := range [][2]*time.Duration{
		{&p.ReserveTimeout, &d.ReserveTimeout}, {&p.Lifetime, &d.Lifetime}, {&p.IdleTimeout, &d.IdleTimeout},
		{&p.QueryTimeout, &d.QueryTimeout}, {&p.IdleTransactionTimeout, &d.IdleTransactionTimeout},
		{&p.ClientIdleTimeout, &d.ClientIdleTimeout},
	} {
		if *n[0] == 0 {
			*n[0] = *n[1]
		}
	}
}

func (x *Limits) validate() error {
	for _, n := range []int{x.MaxServerConnections, x.MaxNodeConnections, x.MaxUserConnections, x.MaxDatabaseConnections,
		x.MaxClients, x.MaxUserClients, x.MaxDatabaseClients} {
		if n < 0 {
			return errors.New("proxy: a limit of connections is negative")
		}
	}
	return nil
}

// checkPool checks that what is kept open in a pool is allowed there.
func checkPool(size, least int, of string) error {
	if size == 0 {
		size = defaultPoolSize
	}
	if least > size {
		return fmt.Errorf("proxy: min_pool_size %d is more than pool_size %d%s", least, size, of)
	}
	return nil
}

// pool returns what holds for a user and database.
func (c *Config) pool(user, database string) (size int, wait time.Duration, p *PoolLimits) {
	if r := c.rule(user, database); r != nil {
		return r.PoolSize, r.LeaseWait, &r.PoolLimits
	}
	return c.PoolSize, c.LeaseWait, &c.PoolLimits
}

// limits makes the loops' limits of a validated Config, which is not changed
// any more.
func (c *Config) limits() reactor.Limits {
	return reactor.Limits{
		MaxServer: c.MaxServerConnections, MaxNode: c.MaxNodeConnections,
		MaxUser: c.MaxUserConnections, MaxDatabase: c.MaxDatabaseConnections,
		Pool: func(user, database string) reactor.PoolLimits {
			size, wait, p := c.pool(user, database)
			return reactor.PoolLimits{
				Size: size, Reserve: max(p.ReserveSize, 0), ReserveWait: p.ReserveTimeout, Min: max(p.MinSize, 0),
				Queue: max(p.QueueLimit, 0), LeaseWait: wait, Lifetime: p.Lifetime, IdleTimeout: p.IdleTimeout,
				Watch: reactor.WatchLimits{Query: p.QueryTimeout, IdleTransaction: p.IdleTransactionTimeout, ClientIdle: p.ClientIdleTimeout},
			}
		},
	}
}
