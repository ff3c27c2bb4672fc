package verify

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Target is one connection string that clients use: a proxy, or a server.
type Target struct {
	// Name stands for it in the report. Empty means its host and port.
	Name string
	// DSN is a URL or keyword=value. Its user must be able to create a schema.
	DSN string
}

// The workloads.
const (
	// Register writes, compares and sets, and reads single values.
	Register = "register"
	// Append appends to lists and reads them.
	Append = "append"
	// Bank transfers money between accounts in transactions and reads all.
	Bank = "bank"
	// Booking books seats, each once.
	Booking = "booking"
)

// The levels of consistency at which reads are done.
const (
	Eventual = "eventual"
	Bounded  = "bounded"
	Session  = "session"
	Strong   = "strong"
	Primary  = "primary"
)

// Workloads lists all of them.
func Workloads() []string { return []string{Register, Append, Bank, Booking} }

// Levels lists all of them, the weakest first.
func Levels() []string { return []string{Eventual, Bounded, Session, Strong, Primary} }

// Options says what Run does. The zero value of each field but Targets is a
// sound default.
type Options struct {
	// Targets are spread over the clients. At least one is needed, and one of
	// them must take writes.
	Targets []Target
	// Workloads are the ones to run; none means all.
	Workloads []string
	// Levels are the ones that reads are done at; none means session, strong,
	// primary and bounded.
	Levels []string
	// Clients is how many work at a time; 0 means 16.
	Clients int
	// For is how long they work; 0 means until the context ends.
	For time.Duration
	// Rate bounds the operations per second of all clients together; 0 means as
	// many as they can. Each costs about half a kilobyte until the end.
	Rate int
	// ReconnectEvery is after how many operations, on average, a client leaves its
	// connection for a new one; 0 means 2000. Who leaves cannot be told of a loss.
	ReconnectEvery int
	// MaxOps ends the work early, so that memory is bounded; 0 means 5 million.
	MaxOps int
	// Seed decides who does what. 0 means a random one, which the report tells.
	// What is answered when is not reproducible.
	Seed uint64
	// Schema is where the tables are; empty means pgroute_verify. Run creates it
	// and drops it, and refuses one that exists and is not its own.
	Schema string
	// Keep leaves the schema in place at the end.
	Keep bool
	// Staleness is the bound that reads at bounded ask for; 0 means a second.
	Staleness time.Duration
	// Timeout bounds a single operation; 0 means a minute. It should be longer
	// than the proxies' failover_wait.
	Timeout time.Duration
	// Patience bounds what Run waits for at the beginning and at the end, when it
	// reads the surviving data; 0 means two minutes.
	Patience time.Duration
	// CheckTime bounds the linearizability check of one key; 0 means 10 seconds.
	// What is not decided by then is reported as such.
	CheckTime time.Duration
	// MayLose says that failovers are asynchronous: acknowledged writes may be
	// lost, and then must have been told to their writers with PR002 or PR003.
	// Without it, a missing acknowledged write is a finding whoever was told.
	MayLose bool
	// Unguarded says that nobody guards the step from a replica to the primary:
	// then a connection's read on the primary may hide what it saw on a replica, if
	// that was not acknowledged yet, and such reads are counted instead of found.
	// Those that hide what another connection saw always are.
	Unguarded bool
	// Observe is called with each finished operation, if it is set: from the
	// clients' goroutines, several at a time. It must not block, and must not
	// change or keep the slices.
	Observe func(Op)
	// Logf gets a line for each step of the run, if it is set.
	Logf func(format string, args ...any)
}

// Validate returns what is wrong with the options, as Run would.
func (o Options) Validate() error { return o.validate() }

// validate checks o and fills in what is not set.
func (o *Options) validate() error {
	if len(o.Targets) == 0 {
		return errors.New("no target: give at least one connection string")
	}
	o.Targets = slices.Clone(o.Targets)
	for i := range o.Targets {
		if err := o.Targets[i].validate(); err != nil {
			return fmt.Errorf("connection string %d: %w", i+1, err)
		}
	}
	fill(&o.Workloads, Workloads())
	fill(&o.Levels, []string{Session, Strong, Primary, Bounded})
	if err := among("workload", o.Workloads, Workloads()); err != nil {
		return err
	}
	if err := among("level", o.Levels, Levels()); err != nil {
		return err
	}
	for _, f := range []struct {
		name     string
		value    any
		negative bool
	}{
		{"clients", o.Clients, o.Clients < 0}, {"for", o.For, o.For < 0}, {"rate", o.Rate, o.Rate < 0}, {"max ops", o.MaxOps, o.MaxOps < 0}, {"reconnect every", o.ReconnectEvery, o.ReconnectEvery < 0},
		{"staleness", o.Staleness, o.Staleness < 0}, {"timeout", o.Timeout, o.Timeout < 0},
		{"patience", o.Patience, o.Patience < 0}, {"check time", o.CheckTime, o.CheckTime < 0},
	} {
		if f.negative {
			return fmt.Errorf("%s: %v is negative", f.name, f.value)
		}
	}
	if o.Staleness%time.Millisecond != 0 {
		return fmt.Errorf("staleness: %v is not a number of milliseconds", o.Staleness)
	}
	orElse(&o.Clients, 16)
	orElse(&o.ReconnectEvery, 2000)
	orElse(&o.MaxOps, 5_000_000)
	orElse(&o.Schema, "pgroute_verify")
	orElse(&o.Staleness, time.Second)
	orElse(&o.Timeout, time.Minute)
	orElse(&o.Patience, 2*time.Minute)
	orElse(&o.CheckTime, 10*time.Second)
	if len(o.Schema) > 63 || strings.ContainsRune(o.Schema, 0) {
		return fmt.Errorf("schema: %q cannot be a name", o.Schema)
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	return nil
}

// validate names the target.
func (t *Target) validate() error {
	cfg, err := pgx.ParseConfig(t.DSN)
	if err != nil {
		return err
	}
	if t.Name == "" {
		t.Name = fmt.Sprintf("%s:%d", cfg.Host, cfg.Port)
	}
	return nil
}

// among demands that all words are known.
func among(what string, words, known []string) error {
	for _, w := range words {
		if !slices.Contains(known, w) {
			return fmt.Errorf("%s: %q is none of %s", what, w, strings.Join(known, ", "))
		}
	}
	return nil
}

func fill(list *[]string, def []string) {
	if len(*list) == 0 {
		*list = def
	}
}

func orElse[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
