// Package lab starts everything that the booking example needs, on loopback: a
// PostgreSQL cluster, ZooKeeper with its topology, sidecars (pgroute proxy),
// several instances of the booking service and its load balancer. The demo
// shows it, and tests break it.
//
//	l, err := lab.Start(ctx, lab.Options{})
//	if err != nil { … }
//	defer l.Close()
//	fmt.Println(l.URL())
//
// Sidecars, instances and the balancer are processes of their own, so that they
// can be killed. They keep their addresses over a restart.
//
// # Guarantees
//
//   - Only processes that a Lab started are ever signalled, by pid, and Close
//     ends all of them. Start does the same when it fails half way.
//   - Should the caller die without a word, its children die with it (on Linux,
//     the only system that the cluster runs on), and the folder with their logs
//     is removed.
//   - A Ctrl-C in the terminal reaches the caller only.
package lab
