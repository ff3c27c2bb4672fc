package verify

import (
	"fmt"
	"strings"
	"time"
)

// Outcome is how an operation ended.
type Outcome string

// The outcomes.
const (
	// OK: it was answered. A write is acknowledged.
	OK Outcome = "ok"
	// Failed: it did not happen.
	Failed Outcome = "fail"
	// Unknown: it may have happened, may happen yet, or never does.
	Unknown Outcome = "unknown"
)

// The kinds of operations.
const (
	KindRead     = "read"
	KindWrite    = "write"
	KindCAS      = "cas"
	KindAppend   = "append"
	KindTransfer = "transfer"
	KindBook     = "book"
	// KindConnect begins a process.
	KindConnect = "connect"
	// KindGive asks for a token, KindTake sets one that somebody gave.
	KindGive = "give"
	KindTake = "take"
	// KindFinal is the last statement of a process at the end of the run.
	KindFinal = "final"
)

// Version is one state of one key. Versions of a key count from 1; version 0 is
// the key before its first write.
type Version struct {
	Key   string `json:"key"`
	N     int    `json:"n"`
	Value string `json:"value,omitempty"`
}

// Op is one operation of a client.
type Op struct {
	// Client is the client's number, from 0; Process the number of its
	// connection, unique in the run. Operations of a process do not overlap.
	Client  int `json:"client"`
	Process int `json:"process"`
	// Target is the name of what the connection goes to.
	Target   string `json:"target"`
	Workload string `json:"workload,omitempty"`
	// Level is what a read asked for; writes have none.
	Level string `json:"level,omitempty"`
	// Scope is that of the process: application or connection.
	Scope string `json:"scope,omitempty"`
	// Reader: the process writes nothing.
	Reader bool   `json:"reader,omitempty"`
	Kind   string `json:"kind"`
	Key    string `json:"key,omitempty"`
	// Start and End count from the beginning of the run, by the monotonic clock.
	Start time.Duration `json:"start"`
	End   time.Duration `json:"end"`
	// Node, Role and Reason are those of SHOW pgroute.last_route, empty where
	// they are not known. For a server without pgroute, Node is the target and
	// Role what the server said of itself when it was connected to.
	Node   string `json:"node,omitempty"`
	Role   string `json:"role,omitempty"`
	Reason string `json:"reason,omitempty"`

	Outcome  Outcome `json:"outcome"`
	SQLState string  `json:"sqlstate,omitempty"`
	Err      string  `json:"error,omitempty"`

	// Undone: it failed because the answer to its COMMIT was lost and the
	// transaction is known to be rolled back. A replica may have shown it before.
	Undone bool `json:"undone,omitempty"`

	// Value is what the operation wrote or would have written, unique in the
	// run; Old is what a compare-and-set wanted to find.
	Value string `json:"value,omitempty"`
	Old   string `json:"old,omitempty"`
	// Wrote are the versions that an acknowledged write made.
	Wrote []Version `json:"wrote,omitempty"`
	// Saw are the versions that an operation was shown.
	Saw []Version `json:"saw,omitempty"`
	// Refused: a compare-and-set found another value, or a seat was taken.
	Refused bool `json:"refused,omitempty"`
	// Told are the SQLSTATEs PR002 and PR003 that came with it.
	Told []string `json:"told,omitempty"`

	// list is what a read of a list was shown, balances what a read of the bank
	// was, by account.
	list     []string
	balances []int64
	// amount is what a transfer moved, from the first of Wrote to the second.
	amount int64
	// token is what was given or taken.
	token *token
}

// write reports whether the operation was to change something.
func (op *Op) write() bool {
	switch op.Kind {
	case KindWrite, KindCAS, KindAppend, KindTransfer, KindBook:
		return true
	}
	return false
}

// String is one line of a trace.
func (op Op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%12.6fs – %12.6fs  client %d (connection %d, %s)  %s", op.Start.Seconds(), op.End.Seconds(), op.Client, op.Process, op.Target, op.Kind)
	if op.Key != "" {
		b.WriteString(" " + op.Key)
	}
	if op.Level != "" {
		b.WriteString(" at " + op.Level)
	}
	if op.Kind == KindCAS {
		fmt.Fprintf(&b, " %q to", op.Old)
	}
	if op.Value != "" {
		fmt.Fprintf(&b, " %s", op.Value)
	}
	switch {
	case op.Outcome != OK:
		fmt.Fprintf(&b, ": %s", op.Outcome)
		if op.Err != "" {
			fmt.Fprintf(&b, " (%s)", op.Err)
		}
	case op.Refused:
		b.WriteString(": refused")
	default:
		b.WriteString(": ok")
	}
	for _, v := range op.Wrote {
		fmt.Fprintf(&b, ", made %s", v)
	}
	for i, v := range op.Saw {
		if i == 8 {
			fmt.Fprintf(&b, ", … (%d in all)", len(op.Saw))
			break
		}
		fmt.Fprintf(&b, ", saw %s", v)
	}
	if op.Node != "" {
		fmt.Fprintf(&b, "; on %s (%s", op.Node, op.Role)
		if op.Reason != "" {
			b.WriteString(", " + op.Reason)
		}
		b.WriteString(")")
	}
	for _, code := range op.Told {
		b.WriteString("; told " + code)
	}
	return b.String()
}

// String names the version.
func (v Version) String() string {
	if v.N == 0 {
		return v.Key + " before any write"
	}
	if v.Value == "" {
		return fmt.Sprintf("%s version %d", v.Key, v.N)
	}
	return fmt.Sprintf("%s version %d (%s)", v.Key, v.N, v.Value)
}
