package rig

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/pgroute/pgroute/router"
)

// pairs is how many writes are each followed by a read at once.
const pairs = 20

// A Store is what an example does with its bookings, in whatever way its
// library does that.
type Store struct {
	// Add stores a booking and returns its number.
	Add func(ctx context.Context, customer string) (int64, error)
	// Find returns the booking's customer, empty if there is no such booking.
	Find func(ctx context.Context, id int64) (string, error)
	// Count counts the bookings in a read-only transaction.
	Count func(ctx context.Context) (int64, error)
	// Rename changes the customer in a read-write transaction that looks at
	// the booking first.
	Rename func(ctx context.Context, id int64, customer string) error
}

// Check holds back both replicas, and proves that a Store reads what it wrote
// all the same, that replicas serve its reads and read-only transactions, and
// that the same reads at the level eventual are stale, so that the proof is
// one.
func Check(t *testing.T, w *Way, open func(t *testing.T, w *Way) Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	s := open(t, w)
	w.AwaitReplicas(ctx, t, func() error {
		_, err := s.Find(ctx, 0)
		return err
	})
	w.Slow(t)
	before := w.ReplicaReads()
	for i := range pairs {
		id := add(ctx, t, s, fmt.Sprintf("customer %d", i))
		find(ctx, t, s, id, fmt.Sprintf("customer %d", i))
	}
	if w.ReplicaReads() == before {
		t.Errorf("none of %d reads ran on a replica", pairs)
	}

	id := add(ctx, t, s, "Ada")
	onPrimary := w.ReplicaReads()
	if err := s.Rename(ctx, id, "Grace"); err != nil {
		t.Fatalf("rename: %v", err)
	}
	if n := w.ReplicaReads() - onPrimary; n != 0 {
		t.Errorf("%d statements of a read-write transaction ran on a replica", n)
	}
	find(ctx, t, s, id, "Grace")

	onReplica := w.ReplicaReads()
	n, err := s.Count(ctx)
	if err != nil {
		t.Fatalf("count: %v", err)
	}
	if n != pairs+1 {
		t.Errorf("a read-only transaction sees %d bookings of %d", n, pairs+1)
	}
	if w.ReplicaReads() == onReplica {
		t.Error("no statement of a read-only transaction ran on a replica")
	}
	expectStale(ctx, t, open(t, w.At(router.LevelEventual)))
}

// expectStale writes and reads until a read is stale.
func expectStale(ctx context.Context, t *testing.T, s Store) {
	t.Helper()
	for range 100 {
		id := add(ctx, t, s, "Emmy")
		if customer, err := s.Find(ctx, id); err != nil {
			t.Fatalf("find at eventual: %v", err)
		} else if customer == "" {
			return
		}
	}
	t.Error("replicas that are held back show everything at once, even at eventual: this test proves nothing")
}

func add(ctx context.Context, t *testing.T, s Store, customer string) int64 {
	t.Helper()
	id, err := s.Add(ctx, customer)
	if err != nil {
		t.Fatalf("add: %v", err)
	}
	return id
}

func find(ctx context.Context, t *testing.T, s Store, id int64, want string) {
	t.Helper()
	got, err := s.Find(ctx, id)
	if err != nil {
		t.Fatalf("find: %v", err)
	}
	if got != want {
		t.Errorf("booking %d shows %q, %q was written", id, got, want)
	}
}
