package router

import (
	"context"
	"errors"
	"slices"
)

// A Witness is a Probe that can tell which transactions a server shows and
// which it hides. The guard between a replica and the primary asks for that: a
// replica shows a commit from the moment it has replayed it, the primary only
// once it is acknowledged. With probes that are none there is no guard.
type Witness interface {
	// Snapshot asks a primary which transactions it hides now.
	Snapshot(ctx context.Context) (Snapshot, error)
	// Early asks a server in recovery which of the transactions that s hides
	// it shows as committed. Transactions that nothing on the server can have
	// shown before the call are left out, the others are all there.
	Early(ctx context.Context, s Snapshot) ([]uint64, error)
}

// A CommitWitness is a Witness that can tell for a primary alone what it may
// hide. With probes that are none it is not known, where no replica can be asked,
// which of the transactions that run may have been seen anywhere. Like those of a
// Witness, its numbers of transactions have the epoch.
type CommitWitness interface {
	// Committing asks a primary for the transactions that may have committed
	// while it does not show that yet. One that had committed when the call
	// began, and is not among them, is shown. next is the Next of a snapshot that
	// was taken before.
	Committing(ctx context.Context, next uint64) ([]PendingCommit, error)
}

// PendingCommit is a transaction that may have committed on a primary that does not show
// it.
type PendingCommit struct {
	// XID is its number. 0 is one of which the number is told elsewhere in the
	// list: a prepared transaction.
	XID uint64
	// Standby: it has committed, and waits for a synchronous standby.
	Standby bool
}

// ErrWitnessRefused is wrapped by the error of a Witness whose server did not
// answer the question but an error. Other than after any other error, the
// connection lives on.
var ErrWitnessRefused = errors.New("the server cannot say what it shows")

// Snapshot is what a primary's snapshot shows and hides. Transactions are
// named by their 64-bit numbers, with the epoch.
type Snapshot struct {
	// Xmin is the lowest transaction that was still running: all below it
	// have ended.
	Xmin uint64
	// Xmax is above every transaction that had ended: it and all above are
	// hidden.
	Xmax uint64
	// Next is not below any transaction that had begun.
	Next uint64
	// Running are the hidden ones below Xmax, in ascending order.
	Running []uint64
}

// Hides reports whether the snapshot does not show the transaction xid.
func (s *Snapshot) Hides(xid uint64) bool {
	if xid >= s.Xmax {
		return true
	}
	_, running := slices.BinarySearch(s.Running, xid)
	return running
}
