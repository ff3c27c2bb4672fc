// Package chaos is the rig that tries to make pgroute break a promise: a real
// cluster of three PostgreSQL servers that Patroni runs on ZooKeeper, three
// proxies in front of it, each on a host of its own (a network namespace), the
// workloads and the checks of package verify, and a nemesis that injects faults
// and heals them.
//
//	go test ./internal/chaos -run TestChaos -timeout 3h -chaos.for 1h -chaos.seed 7 -chaos.mode sync -v
//	go test ./internal/chaos -chaos.ci -v
//
// The second takes three minutes and what the cluster needs to start and to come
// to rest. Without -chaos.for and -chaos.ci the tests that need a cluster are
// skipped.
//
// The nemesis stops and delays replay, kills and restarts replicas, the primary,
// Patroni, ZooKeeper and proxies, cuts the network between two hosts in one
// direction or both, rejects, loses and slows down packets, makes processes
// hang, fills disks, sets the servers' clocks wrong, and switches over.
// It begins with a change of the primary and makes one after each rest of the
// cluster, a planned one every other time: amid other faults Patroni often refuses.
// Its choices come from the seed; what they meet does not, so a seed gives the
// same plan, not the same run.
//
// There are two modes. With sync Patroni runs in its synchronous mode, and no
// acknowledged write may be missing at the end. With async a failover may lose
// some, and those that wrote them must have been told.
//
// At the end everything is healed, all clients must read and write again within
// a bound, and package verify judges. The summary, the report as JSON and a
// picture of the run are in build/chaos.
//
// The summary and the JSON count the faults that came about and those that
// failed, by kind, and name the kinds of which none came about. A run of ten
// minutes or more without some kind of fault fails, and so does one in which most
// attempts of a kind failed; a shorter one fails only if nothing came about.
//
// # What it does not do
//
// It needs root, ip and nft for the network; without them the servers run on
// loopback, no fault of the network or of a disk is injected, and the summary
// says so. Without libfaketime no clock is set. Only PostgreSQL's are: Patroni ends
// under libfaketime, and it has no hold on a program in Go, which asks the kernel
// without the C library; the kernel's time namespaces move the clocks that count
// from the boot, and not the one on the wall.
// The rig cannot lose what PostgreSQL has given to the operating system, and it
// has no latency of the network but what a slow link and lost packets make.
package chaos
