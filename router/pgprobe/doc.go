// Package pgprobe asks PostgreSQL servers for what the router must know about
// them: role, timeline and its history, system identifier, incarnation, and
// positions in the write-ahead log. It implements router.Prober with pgconn.
//
// # What it guarantees
//
// The hot calls, Replay and Insert, are FunctionCall messages (the fast path
// of libpq): one write, one round trip, no SQL, no snapshot of their own
// making, no trace in pg_stat_statements, and nothing that a search_path could
// redirect. Every other statement names its functions with their schema and
// runs under settings that are sent in the startup packet, where they outrank
// whatever ALTER ROLE, ALTER DATABASE or the server's file say.
//
// A probe lives exactly as long as one server process. After any error it is
// dead, so that no reading survives a restart of the server behind it.
//
// # What it does not do
//
// It does not judge. Whether a server is in the right cluster, on the right
// timeline or far enough is the router's decision. It does not normalise
// insert positions either (see package lsn).
//
// # The monitor's role
//
// The role needs no superuser. It must be a member of pg_monitor, and in the
// database of the DSN it may call two functions that run with the rights of a
// superuser (SECURITY DEFINER):
//
//   - pgroute.verifier(text) returns the password verifier of a role that may
//     log in and whose password has not expired, else NULL;
//   - pgroute.timeline_history(integer) returns the text of a timeline's
//     history file, NULL if there is none. Without it a primary that was ever
//     promoted has BeginKnown false.
//
// A superuser needs neither.
//
// PostgreSQL 13 and newer are supported.
package pgprobe
