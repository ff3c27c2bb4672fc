package verify

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// The kinds of findings.
const (
	// NotLinearizable: no order of the operations on a key explains the answers.
	NotLinearizable = "not linearizable"
	// OwnWriteMissing: a read did not show a write of its session.
	OwnWriteMissing = "read your writes"
	// WentBack: a read showed less than its connection had seen.
	WentBack = "monotonic reads"
	// WritesReordered: a session's writes took effect in another order.
	WritesReordered = "monotonic writes"
	// CauseMissing: a read showed a write, and a later one not what its writer
	// had seen or written before.
	CauseMissing = "writes follow reads"
	// TooStale: a read at bounded missed what is older than the bound.
	TooStale = "stale beyond the bound"
	// StaleStrong: a read at strong or primary missed what was acknowledged
	// before it began.
	StaleStrong = "stale read"
	// LostUpdate: two acknowledged writes made the same version.
	LostUpdate = "lost update"
	// DoubleBooking: a seat was sold twice.
	DoubleBooking = "double booking"
	// MoneyChanged: the accounts of one snapshot do not have the sum.
	MoneyChanged = "money made or lost"
	// WriteMissing: an acknowledged write is gone, and its writer was not told.
	WriteMissing = "acknowledged write is missing"
	// WrongLost: PR002 for a write that is there.
	WrongLost = "PR002 for a write that is there"
	// ToldWithoutWrite: PR002 or PR003 to who has written nothing.
	ToldWithoutWrite = "told of a loss without a write"
	// FailedWriteThere: a write that failed took effect.
	FailedWriteThere = "failed write took effect"
	// OddValue: a value was shown that nobody wrote, or in another order.
	OddValue = "value from nowhere"
)

// Finding is a broken promise.
type Finding struct {
	Kind     string `json:"kind"`
	Workload string `json:"workload,omitempty"`
	Level    string `json:"level,omitempty"`
	Key      string `json:"key,omitempty"`
	// What says in a sentence what is wrong.
	What string `json:"what"`
	// Ops are the operations concerned, in the order of their times.
	Ops []Op `json:"ops,omitempty"`
}

// Count is how many operations of one sort there were.
type Count struct {
	Workload string  `json:"workload"`
	Kind     string  `json:"kind"`
	Level    string  `json:"level,omitempty"`
	OK       int     `json:"ok"`
	Failed   int     `json:"failed"`
	Unknown  int     `json:"unknown"`
	Latency  Latency `json:"latency"`
}

// Latency is how long the answered operations of one sort took.
type Latency struct {
	P50 time.Duration `json:"p50"`
	P95 time.Duration `json:"p95"`
	P99 time.Duration `json:"p99"`
	Max time.Duration `json:"max"`
}

// Errors is how often one SQLSTATE came, and what came with it first.
type Errors struct {
	Count   int    `json:"count"`
	Example string `json:"example"`
}

// Pause is a time without an answer.
type Pause struct {
	From   time.Duration `json:"from"`
	Length time.Duration `json:"length"`
}

// Route is how many reads ran where, and why.
type Route struct {
	Level  string `json:"level"`
	Node   string `json:"node"`
	Role   string `json:"role"`
	Reason string `json:"reason,omitempty"`
	Reads  int    `json:"reads"`
}

// Losses is what became of acknowledged writes that are not there at the end.
type Losses struct {
	// Lost is how many are missing.
	Lost int `json:"lost"`
	// Told and MaybeTold are those of them whose writers got PR002 and PR003.
	Told      int `json:"told"`
	MaybeTold int `json:"maybe_told"`
	// Gone are those whose connections had ended before they could be told.
	Gone int `json:"gone"`
	// Warnings and MaybeWarnings count every PR002 and PR003.
	Warnings      int `json:"warnings"`
	MaybeWarnings int `json:"maybe_warnings"`
	// Needless is how many PR003 came for a write that is there.
	Needless int `json:"needless"`
}

// Check is what one check looked at.
type Check struct {
	Name string `json:"name"`
	// Looked is how many reads, keys or writes it judged.
	Looked int `json:"looked"`
	// Undecided is how many it did not get through in time.
	Undecided int `json:"undecided,omitempty"`
	// Findings is how many of the findings are its.
	Findings int `json:"findings"`
}

// Report is what a run did and found.
type Report struct {
	Seed    uint64        `json:"seed"`
	Elapsed time.Duration `json:"elapsed"`
	Targets []string      `json:"targets"`
	Clients int           `json:"clients"`
	// Ops is how many operations there were, Processes how many connections.
	Ops       int `json:"ops"`
	Processes int `json:"processes"`

	// Findings are the first of what is wrong, at most 20 of each kind. Found
	// counts all, by kind.
	Findings []Finding      `json:"findings"`
	Found    map[string]int `json:"found,omitempty"`
	// Checks says what each check looked at.
	Checks []Check `json:"checks"`
	// Notes say what the run does not prove.
	Notes []string `json:"notes,omitempty"`

	Counts []Count `json:"counts"`
	// Errors counts the operations that failed or have no outcome, by SQLSTATE;
	// empty is a connection that was lost.
	Errors map[string]Errors `json:"errors,omitempty"`
	Routes []Route           `json:"routes"`
	// ReadPause and WritePause are the longest times in which no read and no
	// write of any client was answered.
	ReadPause  Pause `json:"read_pause"`
	WritePause Pause `json:"write_pause"`
	// Slowest are the operations that took longest.
	Slowest []Op   `json:"slowest,omitempty"`
	Losses  Losses `json:"losses"`
	// Detours are the times in which the cluster was on a history that it left
	// again for one that it had left before; only with Options.MayLose.
	Detours []Detour `json:"detours,omitempty"`
	// Early is how many reads on the primary hid a commit that was not
	// acknowledged yet and that another connection had seen on a replica; with
	// Options.Unguarded also how many hid what their own had seen.
	Early int `json:"early"`
	// Tokens is how many tokens were taken from another connection, Handed how
	// many of them from another target.
	Tokens int `json:"tokens"`
	Handed int `json:"handed"`
}

// OK reports whether nothing was found.
func (r *Report) OK() bool { return len(r.Findings) == 0 }

// Undecided is how many keys' checks did not end in time.
func (r *Report) Undecided() (n int) {
	for _, c := range r.Checks {
		n += c.Undecided
	}
	return n
}

// WriteJSON writes the report as one JSON object. Times are in nanoseconds.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
