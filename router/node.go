package router

import (
	"context"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgroute/pgroute/lsn"
)

// Node is a server of the topology. The pointer stays the same for as long as
// the source names the server with the same address. Its methods may be called
// from anywhere; they are atomic loads unless they say otherwise.
type Node struct {
	// ID is a small number, unique among the nodes that a router has at one
	// time. Neither it nor Addr may be changed.
	ID int
	Addr

	r      *Router
	health health
	// attrs is written under Router.mu; weight mirrors its weight.
	attrs  atomic.Pointer[attributes]
	weight atomic.Int64

	role        atomic.Uint32
	systemID    atomic.Uint64
	incarnation atomic.Int64
	postmaster  atomic.Int64

	// okEra is the era in which the node counts as a replica, 0 when it does
	// not. It is written under Router.mu.
	okEra atomic.Uint64
	// conn numbers the monitor's connections. It changes when the node's
	// watermark dies, before it does. Numbers are not used twice.
	conn atomic.Uint64
	// asked numbers the questions that were sent, over all connections: readings,
	// and what the oracle asks a primary. answered is the last reading that the
	// watermark contains.
	asked, answered atomic.Uint64

	// learning guards writes of conn, watermark and pace: what is read on a
	// connection beside the monitor's must not outlive that one (see parker).
	learning sync.Mutex
	// watermark is a lower bound of the replay position, valid on the
	// connection conn.
	watermark atomic.Uint64

	paused     atomic.Bool
	streams    atomic.Bool
	applyDelay atomic.Int64
	pace       pace

	// standing, ejected and returned are written under Router.mu; ejected
	// mirrors facts.ejected, returned is when a slow start began, nil if
	// none did.
	standing, ejected atomic.Uint32
	returned          atomic.Pointer[time.Time]
	ejections         [numEjections]atomic.Uint64

	outstanding atomic.Int64

	// waiters wait for a watermark, readings for the number of a reading.
	waiters, readings waitList
	looks             looks
	kick              chan struct{}
	probeNow          atomic.Bool
	identifyNow       atomic.Bool
	// heard is the last round of questions who the servers are (Router.rounds)
	// that the node's facts contain the answer to, silent if it does not answer.
	// follows is the timeline that its last status named.
	heard   atomic.Uint64
	follows atomic.Uint32

	// facts are guarded by Router.mu.
	facts facts
	// stop ends the monitor. It is written once before that starts.
	stop context.CancelCauseFunc
}

// facts are what the monitor of a node has found out.
type facts struct {
	// tried is true once the first attempt to reach the server has ended.
	tried bool
	// answers is true while the server answers probes. It survives the loss of
	// a connection until the next attempt has failed.
	answers bool
	// up is true while the monitor has a connection that identified itself.
	up bool
	// st is the last status, valid while answers is true.
	st Status
	// timeline is what a standby was last seen to receive on this connection,
	// in the history numbered line; 0 if that was not seen.
	timeline uint32
	line     uint64
	// followed is the incarnation in which a standby was last seen to receive
	// the primary's timeline, in the history numbered followedLine.
	followed     int64
	followedLine uint64
	ancestry     ancestry
	// lag is how far behind the last status of a standby was.
	lag int64
	// ejected says why it is not preferred.
	ejected ejection
	// counted is true while it counts as a replica, served once it has, and
	// trouble if it stopped because something was wrong with it. onTrial: its
	// breaker was half open then; life is the incarnation that it had.
	counted, served, trouble, onTrial bool
	life                              int64
	// hungry is true while a standby is known to have no WAL receiver, turned
	// since when that seems to be otherwise, zero if it does not.
	hungry bool
	turned time.Time
	// complained remembers what was logged about the node, so that it is
	// logged once.
	complained string
}

// Role returns what the server last proved to be.
func (n *Node) Role() Role { return Role(n.role.Load()) }

// Eligible reports whether the node counts as a replica now: it is in
// recovery, belongs to the cluster, follows the current timeline, the source
// lets it serve reads, and neither its monitor nor its clients have trouble
// with it.
func (n *Node) Eligible() bool {
	e := n.r.topo.Load().era.n
	return e != 0 && n.okEra.Load() == e
}

// Watermark returns the replay position that the node is known to have
// reached, 0 if nothing is known. Whether it counts for a backend is for
// Covers to say.
func (n *Node) Watermark() lsn.LSN { return lsn.LSN(n.watermark.Load()) }

