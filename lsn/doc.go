// Package lsn knows positions in PostgreSQL's write-ahead log, and when two of
// them may be compared.
//
// A client that has written something may read from a replica as soon as the
// replica has replayed the write. The package holds what that takes:
//
//   - LSN is a byte position in the WAL, as PostgreSQL prints it. It is only a
//     number.
//   - Position is an LSN together with the history it belongs to: after a
//     failover or a crash the same LSNs are used again for something else.
//   - History knows the timelines and restarts that led to the present, and
//     its method Covers answers whether a node has what a position stands for:
//     yes, not yet, never (it is lost), or unknown.
//   - A token is a Position in text, for handing it from one session to another.
//   - Watermark is how far a node is known to have replayed, and who waits for
//     it to come further.
//
// Covers answers CoverageYes only where LSNs can be compared. A Watermark never
// falls while its connection lives, its Load and an Advance that wakes nobody
// neither lock nor allocate, and each of its waiters is woken exactly once or
// cancelled. Parsers accept what PostgreSQL or this package writes and nothing
// else.
//
// The package does no input or output and knows no SQL: where positions come
// from, and whether the server that reported one may be believed, is its
// caller's business. Tokens are not signed. It imports the standard library
// only.
//
//	history, err := lsn.NewHistory(systemID, nil, 1, 0, incarnation)
//	...
//	floor := history.At(lsn.NormalizeInsert(insert, blockSize)) // after a write, on the primary
//	...
//	if history.Covers(watermark.Load(), floor) == lsn.CoverageYes {
//		// The replica may serve a read that must see the write.
//	}
package lsn
