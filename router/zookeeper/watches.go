package zookeeper

import (
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// watchKind is a set of the kinds of watches that a path can have.
type watchKind uint8

const (
	watchChildren watchKind = 1 << iota
	watchData
	watchCreation
	watchAll = watchChildren | watchData | watchCreation
)

// watches remembers which of ZooKeeper's one-shot watches are set. Every
// re-read sets only those that have fired: go-zookeeper keeps a channel for
// each request that sets one, also for a second watch on the same path.
type watches struct {
	// Each holds a token when something happened since it was last taken that is
	// to be read so soon: dirty soon, urgent now, drift when it is due.
	dirty, urgent, drift chan struct{}
	haste                func(path string) haste

	mu    sync.Mutex // guards the fields below
	armed map[string]watchKind
	up    bool      // there is a session
	since time.Time // when it came back last, zero if it was never lost
	links uint64    // counts the connections that had one
	// greetings counts the beginnings and the ends of sessions' connections.
	greetings uint64
}

func newWatches(haste func(path string) haste) *watches {
	return &watches{dirty: make(chan struct{}, 1), urgent: make(chan struct{}, 1), drift: make(chan struct{}, 1), haste: haste,
		armed: make(map[string]watchKind)}
}

// haste is how soon a change is to be read.
type haste uint8

const (
	soon   haste = iota // once others had the time to come along, see coalesce
	atOnce              // clients wait for it, or should begin to
	calm                // at driftPace
)

// onEvent takes go-zookeeper's events. It runs before the library forgets the
// watch and before any answer that the server sent after the event, so what is
// read after it is at least as new as what caused it.
func (w *watches) onEvent(ev zk.Event) {
	token := w.dirty
	w.mu.Lock()
	switch ev.Type {
	case zk.EventSession:
		switch ev.State {
		case zk.StateHasSession:
			w.greetings++
			w.links++
			if nth := w.greetings; w.links > 1 {
				// A request that was on its way meanwhile is answered soon, and
				// what is read then must know of the loss.
				if !w.up {
					w.since = time.Now()
				}
				w.mu.Unlock()
				time.AfterFunc(rejoinPause, func() { w.rejoin(nth) }) // ends at once
				return
			}
			w.up = true
		case zk.StateExpired:
			w.greetings++
			w.up = false
			clear(w.armed)
		case zk.StateDisconnected:
			w.greetings++
			w.up = false
		default:
			w.mu.Unlock()
			return
		}
	case zk.EventNodeCreated:
		w.disarmLocked(ev.Path, watchCreation)
	case zk.EventNodeDataChanged:
		w.disarmLocked(ev.Path, watchData|watchCreation)
	case zk.EventNodeChildrenChanged:
		w.disarmLocked(ev.Path, watchChildren)
	default: // deleted, or the library gave the watch up
		w.disarmLocked(ev.Path, watchAll)
	}
	w.mu.Unlock()
	if ev.Type != zk.EventSession {
		switch w.haste(ev.Path) {
		case atOnce:
			token = w.urgent
		case calm:
			token = w.drift
		}
	}
	select {
	case token <- struct{}{}:
	default:
	}
}

// rejoinPause is how long nobody asks anything on a connection that follows
// another. go-zookeeper 1.0.4 first sets its watches again there, and reads the
// last zxid for that while the answer to a request that was faster may change it
// (conn.go, sendSetWatches).
const rejoinPause = 20 * time.Millisecond

// rejoin notes that there is a session again, unless it has gone since.
func (w *watches) rejoin(nth uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.greetings != nth {
		return
	}
	w.up = true
	select {
	case w.dirty <- struct{}{}:
	default:
	}
}

// take takes the tokens of everything that has happened so far.
func (w *watches) take() {
	for _, token := range []chan struct{}{w.dirty, w.urgent, w.drift} {
		select {
		case <-token:
		default:
		}
	}
}

// pending reports whether something happened that was not taken yet.
func (w *watches) pending() bool { return len(w.dirty) > 0 || len(w.urgent) > 0 || len(w.drift) > 0 }

func (w *watches) connected() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.up
}

// settled returns when what ZooKeeper has lost while it was away has come back,
// if anything has: after its return everybody's session may have expired, and
// with it what the servers' agents or Patroni keep there, until they notice.
func (w *watches) settled(timeout time.Duration) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.since.Add(2 * timeout)
}

// connections returns a number that is another after every loss.
func (w *watches) connections() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.links
}

// distrust makes the next read ask for everything again.
func (w *watches) distrust() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.links++
}

// set returns the watches that are set on path.
func (w *watches) set(path string) watchKind {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.armed[path]
}

// arm notes that a watch is about to be set. It comes before the request, so
// that a watch that fires at once is not taken for one that waits.
func (w *watches) arm(path string, kind watchKind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed[path] |= kind
}

// disarm takes arm back after a request that set no watch.
func (w *watches) disarm(path string, kind watchKind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.disarmLocked(path, kind)
}

func (w *watches) disarmLocked(path string, kind watchKind) {
	if left := w.armed[path] &^ kind; left != 0 {
		w.armed[path] = left
	} else {
		delete(w.armed, path)
	}
}