// LagBytes returns how many bytes the watermark is behind the latest known
// position of the primary. It is 0 for a primary, and all there is for a
// replica of which nothing is known.
func (n *Node) LagBytes() int64 {
	latest, have := n.r.topo.Load().era.latest.Load(), n.watermark.Load()
	if have >= latest || n.Role() == RolePrimary {
		return 0
	}
	return int64(latest - have)
}

// Asked returns the number of the last reading of the replay position that was
// sent to the node. A backend remembers it right after it was dialled, and
// hands it to Covers: only what was asked later counts for it.
func (n *Node) Asked() uint64 { return n.asked.Load() }

// SystemID returns the server's system identifier, 0 if it is not known.
func (n *Node) SystemID() uint64 { return n.systemID.Load() }

// Incarnation returns the start of the server's checkpointer in microseconds
// since the Unix epoch, 0 if it is not known.
func (n *Node) Incarnation() int64 { return n.incarnation.Load() }

// PostmasterStart returns the start of the server in microseconds since the
// Unix epoch, 0 if it is not known.
func (n *Node) PostmasterStart() int64 { return n.postmaster.Load() }

// Outstanding returns how many reads that were decided for this node are not
// done yet.
func (n *Node) Outstanding() int64 { return n.outstanding.Load() }

// Healthy reports whether the breaker lets connections to the node pass.
func (n *Node) Healthy() bool { return !n.health.open() }

// ReplayPaused reports whether the node's replay was paused when it was last
// asked.
func (n *Node) ReplayPaused() bool { return n.paused.Load() }

// ApplyDelay returns the node's recovery_min_apply_delay.
func (n *Node) ApplyDelay() time.Duration { return time.Duration(n.applyDelay.Load()) }

// Covers reports whether a read with floor f may be sent now to a backend of
// this node (I2). dialed is what Asked returned right after the backend was
// dialled, and own the replay position that the backend itself read after it
// was dialled, 0 if it did not.
//
// When it is false although the watermark is high enough, the backend is
// younger than the last reading: see Router.WaitReading and AwaitReading.
func (n *Node) Covers(f Floor, dialed uint64, own lsn.LSN) bool {
	conn := n.conn.Load()
	if f.Era == 0 || n.okEra.Load() != f.Era || n.r.topo.Load().era.n != f.Era {
		return false
	}
	if mutantNoFloor() {
		return true
	}
	// The monitor stores the watermark first and answered second. What was
	// asked after the backend was dialled was answered by the same life of the
	// server: an older one had ended before the backend could connect, and
	// with a newer one the backend is dead.
	young := n.answered.Load() <= dialed && !mutantWatermarkSurvives()
	if f.stay != 0 && (f.stay != conn || young) {
		return false
	}
	if own < f.LSN && (young || n.Watermark() < f.LSN) {
		return false
	}
	return n.conn.Load() == conn
}

// KickReplay asks for a reading of the replay position now. It does not wait for
// it: see Router.AwaitReading.
func (n *Node) KickReplay() {
	n.probeNow.Store(true)
	n.wakeMonitor()
}

// KickIdentify asks for the server's role and identity now.
func (n *Node) KickIdentify() {
	n.identifyNow.Store(true)
	n.wakeMonitor()
}

// wakeMonitor makes the monitor look what there is to do.
func (n *Node) wakeMonitor() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// wakeWaiters wakes everyone who waits for this node.
func (n *Node) wakeWaiters() {
	n.waiters.wakeAll()
	n.readings.wakeAll()
	n.looks.waiters.wakeAll()
}

// NodeSet is a set of nodes of one router. The zero value is empty, and
// ^NodeSet(0) has all of them.
type NodeSet uint64

// maxNodes bounds the nodes of a router, so that a NodeSet can hold them.
const maxNodes = 64

// Add adds n to the set.
func (s *NodeSet) Add(n *Node) { *s |= 1 << uint(n.ID) }

// Has reports whether n is in the set.
func (s NodeSet) Has(n *Node) bool { return s.has(n.ID) }

// has reports whether the node with this ID is in the set.
func (s NodeSet) has(id int) bool { return s&(1<<uint(id)) != 0 }

// len returns the number of nodes in the set.
func (s NodeSet) len() int { return bits.OnesCount64(uint64(s)) }
