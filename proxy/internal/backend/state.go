package backend

import (
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/proxy/internal/settings"
	"github.com/pgroute/pgroute/router"
)

// maxPrepared bounds the named statements that we keep on one backend. Each
// costs the server some kilobytes.
const maxPrepared = 256

// State is what we know of one server connection that is logged in. It
// belongs to one event loop and, while it is leased, to one client's machine.
type State struct {
	Node *router.Node
	// Primary is true for a backend that was dialled to a primary. Only such a
	// backend may take writes, and only while Era is the current era (I6).
	Primary bool
	Era     uint64
	// Dialed is the node's Asked just after the dial: a reading of the node's
	// watermark counts for this backend only if it was sent later. Own is the
	// replay position that this connection itself has seen when it was
	// dialled; it is a lower bound for as long as the connection lives.
	Dialed uint64
	Own    lsn.LSN

	// Captures: Capture and Flushed may be asked here. Gone: the connection has ended, and the
	// client only waits to hear what became of its last COMMIT.
	Captures, Gone bool

	// Settings is what is set on the connection, nil while that is not known.
	Settings *settings.Set
	// Unnamed identifies the Parse that made the unnamed statement, 0 if there
	// is none or it is not known which.
	Unnamed uint64
	// Tx is the transaction status of the last ReadyForQuery.
	Tx byte
	// Tainted is true once something may have changed the session in a way
	// that we cannot follow; DISCARD ALL takes it back.
	Tainted bool
	// Pinned is true while the connection holds what pins a client to it: when
	// the client leaves before that is gone, DISCARD ALL takes it away.
	Pinned bool
	// Sequences identifies the client that was the last to run something here
	// that may have used a sequence, 0 if nobody has: currval and lastval are
	// that client's.
	Sequences uint64
	// Reserved identifies the client that has named a sequence here last, and may
	// ask for currval: others take another backend if there is one. 0 if none.
	Reserved uint64

	// Remain are the bytes still to come of a frame whose beginning has been
	// handled; DropRemain says that they are not for the client.
	Remain     int
	DropRemain bool

	PID    uint32
	Secret []byte

	prepared map[uint64]uint64 // statement id → last use
	clock    uint64
	// outdated are those of prepared whose result has changed its type since:
	// the server refuses to run them until they are prepared anew.
	outdated map[uint64]struct{}
	sql      sqlPrepared
}

// Has reports whether the statement with this id is prepared here, and notes
// its use.
func (s *State) Has(id uint64) bool {
	if _, ok := s.prepared[id]; !ok {
		return false
	}
	s.clock++
	s.prepared[id] = s.clock
	return true
}

// Add notes that the statement is prepared from now on. evict is the id of a
// statement that must be closed to stay within the bound, 0 if none.
func (s *State) Add(id uint64) (evict uint64) {
	if s.prepared == nil {
		s.prepared = make(map[uint64]uint64)
	}
	if len(s.prepared) >= maxPrepared {
		oldest := ^uint64(0)
		for k, used := range s.prepared {
			if used < oldest {
				oldest, evict = used, k
			}
		}
		s.Forget(evict)
	}
	s.clock++
	s.prepared[id] = s.clock
	return evict
}

// Forget notes that the statement is not prepared here after all.
func (s *State) Forget(id uint64) {
	delete(s.prepared, id)
	delete(s.outdated, id)
}

// Outdate notes that the result of a prepared statement has changed its type.
func (s *State) Outdate(id uint64) {
	if _, ok := s.prepared[id]; !ok {
		return
	}
	if s.outdated == nil {
		s.outdated = make(map[uint64]struct{})
	}
	s.outdated[id] = struct{}{}
}

// Outdated reports whether Outdate was called for the statement since it was
// prepared.
func (s *State) Outdated(id uint64) bool {
	_, ok := s.outdated[id]
	return ok
}

// ForgetAll notes that no statement is prepared here (DISCARD ALL,
// DEALLOCATE ALL).
func (s *State) ForgetAll() {
	clear(s.prepared)
	clear(s.outdated)
	s.sql = sqlPrepared{}
	s.Unnamed = 0
}
