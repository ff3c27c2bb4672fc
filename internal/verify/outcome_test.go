package verify_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/verify"
)

// closedError is what pgconn returns for a connection that is closed: before a
// statement is sent, and also when the answer of one that was sent is to be
// read.
type closedError struct{}

func (closedError) Error() string     { return "conn closed" }
func (closedError) SafeToRetry() bool { return true }
func (closedError) Unwrap() error     { return pgconn.ErrConnClosed }

// unsentError is that of a statement that never left.
type unsentError struct{ closedError }

func (unsentError) Unwrap() error { return nil }

func TestClosedConnectionLeavesTheOutcomeOpen(t *testing.T) {
	if got := verify.OutcomeOf(fmt.Errorf("append: %w", closedError{})); got != verify.Unknown {
		t.Errorf("a closed connection: %s", got)
	}
	if got := verify.OutcomeOf(unsentError{}); got != verify.Failed {
		t.Errorf("what never left: %s", got)
	}
}
