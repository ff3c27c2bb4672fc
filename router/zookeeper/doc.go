// Package zookeeper takes the topology from ZooKeeper: from pgroute's own
// layout (New), or from the tree that Patroni keeps there (NewPatroni). Both
// give a Source, which implements router.Source.
//
// # Our own layout
//
//	PATH/nodes/NAME   JSON: host, port, optional weight, zone and tags
//	PATH/primary      the name of the node that may take writes, plain text;
//	                  absent or empty: nobody may
//	PATH/claim        JSON: who last claimed to be the primary, on which
//	                  timeline; only where servers publish it themselves
//	PATH/switchover   optional JSON: leader, candidate, at; a change of the
//	                  primary that is announced
//	PATH/config       the configuration that the proxies share, YAML
//	PATH/proxies/ID   JSON: what a running proxy is, ephemeral
//
// Registry writes it once, Registrar keeps ephemeral znodes for as long as it
// runs, and WatchConfig follows the configuration. Who writes PATH/primary is
// for the operator to choose: by hand or by a failover manager with
// Registry.SetPrimary, or by the servers' agents with Registry.ClaimPrimary,
// which never takes the name from a registered node, and never gives it to a
// server on a lower timeline than was claimed before.
//
// PATH/switchover announces a planned change of the primary, as Patroni's key
// failover does: {"leader": "pg1", "candidate": "pg2", "at": "2026-01-02T15:04:05Z"},
// of which candidate and at (RFC 3339; without it at once) may be missing. It
// becomes router.Switchover: new work for the leader waits for a while, and what
// runs has that time to end. It is over when the znode goes, when PATH/primary
// names another node, and with whatever else is written to PATH/primary after it,
// so that one which is left there holds nobody back when the same node leads
// again. Nobody but the operator writes it; one that makes no sense is told once,
// and what was known of it stands.
//
// # Patroni
//
//	/NAMESPACE/SCOPE/leader      who may take writes
//	/NAMESPACE/SCOPE/members/*   where the servers are, their states and tags
//	/NAMESPACE/SCOPE/initialize  the system identifier
//	/NAMESPACE/SCOPE/config      pause, failsafe and synchronous mode, standby cluster
//	/NAMESPACE/SCOPE/sync, failover, history
//
// All versions from Governor on are read. Of tags, noloadbalance and nostream
// keep reads away, zone and weight are the node's, and the others become
// Candidate.Tags. A change of tags is taken over while the node lives; only
// another name or address makes it another node for the router. A member that is
// not running serves no reads. The
// keys status, optime/leader and failsafe are not read, and no position that a
// member tells is believed: it is what was received, not what was replayed.
//
// A leader of a standby cluster takes no writes, and so nobody does. A history
// that has become shorter, a key that makes no sense or that ZooKeeper refuses
// to show, is told once, and what was known of it stands; only a leader that
// makes no sense is nobody.
//
// # What it guarantees
//
// A Source publishes what ZooKeeper says of the primary within milliseconds of
// a change, and of nodes within a fifth of a second: Patroni rewrites its
// members all the time, and however often that is, they are read at most five
// times a second, and only those that changed. It outlives lost connections,
// expired sessions and a ZooKeeper that is away for days: meanwhile the last
// published value stands, and its Confirmed grows old. Confirmed is the moment
// before a Sync with ZooKeeper's leader, so that it proves what the quorum said
// then, not what one member still remembered; who leads is read again for
// each.
//
// What is wrong with one node never harms the others: a node whose data is
// malformed, or that ZooKeeper refuses to show, keeps its last good state, and
// is left out if it never had one.
//
// After ZooKeeper's return everybody's session may have expired, and with it
// what agents and Patroni keep there. For two session timeouts nodes that have
// gone with their sessions stay listed, and if Patroni is in failsafe mode and
// the leader's key has gone nothing is published, rather than that nobody leads.
//
// # What it does not do
//
// A Source creates nothing and believes nothing: the servers that it names have
// to prove their roles (I6). An expired session or a missing node says nothing
// about the database server itself.
//
// It does not use ZooKeepers that have lost their quorum and serve as
// read-only: their word proves nothing. SASL is not spoken.
package zookeeper
