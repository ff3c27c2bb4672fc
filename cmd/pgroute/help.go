package main

import (
	"fmt"
	"io"
)

// printKeys prints the flags of all keys.
func printKeys(w io.Writer) {
	fmt.Fprint(w, "Flags, each also a key of the file with _ for -:\n")
	for _, k := range keys() {
		printKey(w, &k)
	}
}

// printKey prints the flag of a key.
func printKey(w io.Writer, k *key) {
	fmt.Fprintf(w, "  --%s %s\n        %s", k.flag(), k.value, k.help)
	if k.def != "" {
		fmt.Fprintf(w, " (default %s)", k.def)
	}
	fmt.Fprintln(w)
}

func printConfigFlag(w io.Writer) {
	fmt.Fprint(w, "  --config FILE\n        a YAML file with the same words; flags outrank it\n")
}

func printProxyHelp(w io.Writer) {
	fmt.Fprint(w, `pgroute proxy serves clients. It prints "pgroute: ready on ADDR" once it can.

  pgroute proxy --node db1:5432 --node db2:5432 --monitor 'postgres://pgroute_monitor:…@/postgres'
  pgroute proxy --config pgroute.yaml

SIGHUP reads the file and the certificates again, and takes over consistency,
scope, wait, on_timeout, max_staleness, transaction_reads, shadow, lost_writes,
rules, log_level, peer, zone, slow_start, all keys of TLS,
and all keys of pools, limits and timeouts, from pool_size to client_idle_timeout.
Whoever is connected stays. SIGTERM ends it after a drain.

With --path, the znode PATH/config holds a file for all proxies, which the file
and the flags outrank. A change of it is taken over like one of the file; a text
that makes no sense is refused and logged, and the last good one stays. The keys
of ZooKeeper, node and peer_id cannot be in it. Every proxy that serves is in
PATH/proxies.

`)
	printKeys(w)
	printConfigFlag(w)
	fmt.Fprint(w, `
Only in the file:
  rules:
        a list of {user, database, consistency, scope, wait, on_timeout,
        max_staleness, transaction_reads, shadow, lost_writes, and pool_size,
        min_pool_size, reserve_pool_size, reserve_pool_timeout, queue_limit,
        query_wait_timeout, server_lifetime, server_idle_timeout, query_timeout,
        idle_transaction_timeout, client_idle_timeout}; the first that fits a
        client counts
`)
}
