// Package zookeeper takes the topology from ZooKeeper. Source reads pgroute's
// own layout and implements router.Source; Registry writes it.
//
//	PATH/nodes/NAME   JSON: host, port, optional weight, zone and tags
//	PATH/primary      the name of the node that may take writes, plain text;
//	                  absent or empty: nobody may
//
// # What it guarantees
//
// A Source publishes what ZooKeeper says within milliseconds of a change. It
// outlives lost connections, expired sessions and a ZooKeeper that is away for
// days: meanwhile the last published value stands, and its Confirmed grows
// old. Confirmed is the moment before a Sync with ZooKeeper's leader, so that
// it proves what the quorum said then, not what one member still remembered.
//
// What is wrong with one node never harms the others: a node whose data is
// malformed keeps its last good state, and is left out if it never had one.
//
// # What it does not do
//
// It creates nothing (Registry does) and believes nothing: the servers that it
// names have to prove their roles (I6). An expired session or a missing node
// says nothing about the database server itself.
package zookeeper
