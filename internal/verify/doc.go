// Package verify runs workloads against a cluster, through one or several
// connection strings, and checks what was answered.
//
// Clients write and read registers, append to lists, transfer money and book
// seats, each read at one of the levels of consistency. Every operation is
// recorded with its times, its outcome and what it saw. At the end the surviving
// data is read back from the primary, and the history is checked:
//
//   - registers and lists are linearizable, for the writes with the reads at
//     strong, and for the writes with the reads at primary (package porcupine);
//   - reads at session, strong and primary keep the session guarantees: they
//     show the session's writes (of the connection, of all connections through
//     the same proxy, and of whoever gave a token), never go back, and whoever
//     sees a write sees what its writer had seen and written before;
//   - reads at bounded are not staler than the bound;
//   - no acknowledged write is missing, no failed one is there, no value comes
//     from nowhere, no two writes took the same place (a lost update, a seat that
//     was sold twice), and every snapshot of the bank has the same sum;
//   - who is told that a write is lost (PR002) has lost one, and where
//     asynchronous failovers may lose writes, each that is missing was told to
//     its writer.
//
// What survives is the history that the cluster is on at the end. Where writes may
// be lost, the cluster may have left that history for another one and come back to
// it. Such a detour is known by a version that was made twice. What writers were
// told and reads did not show in it is not judged by what came back, and is
// counted apart (Report.Detours).
//
// Writes whose outcome is unknown may have happened at any later time, or never.
// Their clients reconnect and go on as new processes.
//
// The checks see what the operations show. They do not prove that a guarantee
// holds in general, and a run without replicas or without faults finds little:
// the report says where reads ran.
//
//	report, err := verify.Run(ctx, verify.Options{
//		Targets: []verify.Target{{Name: "a", DSN: dsnA}, {Name: "b", DSN: dsnB}},
//		For:     30 * time.Second,
//	})
package verify
