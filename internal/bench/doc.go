// Command bench measures pgroute beside a direct connection and beside
// PgBouncer, on a real cluster that it starts itself:
//
//	go run ./internal/bench --quick
//
// Every round runs pgbench against one target; the rounds of all targets take
// turns, so that whatever else the machine does meets them alike. Ratios are
// therefore formed round by round, and their median is what counts: absolute
// numbers belong to one machine and one day.
//
// # What is compared
//
//   - direct: pgbench at the primary's own port.
//   - pgroute-session: reads go to two replicas that cover the session's floor.
//   - pgroute-primary: every statement goes to the primary. Classification and
//     metrics are on, as they always are.
//   - pgbouncer: in front of the same primary, with a pool of the same size and
//     transaction pooling. A PgBouncer below 1.21 cannot do prepared statements
//     there; it then runs those in session pooling, and the report says so.
//
// # What it does not do
//
// The clients, the servers and the proxy share one machine and its loopback
// interface. CPU time per transaction is the proxy process's own and carries
// over to other machines; throughput and latency do so much less.
package main
