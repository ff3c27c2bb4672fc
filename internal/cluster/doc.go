// Package cluster runs real PostgreSQL clusters and real ZooKeeper servers on
// loopback, for tests, for the demo and for the benchmark. A primary with two
// replicas is up in about half a second.
//
//	c, err := cluster.New(ctx, cluster.Options{Replicas: 2})
//	if err != nil { … }
//	defer c.Close()
//	conn, err := pgx.Connect(ctx, c.Primary().DSN("app", "app-secret", "app"))
//
// In a test, Start does the same, closes the cluster at the end, and shows the
// servers' logs when the test failed. NewPatroni and StartPatroni start a
// cluster that Patroni runs on ZooKeeper, in some 10 s.
//
// # Guarantees
//
//   - Every process is one that this package started; only those are ever
//     signalled, by pid. Servers refuse to run as root, so a caller that is
//     root gets servers that run as the user postgres.
//   - All files are in one temporary folder, which Close removes. A watchdog
//     does both (ends the servers, removes the folder) when the caller dies
//     without a word, by SIGKILL too.
//   - Clusters of one process and of several may be started at the same time.
//
// # What it does not do
//
// The servers are not safe: they do not sync their files to disk unless asked
// (Options.Durable), and their passwords are in this source. It runs on Linux
// only; elsewhere it compiles, and New returns an error.
package cluster
