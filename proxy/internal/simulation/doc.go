// Package simulation plays schedules against the router and the session machine:
// what clients say, what servers, disks and networks do, in virtual time and in an
// order that a seed decides. It finds what no test with real servers reaches in
// any bearable time: that two things happen within the same half millisecond.
//
// There is nothing to import here.
//
// # What is real
//
// Package router, whole and with all its goroutines: elections, eras, tickets,
// floors, watermarks, decisions, the budget, fates. Package client's Machine,
// with the classifier and what is known of a server connection (package backend).
//
// # What is modelled
//
//   - Servers (cluster_test.go): the WAL is a list of commits with positions that
//     end with their pages now and then; a primary flushes it, or has not yet; a
//     standby receives what is flushed, replays it by fits and starts, shows a commit
//     before its replay position says so, and before the primary shows it.
//     Transactions have numbers, which begin again behind whatever the WAL has kept.
//     A crash takes what was not flushed and begins another life on the same
//     timeline; a promotion begins another timeline; who has left the line is
//     rebuilt. A server can be frozen, cut off, slow, paused, or a zombie. It has a
//     clock that is wrong, runs wrongly and is set, also between two lives.
//   - Sessions on the servers (conn_test.go): simple queries, transactions, one
//     table of numbered writes. A read answers with the set of all writes that it
//     saw. There is no extended protocol, no LISTEN and no setting: those have a
//     model of their own, in package client.
//   - The event loop and its pools (loop_test.go, pool_test.go): what package
//     reactor does, without sockets and limits. Whether a connection may serve a
//     decision is asked of the same code (backend.State.Serves). The loop may hear
//     of a new topology late.
//   - The prober and the source (probe_test.go): round trips that take time, hang
//     or break; a list of servers, or a manager that names the primary and can fall
//     silent.
//
// # How it is deterministic
//
// Each schedule runs in a bubble of testing/synctest with a clock of its own. One
// goroutine, the driver, does everything but the router's work, one step at a time,
// and goes on only when all goroutines of the router wait for something. These
// act on the world only through calls of the prober, whose latencies are rolled for
// each connection apart, to the nanosecond: no two of them arrive at the same time,
// and none depends on how often others have rolled. The process has one processor
// (TestMain). TestSameSeedSameTrace holds that a seed is a schedule.
//
// # What is checked
//
// Session guarantees by level and scope, linearizability of strong and primary reads
// over acknowledged writes, the bound of bounded ones (judge_test.go); that a write goes
// only to a primary that is proven to lead, on a connection of its era (I6); that it is run
// once (I5), and not at all if the client was told so; that connections are given
// back clean (I4); that each loss of an acknowledged write is told to its writer
// once, to nobody else, and never of a write that is there; that nobody waits for a
// replica that has everything; that all clients come to an end once nothing is
// broken any more, and nothing is left held. That a COMMIT whose answer was lost is
// said to have happened, or not to have, only if that is so (outcome_test.go).
//
// Not held against anyone: what two primaries that are up at once have acknowledged
// to others; a life of the primary that came and went without being seen: what it wrote
// lies where a lost write was, and it may have given a transaction's number out again;
// what the primary hides when a read went there because nobody could say what that is.
//
// # A schedule is data
//
// A plan is a list of events, made of the seed before anything runs, each with its
// time. What makes no sense when its time comes does nothing; so any part of a
// plan is a plan, and a failure is shrunk by leaving events out (shrink_test.go).
//
//	go test ./proxy/internal/simulation -run TestSchedules -simulation.for 10m -v
//	go test ./proxy/internal/simulation -run TestSchedules -simulation.seed 17 -simulation.schedules 1
//	go test -tags pgroute_mutants ./proxy/internal/simulation -run TestMutantsAreFound -v
package simulation
