package router

import (
	"errors"
	"log/slog"
	"time"
)

// Config says what a Router works with. All fields but Source and Prober may
// be left zero.
type Config struct {
	// Source names the servers. It is required.
	Source Source
	// Prober connects to them. It is required.
	Prober Prober

	// Wait is how long a read waits for a replica when its Request is made by
	// NewRequest. 0 means 100 ms, a negative value means not at all.
	Wait time.Duration
	// OnTimeout is what NewRequest's requests do then. The zero value is
	// OnTimeoutPrimary.
	OnTimeout OnTimeout
	// FallbackBudget is how many reads that no replica covered in time may run
	// on the primary at once. 0 means 32, a negative value means none.
	FallbackBudget int
	// MaxLag is how many bytes a replica may be behind for LevelEventual, and
	// for other levels without being left for others. 0 means 16 MiB, a
	// negative value means no bound.
	MaxLag int64
	// Preferences are those of the beginning; see Router.Prefer.
	Preferences Preferences
	// MaxStaleness is for LevelBounded, in NewRequest's requests. 0 means 1 s.
	MaxStaleness time.Duration
	// Position says which position answers a ticket. The zero value is
	// PositionInsert.
	Position PositionKind
	// Monotonic says for whom reads never go backwards. The zero value is
	// MonotonicConnection.
	Monotonic Monotonic

	// HealthInterval is how often every server is asked for its role. 0 means
	// 500 ms; negative is an error.
	HealthInterval time.Duration
	// ProbeTimeout bounds every connect and call of a monitor. 0 means 2 s;
	// negative is an error.
	ProbeTimeout time.Duration
	// TicketPace is the least time between two position calls (the questions to
	// the primary whose answers answer tickets) that nobody waits for. 0 means
	// 500 µs, a negative value means none. A call that somebody waits for is made
	// at once.
	TicketPace time.Duration
	// PositionPace is the least time between any two position calls, also those
	// that somebody waits for: many routers ask one primary no more often than
	// their number divided by it. It adds up to as much to what a read waits for
	// its position. 0 means none; negative is an error.
	PositionPace time.Duration
	// SwitchoverLead is how long before the time of a switchover that is announced
	// for later new work for the primary waits: transactions that run then have that
	// long to end. 0 means 500 ms: longer than most transactions take, and little
	// beside the seconds that new work waits for the next primary. A negative value
	// means not before its time. One that is announced for at once has no lead.
	SwitchoverLead time.Duration

	// Logger gets what an operator should know. nil means slog.Default().
	Logger *slog.Logger
	// Trace gets what happens.
	Trace Trace
	// Seed makes the random choice between equally good replicas repeatable.
	// 0 means a random seed.
	Seed uint64
}

// Trace is a set of functions that are told what happens. Each may be nil.
// They are called by the router's goroutines, must not block, and get values
// that they may keep.
type Trace struct {
	// Topology is called after a new topology was published.
	Topology func(*Topology)
	// Probe is called when a monitor's connection came up (err is nil) or
	// ended.
	Probe func(node string, err error)
	// Position is called after each position call to the primary.
	Position func(took time.Duration, err error)
	// Nudge is called after each nudge.
	Nudge func(err error)
}

// validate checks c and fills in what is left out. It is the one place that
// does so.
func (c *Config) validate() error {
	switch {
	case c.Source == nil:
		return errors.New("router: no source of servers")
	case c.Prober == nil:
		return errors.New("router: no prober")
	case c.HealthInterval < 0:
		return errors.New("router: the health interval is negative")
	case c.ProbeTimeout < 0:
		return errors.New("router: the probe timeout is negative")
	case c.PositionPace < 0:
		return errors.New("router: the pace of position calls is negative")
	}
	fill(&c.Wait, 100*time.Millisecond)
	fill(&c.FallbackBudget, 32)
	fill(&c.MaxLag, 16<<20)
	fill(&c.MaxStaleness, time.Second)
	fill(&c.HealthInterval, 500*time.Millisecond)
	fill(&c.ProbeTimeout, 2*time.Second)
	fill(&c.TicketPace, 500*time.Microsecond)
	fill(&c.SwitchoverLead, 500*time.Millisecond)
	c.Wait = max(c.Wait, 0)
	c.FallbackBudget = max(c.FallbackBudget, 0)
	c.TicketPace = max(c.TicketPace, 0)
	c.SwitchoverLead = max(c.SwitchoverLead, 0)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
