package main

import (
	"fmt"
	"time"

	"github.com/pgroute/pgroute/proxy"
)

// poolKeys are the words that bound connections and what clients do. All of
// them are taken over by a reload.
func poolKeys() []key {
	// count is a key for a number of which 0 means none.
	count := func(name, help string, policy bool, field func(*settings) *int) key {
		return key{name: name, value: "N", def: "0", policy: policy, live: true, help: help,
			set: func(s *settings, v string) (err error) {
				*field(s), err = parseCount(v, 0)
				if policy && *field(s) == 0 {
					*field(s) = -1 // proxy.PoolLimits: 0 is the default
				}
				return err
			}}
	}
	// duration is a key for a duration of which 0 means never.
	duration := func(name, def, help string, field func(*settings) *time.Duration) key {
		return key{name: name, value: "DURATION", def: def, policy: true, live: true, help: help,
			set: func(s *settings, v string) (err error) {
				*field(s), err = parseDuration(v)
				if *field(s) == 0 {
					*field(s) = -1
				}
				return err
			}}
	}
	return []key{
		{name: "pool_size", value: "N", def: "20", policy: true, help: "server connections for each node, user and database",
			set: func(s *settings, v string) (err error) { s.poolSize, err = parseCount(v, 1); return err }},
		count("min_pool_size", "connections that are kept open for each node, user and database once they were used", true,
			func(s *settings) *int { return &s.pool.MinSize }),
		count("reserve_pool_size", "connections beyond pool_size, opened once a client has waited reserve_pool_timeout", true,
			func(s *settings) *int { return &s.pool.ReserveSize }),
		{name: "reserve_pool_timeout", value: "DURATION", def: "5s", policy: true, help: "how long a client waits until the reserve is used",
			set: func(s *settings, v string) (err error) {
				if s.pool.ReserveTimeout, err = parseDuration(v); err == nil && s.pool.ReserveTimeout == 0 {
					err = fmt.Errorf("%q: raise pool_size to have the connections at once", v)
				}
				return err
			}},
		count("max_server_connections", "server connections in all; 0 for no bound", false,
			func(s *settings) *int { return &s.limits.MaxServerConnections }),
		count("max_node_connections", "connections to each server; keep it below its max_connections; 0 for no bound", false,
			func(s *settings) *int { return &s.limits.MaxNodeConnections }),
		count("max_db_connections", "server connections for each database, of all users and nodes; 0 for no bound", false,
			func(s *settings) *int { return &s.limits.MaxDatabaseConnections }),
		count("max_user_connections", "server connections for each user, of all databases and nodes; 0 for no bound", false,
			func(s *settings) *int { return &s.limits.MaxUserConnections }),
		count("max_client_conn", "clients in all; 0 for what three quarters of the file descriptors allow", false,
			func(s *settings) *int { return &s.limits.MaxClients }),
		count("max_db_client_conn", "clients of each database; 0 for no bound", false,
			func(s *settings) *int { return &s.limits.MaxDatabaseClients }),
		count("max_user_client_conn", "clients of each user; 0 for no bound", false,
			func(s *settings) *int { return &s.limits.MaxUserClients }),
		duration("query_wait_timeout", "30s", "how long a statement waits for a server connection; 0 for as long as it takes",
			func(s *settings) *time.Duration { return &s.leaseWait }),
		count("queue_limit", "clients that may wait for a connection of one pool, others are refused at once; 0 for no bound", true,
			func(s *settings) *int { return &s.pool.QueueLimit }),
		duration("server_lifetime", "1h", "the age at which a server connection is closed once nobody has it; 0 for never",
			func(s *settings) *time.Duration { return &s.pool.Lifetime }),
		duration("server_idle_timeout", "10m", "after how long an unused server connection is closed; 0 for never",
			func(s *settings) *time.Duration { return &s.pool.IdleTimeout }),
		duration("query_timeout", "0", "how long a statement may run on a server before it is cancelled; 0 for ever",
			func(s *settings) *time.Duration { return &s.pool.QueryTimeout }),
		duration("idle_transaction_timeout", "0", "how long a client may do nothing in a transaction before it is ended; 0 for ever",
			func(s *settings) *time.Duration { return &s.pool.IdleTransactionTimeout }),
		duration("client_idle_timeout", "0", "how long a client may do nothing outside of a transaction before it is ended; 0 for ever",
			func(s *settings) *time.Duration { return &s.pool.ClientIdleTimeout }),
	}
}

// checkPools checks what only the combination of values can have wrong.
func (s *settings) checkPools() error {
	if s.pool.MinSize > s.poolSize {
		return fmt.Errorf("min_pool_size %d is more than pool_size %d", s.pool.MinSize, s.poolSize)
	}
	return nil
}

// rule makes a rule of what its values have made of the settings.
func (s *settings) rule(user, database string) proxy.Rule {
	return proxy.Rule{User: user, Database: database, Policy: s.policy, PoolSize: s.poolSize, LeaseWait: s.leaseWait, PoolLimits: s.pool}
}
