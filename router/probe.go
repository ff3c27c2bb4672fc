package router

import (
	"context"
	"time"

	"github.com/pgroute/pgroute/lsn"
)

// A Prober opens monitor connections to servers. It is implemented by
// router/pgprobe for real servers and by fakes in tests. Its methods may be
// called from several goroutines.
type Prober interface {
	// Connect opens a monitor connection to the server at addr. It respects
	// the deadline of ctx. The returned Probe is owned by the caller.
	Connect(ctx context.Context, addr Addr) (Probe, error)
}

// A Probe is one monitor connection to one server. It is not safe for
// concurrent use. After any error the connection is dead and only Close may
// be called. What it reads is true for the server process that answered: a
// reading dies with its connection.
//
// A Probe may be able to do more. The router asks for these interfaces by type
// assertion and does without what is missing:
//
//   - [Witness], for the guard between replicas and the primary. Without it a read
//     on the primary may miss what its client saw on a replica a moment before.
//   - [CommitWitness], for that guard where no replica can be asked. Without it
//     such a read waits until every transaction that had begun has ended.
//   - [OutcomeProbe], for what became of transactions. Without it the outcome of a
//     COMMIT whose answer was lost stays unknown.
//   - [Parker], to be told of a replay position by the server. Without it the
//     router polls.
//   - [Napper], to poll at an exact pace. Without it a wait may be a millisecond
//     longer.
//
// A type that wraps a Probe hides what it does not have itself. Whoever means to
// have all of it lets the compiler check that:
//
//	var _ interface {
//		router.Probe
//		router.Witness
//		router.CommitWitness
//		router.OutcomeProbe
//		router.Parker
//		router.Napper
//	} = (*myProbe)(nil)
type Probe interface {
	// Identify asks everything that the router needs to know about a server.
	Identify(ctx context.Context) (Status, error)
	// Replay asks a server in recovery how far it has replayed. It is the
	// hot call of a replica's monitor: one round trip, no allocation of note.
	Replay(ctx context.Context) (Reading, error)
	// Insert asks a primary for its positions: one round trip. Both LSNs are
	// raw, as the server said them; the router normalises.
	Insert(ctx context.Context) (insert, flush lsn.LSN, err error)
	// Nudge makes a primary flush its WAL up to a position not before the
	// insert position at the time of the call.
	Nudge(ctx context.Context) error
	// Close ends the connection. It may be called more than once.
	Close() error
}

// A Parker is a Probe whose server can hold an answer back until it is worth
// something. The Probe of a server whose Status says that it Parks is one.
type Parker interface {
	// Park asks a server in recovery how far it has replayed. The answer comes
	// once it has replayed target or is in recovery no more, and after timeout at
	// the latest.
	Park(ctx context.Context, target lsn.LSN, timeout time.Duration) (Reading, error)
}

// A Napper is a Probe that can sleep for less than a millisecond and wake in
// time, which timers of the runtime cannot. Between two readings that somebody
// waits for, a monitor sleeps by it; fakes need not have it.
type Napper interface {
	// Nap sleeps for d, or a little less.
	Nap(d time.Duration)
}

// Reading is what one Replay call saw.
type Reading struct {
	// Replay is the last replayed position, 0 if the server said NULL.
	Replay lsn.LSN
	// InRecovery was asked after Replay: when it is true the server was a
	// standby when Replay was read.
	InRecovery bool
}

// Status is what one Identify call saw.
type Status struct {
	// SystemID is the cluster's system_identifier.
	SystemID uint64
	// InRecovery is true for a standby (pg_is_in_recovery).
	InRecovery bool
	// Timeline is the current timeline of a primary, and of a standby the one
	// that its WAL receiver follows (pg_stat_wal_receiver.received_tli), 0 if
	// there is no WAL receiver or the role may not see it.
	Timeline uint32
	// Begin is where Timeline began, 0 for timeline 1; only for a primary.
	// BeginKnown is false when the monitor's role may not read it.
	Begin      lsn.LSN
	BeginKnown bool
	// History are the switch points before Timeline, oldest first, as far as
	// they could be read; only for a primary.
	History []lsn.Switch
	// Recovered is where replay ended when this life of a primary's server
	// began to take writes, by a promotion or after a crash: nothing beyond it
	// is left of what was written before. 0 if it did not replay anything, or
	// that is not known.
	Recovered lsn.LSN
	// CleanStart: this life of a primary's server has begun after an orderly
	// shutdown, without replaying anything: nothing of what was written is lost.
	CleanStart bool
	// NextXID is beyond every transaction of a primary that has ended
	// (pg_snapshot_xmax), 0 if that is not known.
	NextXID uint64
	// Incarnation is the backend_start of the checkpointer, in microseconds
	// since the Unix epoch. It changes with every restart, also the restart
	// after a crash. 0 means that it is not known; a Prober should then fail,
	// because nothing else tells the lives of a server apart.
	Incarnation int64
	// PostmasterStart is pg_postmaster_start_time in microseconds since the
	// Unix epoch.
	PostmasterStart int64
	// Insert and Flush are a primary's positions (raw); Replay a standby's.
	Insert, Flush, Replay lsn.LSN
	// ReplayPaused is true while replay is paused or asked to pause.
	ReplayPaused bool
	// ApplyDelay is recovery_min_apply_delay.
	ApplyDelay time.Duration
	// Parks is true if the Probe is a Parker and the server can do that.
	Parks bool
	// Version is server_version_num, 150020 for 15.20.
	Version int
	// BlockSize is wal_block_size, normally 8192.
	BlockSize int
	// At is when the answer arrived.
	At time.Time
}

// Addr is where a server is reached. Addrs may be compared: another one is
// another node.
type Addr struct {
	// Name is the node's name: its znode, its member name, or HOST:PORT.
	Name string
	// Host is a host name, an IP address, or, if it begins with a slash, the
	// directory of a Unix socket.
	Host string
	// Port is the TCP port, or the number in the name of the Unix socket.
	Port int
}
