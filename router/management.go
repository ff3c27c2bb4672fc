package router

import (
	"slices"

	"github.com/pgroute/pgroute/lsn"
)

// Management is what the manager of a cluster, such as Patroni, says about it
// beside who exists and who leads. It is for people and for status output: no
// read or write is routed by it. The zero value is a cluster without a manager.
type Management struct {
	// Manager is its name, "" if there is none.
	Manager string
	// Paused is true while it leaves the servers alone: nobody takes over when
	// the primary fails.
	Paused bool
	// Failsafe is true if the primary goes on while the source is away, as
	// long as it reaches every other member.
	Failsafe bool
	// Standby is true for a cluster that follows another one: no server of it
	// takes writes.
	Standby bool
	// Synchronous says which replicas hold what was acknowledged.
	Synchronous Synchronous
	// History are the ends of earlier timelines, oldest first. It may lag, and
	// may tell of a promotion that was lost again: the primary's own history
	// decides.
	History []lsn.Switch
}

// Synchronous is a cluster's synchronous replication. The zero value is none.
type Synchronous struct {
	// Standbys are the replicas that commits are waited for. With Quorum 0
	// each of them has received every acknowledged write (which says nothing
	// about replay).
	Standbys []string
	// Quorum is, when it is more than 0, how many of Standbys besides itself a
	// replica must ask to know that nothing acknowledged is missing.
	Quorum int
}

// Equal reports whether m and o say the same.
func (m *Management) Equal(o *Management) bool {
	return m.Manager == o.Manager && m.Paused == o.Paused && m.Failsafe == o.Failsafe && m.Standby == o.Standby &&
		m.Synchronous.Quorum == o.Synchronous.Quorum &&
		slices.Equal(m.Synchronous.Standbys, o.Synchronous.Standbys) && slices.Equal(m.History, o.History)
}
