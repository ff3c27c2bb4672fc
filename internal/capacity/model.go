package main

import "math"

// Inputs are what one request costs. Processor time is in microseconds, as all
// processes of a part spend it together, sizes are in bytes.
type Inputs struct {
	// ReadServer is what a reading request costs the server that runs it,
	// WriteServer a booking the primary, without sending its WAL to replicas.
	ReadServer, WriteServer float64
	// SendReplica is what sending the WAL of a booking to one replica costs the
	// primary, ReplayReplica what receiving and replaying it costs the replica.
	SendReplica, ReplayReplica float64
	// ReplaySerial is the part of ReplayReplica that one process does alone,
	// one record after the other.
	ReplaySerial float64
	// PositionCall is what one question for a position costs the server.
	PositionCall float64
	// WALPerWrite is how much WAL a booking makes.
	WALPerWrite float64
	// ProxyRead and ProxyWrite are what a request costs pgroute.
	ProxyRead, ProxyWrite float64
	// ServiceRead and ServiceWrite are what an HTTP request costs the service.
	ServiceRead, ServiceWrite float64
	// BackendMemory is the private memory of an idle server connection.
	BackendMemory float64
}

// Assumptions are what the model takes for granted. They are choices and not
// measurements.
type Assumptions struct {
	// Margin multiplies all processor time: 2 keeps processors half idle at the
	// stated load, for peaks and for what the model leaves out.
	Margin float64
	// InstanceCores is how many processors one instance of the service has,
	// ReplicaCores one replica, LargestPrimary the largest machine there is for
	// a primary.
	InstanceCores, ReplicaCores, LargestPrimary float64
	// ReplayBusy is which part of a second the one process that replays may
	// work. Above it a replica that was behind does not catch up.
	ReplayBusy float64
	// Fallback is which part of the reads the primary serves although the level
	// allows a replica.
	Fallback float64
	// PositionPace is how many questions for a position one sidecar asks in a
	// second at most.
	PositionPace float64
	// Spare is how many replicas there are beyond what the load needs, so that
	// as many may be away.
	Spare int
	// StatementTime is how long a request keeps a server connection, in
	// seconds. It decides how many are at work at once, nothing else.
	StatementTime float64
	// MaxConnections is the setting of the servers, Reserved what is kept for
	// people, replication and monitoring.
	MaxConnections, Reserved int
}

// Default are the assumptions of the tables in docs/capacity.md.
var Default = Assumptions{
	Margin:        2,
	InstanceCores: 4, ReplicaCores: 16, LargestPrimary: 64,
	ReplayBusy: 0.5, Fallback: 0.01, PositionPace: 2000, Spare: 1,
	StatementTime: 0.002, MaxConnections: 500, Reserved: 20,
}

// Load is what the service is asked for: requests in a second, and which part
// of them only reads.
type Load struct {
	Requests, ReadShare float64
}

// Need is what a load needs. Cores include the margin.
type Need struct {
	Service, Proxy float64
	// Instances is how many instances of the service there are, each with its
	// sidecar.
	Instances int
	// Primary is what the primary needs when replicas serve the reads, Alone
	// what it needs without any replica and without pgroute.
	Primary, Alone float64
	// Replicas is how many there are, the spare ones included. It is 0 when
	// replay is the wall: no number of replicas would keep up.
	Replicas int
	// ReplayBusy is which part of a second replay works, without the margin.
	ReplayBusy float64
	// WAL is in bytes per second.
	WAL float64
	// OnPrimary and OnReplica are how many statements are at work at once, on
	// the average, on the primary and on each replica.
	OnPrimary, OnReplica float64
	// PoolSize is the largest pool_size that fits into MaxConnections when
	// every sidecar fills its pool, for one user of one database. When it is
	// below 1 sidecars are too many for one server.
	PoolSize float64
	// Wall says what has to be split before the load can be carried, nothing
	// if one primary carries it.
	Wall Wall
	// Primaries is into how many the writes must be split, at least 1.
	Primaries int
}

// Wall is what bounds the writes of one primary.
type Wall string

// The walls.
const (
	WallNone   Wall = ""
	WallReplay Wall = "replay"
	WallCores  Wall = "cores"
)

// Answer computes what a load needs.
func Answer(in Inputs, a Assumptions, l Load) Need {
	reads, writes := l.Requests*l.ReadShare, l.Requests*(1-l.ReadShare)
	cores := func(rate, micros float64) float64 { return rate * micros / 1e6 * a.Margin }

	n := Need{WAL: writes * in.WALPerWrite, Primaries: 1}
	n.Service = cores(reads, in.ServiceRead) + cores(writes, in.ServiceWrite)
	n.Proxy = cores(reads, in.ProxyRead) + cores(writes, in.ProxyWrite)
	n.Instances = max(2, ceil(n.Service/a.InstanceCores))
	n.Alone = cores(reads, in.ReadServer) + cores(writes, in.WriteServer)

	// A write takes a ticket; tickets of one sidecar share a question.
	questions := min(writes, float64(n.Instances)*a.PositionPace)
	n.ReplayBusy = writes * in.ReplaySerial / 1e6

	// Every replica replays every write, whatever it serves.
	served := reads * (1 - a.Fallback)
	overhead := cores(writes, in.ReplayReplica) + cores(questions, in.PositionCall)
	if room := a.ReplicaCores - overhead; n.ReplayBusy <= a.ReplayBusy && room > 0 {
		n.Replicas = max(1, ceil(cores(served, in.ReadServer)/room)) + a.Spare
		n.OnReplica = served / float64(n.Replicas) * a.StatementTime
	}
	fallback := reads * a.Fallback
	n.Primary = cores(writes, in.WriteServer+float64(n.Replicas)*in.SendReplica) +
		cores(fallback, in.ReadServer) + cores(questions, in.PositionCall)
	n.OnPrimary = (writes + fallback) * a.StatementTime
	n.PoolSize = poolSize(a, n.Instances)

	byReplay := n.ReplayBusy / a.ReplayBusy
	byCores := n.Primary / a.LargestPrimary
	n.Primaries = max(1, ceil(max(byReplay, byCores)))
	switch {
	case n.Primaries == 1:
	case byReplay >= byCores:
		n.Wall = WallReplay
	default:
		n.Wall = WallCores
	}
	return n
}

// poolSize is how many connections each of n sidecars may have for one pair of
// user and database. Each has up to nine of its own: monitor, positions, nudges,
// the guard, outcomes of COMMITs, verifiers, a login that is tried, and for the
// database its catalogue and a listener.
func poolSize(a Assumptions, n int) float64 {
	const own = 9
	return math.Floor(float64(a.MaxConnections-a.Reserved)/float64(n) - own)
}

// MaxWrites is how many bookings in a second one primary with its replicas
// carries, and what bounds them.
func MaxWrites(in Inputs, a Assumptions, replicas int) (perSecond float64, by Wall) {
	byReplay := a.ReplayBusy * 1e6 / in.ReplaySerial
	each := in.WriteServer + float64(replicas)*in.SendReplica + in.PositionCall
	byCores := a.LargestPrimary * 1e6 / each / a.Margin
	if byReplay <= byCores {
		return byReplay, WallReplay
	}
	return byCores, WallCores
}

func ceil(x float64) int { return int(math.Ceil(x)) }
